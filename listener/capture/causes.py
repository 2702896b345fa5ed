"""What a program wrote about its failure, bounded and without credentials."""

import re
from collections import deque
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

from listener.config.entry import HIDDEN, hide_credentials

MAX_LINE, MAX_LINES, SHOWN_LINES = 300, 20, 3
USER = re.compile(r"(\w+://)[^/\s'\"]*@")
QUERY = re.compile(r"(\w+://[^\s'\"?]*)\?[^\s'\"]*")
# Ends of lines and control sequences of a terminal.
LINE_ENDS, CONTROL = re.compile(rb"[\r\n]+"), re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x1f\x7f]")
# Addresses in memory, which differ each time, and the name of stdin.
MEANINGLESS = re.compile(r" @ 0x[0-9a-f]+|^pipe:0: ")
SHORTEST_SECRET = 4  # a shorter one would also be in ordinary words


class Credentials:
    """Credentials of an address.

    Example:
        >>> Credentials("rtsp://user:password@camera/a").hide("401 for rtsp://user:password@camera/a (password)")
        '401 for rtsp://***@camera/a (***)'
    """

    def __init__(self, url: str | None = None) -> None:
        self._url = url or ""
        parts = urlsplit(self._url)
        user = parts.netloc.rpartition("@")[0]
        values = [each.partition("=")[2] for each in parts.query.split("&")]
        texts = {user, parts.password or "", parts.query, parts.fragment, *values}
        texts |= {unquote(text) for text in texts}
        self._texts = sorted((text for text in texts if len(text) >= SHORTEST_SECRET), key=len, reverse=True)

    def hide(self, text: str) -> str:
        """Return a text without these credentials, and without those of any other address in it."""
        if self._url:
            text = text.replace(self._url, hide_credentials(self._url))
        text = QUERY.sub(rf"\1?{HIDDEN}", USER.sub(rf"\1{HIDDEN}@", text))
        for secret in self._texts:
            text = text.replace(secret, HIDDEN)
        return text


class Messages:
    """Last lines that a program wrote to stderr.

    Args:
        credentials: these are left out.
        noise: lines with one of these texts are left out.
    """

    def __init__(self, credentials: Credentials, noise: tuple[str, ...] = ()) -> None:
        self._credentials, self._noise = credentials, noise
        self._lines: deque[str] = deque(maxlen=MAX_LINES)
        self._rest = b""

    def add(self, data: bytes) -> list[str]:
        """Add what was written; return the new lines."""
        *parts, rest = LINE_ENDS.split(self._rest + data)
        self._rest = rest[:4096]
        lines = list(self._clean(parts))
        self._lines.extend(lines)
        return lines

    def text(self) -> str:
        """Return the last lines as one sentence part; empty without any."""
        self.add(b"\n")
        return "; ".join(list(self._lines)[-SHOWN_LINES:])

    def _clean(self, parts: Iterable[bytes]) -> Iterable[str]:
        for part in parts:
            line = MEANINGLESS.sub("", CONTROL.sub("", part.decode(errors="replace")).strip())
            if line and not any(each in line for each in self._noise):
                yield self._credentials.hide(line)[:MAX_LINE]
