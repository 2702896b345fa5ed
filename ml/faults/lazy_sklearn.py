"""Late import of scikit-learn, which only training needs."""

from typing import Any

from ml.errors import MissingExtra


def load_sklearn() -> Any:
    """Import scikit-learn and return it.

    Raises:
        MissingExtra: scikit-learn is not installed.
    """
    try:
        import sklearn.cluster
        import sklearn.decomposition
        import sklearn.metrics
    except ModuleNotFoundError as error:
        raise MissingExtra("Grouping faults", "train") from error
    return sklearn
