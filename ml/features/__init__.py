"""Features: the spec that describes them, the transform, and the store that keeps them on disk."""
