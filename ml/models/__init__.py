"""Models: bundles, registry, predictor and verdicts."""
