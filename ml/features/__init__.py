"""Features: a spec that describes them, the transform that it names, and the store that keeps them on disk."""

from ml.features.extractor import FeatureExtractor
from ml.features.spec import FeatureSpec

__all__ = ["FeatureExtractor", "FeatureSpec"]
