"""Check of labels that names of files and folders contradict, before a model learns from them."""

from collections.abc import Sequence

from ml.dataset.entries import Contradiction, Dataset
from ml.errors import LabelsContradictNames

CONTRADICTIONS_SHOWN = 3


def require_plain_labels(dataset: Dataset, *, confirmed: bool = False) -> None:
    """Check that no name contradicts a label, unless the labels are confirmed.

    Raises:
        LabelsContradictNames: with the first contradictions, and what can be done.
    """
    if dataset.contradictions and not confirmed:
        raise LabelsContradictNames(
            f"{_contradictions(dataset.contradictions)}. Correct the labels: put the recordings into folders called "
            "normal and abnormal, write a manifest.csv with the columns path,label, or correct the labels of uploads. "
            "If the labels are right, confirm them: --confirm-labels, or over HTTP confirm_labels: true."
        )


def contradictions_note(dataset: Dataset) -> Sequence[str]:
    """Return a sentence about labels that names contradict; empty without any."""
    return (f"{_contradictions(dataset.contradictions)}.",) if dataset.contradictions else ()


def _contradictions(found: Sequence[Contradiction]) -> str:
    recordings = len({each.path for each in found})
    shown = "; ".join(f"{each.path}: {each.reason.rstrip('.')}" for each in found[:CONTRADICTIONS_SHOWN])
    more = f"; and {len(found) - CONTRADICTIONS_SHOWN} more" if len(found) > CONTRADICTIONS_SHOWN else ""
    return f"Names contradict the labels of {recordings} recordings: {shown}{more}"
