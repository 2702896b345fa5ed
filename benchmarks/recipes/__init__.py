"""Which features and which network: candidates on the same folds of real recordings."""
