"""Live listening under trouble and load."""
