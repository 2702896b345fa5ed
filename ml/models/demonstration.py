"""Demonstration model: trained on simulated sound, so that a new installation can answer."""

from collections.abc import Mapping
from typing import Any

DEMONSTRATION = "demonstration"  # kind of source in the card
DEMONSTRATION_NOTE = (
    "This is a demonstration model, trained on simulated fans from this project's own simulator. It knows no real "
    "machine. Train a model on your own recordings, and promote it."
)


def demonstration_note(card: Mapping[str, Any]) -> str | None:
    """Return the note that is part of each answer of a demonstration model; None for any other model.

    Args:
        card: card of the model.

    Example:
        >>> demonstration_note({"source": {"kind": "demonstration"}})[:34]
        'This is a demonstration model, tra'
        >>> demonstration_note({"source": {"kind": "trained here"}}) is None
        True
    """
    source = card.get("source")
    is_demonstration = isinstance(source, Mapping) and source.get("kind") == DEMONSTRATION
    return DEMONSTRATION_NOTE if is_demonstration else None
