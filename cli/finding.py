"""Finding of ``signalml doctor``."""

from typing import Literal, NamedTuple

Grade = Literal["ok", "warning", "wrong"]


class Finding(NamedTuple):
    """Result of one check.

    Attributes:
        subject: checked part, such as ``disk``.
        grade: result.
        detail: result in a sentence.
        remedy: advice for the user; empty if nothing is to be done.
    """

    subject: str
    grade: Grade
    detail: str
    remedy: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return plain values, with the names that scripts read."""
        return {"what": self.subject, "grade": self.grade, "says": self.detail, "do": self.remedy}
