"""Answers with a recording's file, or with a range of its bytes."""

import os
import re
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import FileResponse
from starlette.types import Receive, Scope, Send

from api.errors import MalformedRange, RangeNotSatisfiable, RequestError
from api.problems import problem_of_error, problem_response
from ml.system.validation import MAX_SHOWN_LENGTH

# As many ranges as are answered need less. The time of the expressions below is the square of the spaces in a header.
MAX_RANGE_LENGTH = 2000
# First and last byte; one of them may be missing. 18 digits are enough for any file.
BYTES = re.compile(r"bytes\s*=\s*(?:(?:\d{1,18}\s*-\s*(?:\d{1,18})?|-\s*\d{1,18})\s*(?:,\s*|$))+", re.IGNORECASE)
RANGE = re.compile(r"(\d*)\s*-\s*(\d*)")


class AudioFileResponse(FileResponse):
    """Answer with the file of a recording.

    A range that cannot be answered is refused with problem+json, like all other errors. The framework would refuse it
    with a text.

    Args:
        file: the file.
        facts: facts about the file from the system.
        media_type: type of the file.
        name: name that the file was uploaded with.
    """

    def __init__(self, file: Path, facts: os.stat_result, media_type: str, name: str) -> None:
        headers = {"X-Content-Type-Options": "nosniff"}
        super().__init__(
            file,
            200,
            headers,
            media_type,
            filename=_download_name(name),
            stat_result=facts,
            content_disposition_type="inline",
        )
        self._size = facts.st_size

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file or a range of it."""
        size = self._size
        refusal = _refusal(Headers(scope=scope).get("range"), size)
        if refusal is None:
            await super().__call__(scope, receive, send)
            return
        headers = {"Content-Range": f"bytes */{size}"} if isinstance(refusal, RangeNotSatisfiable) else {}
        await problem_response(problem_of_error(refusal), headers)(scope, receive, send)


def _download_name(name: str) -> str:
    """Return the name without folders and without dots in front: a program that saves the answer may use it."""
    return re.split(r"[/\\]", name)[-1].lstrip(".") or "recording"


def _refusal(header: str | None, size: int) -> RequestError | None:
    """Return why the ranges of a request cannot be answered; None if they can, or if there are none."""
    if header is None or header.count(",") >= FileResponse.max_ranges:  # the whole file is sent then
        return None
    if len(header) > MAX_RANGE_LENGTH or not BYTES.fullmatch(header.strip()):
        return MalformedRange(
            f"The header Range is {header[:MAX_SHOWN_LENGTH]!r}; bytes=0-99 was expected, for example."
        )
    for first, last in RANGE.findall(header.partition("=")[2]):
        if first and last and int(first) > int(last):
            return MalformedRange(f"The range {first}-{last} ends before it begins.")
        if (int(first) >= size) if first else (int(last) == 0):
            return RangeNotSatisfiable(f"The file has {size} bytes; the range {first}-{last} is behind its end.")
    return None
