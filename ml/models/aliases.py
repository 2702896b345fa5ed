"""Aliases that point to versions, and the history of their changes: ``<models>/aliases.json``.

The file is replaced in one step, and the writer must hold the registry's lock.
"""

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ml.errors import BundleUnrecognised
from ml.models.names import VERSION_PATTERN
from ml.system.atomic import to_json, write_atomic
from ml.system.clock import timestamp

logger = logging.getLogger("signalml.registry")
Alias = Literal["champion", "challenger", "previous"]
ALIASES: tuple[Alias, ...] = get_args(Alias)
# The three ways to a first model, for every message about a missing one.
FIRST_MODEL = (
    "`signalml demo` trains a demonstration model in about a minute, `signalml train FOLDER --promote` trains on "
    "recordings, `signalml models import FILE --promote` imports a model."
)
HINTS = {
    "champion": f" {FIRST_MODEL}",
    "previous": " There is nothing to roll back to: no champion has been replaced yet.",
}
HISTORY_KEPT = 200


@dataclass(frozen=True, slots=True)
class AliasChange:
    """One change of an alias; the history keeps the last :data:`HISTORY_KEPT` changes."""

    at: str
    alias: str
    version: str
    before: str | None


class AliasStore:
    """Aliases of one home.

    Args:
        models: folder of the versions.
    """

    def __init__(self, models: Path) -> None:
        self.file = models / "aliases.json"

    def pointed(self) -> dict[Alias, str]:
        """Return the aliases that are set, and their versions.

        Raises:
            BundleUnrecognised: the file is damaged.
        """
        pointed: dict[str, str] = self._read()["aliases"]
        return {alias: pointed[alias] for alias in ALIASES if alias in pointed}

    def history(self) -> list[AliasChange]:
        """Return the changes of aliases, the oldest first; damaged entries are logged and left out.

        Raises:
            BundleUnrecognised: the file is damaged.
        """
        found = []
        for entry in self._read()["history"]:
            try:
                found.append(_alias_change(entry))
            except TypeError as error:
                logger.warning("an entry in the history of %s is damaged: %s", self.file.name, error)
        return found

    def point(self, alias: Alias, version: str) -> None:
        """Point an alias to a version; the former champion becomes previous, and a new one is no challenger any more.

        Raises:
            BundleUnrecognised: the file is damaged.
        """
        state = self._read()
        pointed: dict[str, str] = state["aliases"]
        before = pointed.get(alias)
        if alias == "champion":
            if before is not None:
                pointed["previous"] = before
            if pointed.get("challenger") == version:
                del pointed["challenger"]
        pointed[alias] = version
        change = AliasChange(timestamp(), alias, version, before)
        state["history"] = [*state["history"], asdict(change)][-HISTORY_KEPT:]
        write_atomic(self.file, to_json(state))

    def _read(self) -> dict[str, Any]:
        try:
            state = json.loads(self.file.read_bytes())
            pointed = state["aliases"].values()
            if not all(isinstance(v, str) and VERSION_PATTERN.fullmatch(v) for v in pointed):
                raise TypeError("an alias does not point to a version")
            if not isinstance(state["history"], list):
                raise TypeError("the history is not a list")
        except FileNotFoundError:
            return {"aliases": {}, "history": []}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BundleUnrecognised(f"{self.file.name} is damaged ({error}): remove it and promote again.") from error
        return dict(state)


def _alias_change(entry: Any) -> AliasChange:
    change = AliasChange(**entry)
    if not all(isinstance(text, str) for text in (change.at, change.alias, change.version, change.before or "")):
        raise TypeError(f"{entry} has a value that is no text")
    return change
