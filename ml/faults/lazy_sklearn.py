"""scikit-learn: only training needs it."""

from typing import Any

from ml.errors import MissingExtra


def load_sklearn() -> Any:
    """The library, imported when first asked for.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import sklearn.cluster
        import sklearn.decomposition
        import sklearn.metrics
    except ModuleNotFoundError as error:
        raise MissingExtra("Grouping faults", "train") from error
    return sklearn
