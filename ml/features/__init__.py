"""Features: a spec that describes them, the transform that it names, and the store that keeps them on disk."""
