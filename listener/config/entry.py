"""What sources and sinks have in common, and the checks of their addresses and hours."""

import base64
import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from ml.machines.observation import MACHINE_ID_PATTERN, MAX_MACHINE_ID

NAME_PATTERN = r"^[a-z0-9][a-z0-9_.-]{0,39}$"
MQTT_SCHEMES = ("mqtt", "mqtts")
WEB_SCHEMES = ("http", "https")
HIDDEN = "***"
DAY = "(Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
HOUR = "(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)"
HOURS = re.compile(rf"({DAY}(-{DAY})? )?{HOUR}-{HOUR}")

Name = Annotated[str, Field(pattern=NAME_PATTERN, examples=["hall-3"])]
Topic = Annotated[str, Field(pattern=r"^[^+#\x00]{1,500}$")]
MachineId = Annotated[str, Field(pattern=MACHINE_ID_PATTERN, max_length=MAX_MACHINE_ID, examples=["fan-3"])]


class Entry(BaseModel):
    """Entry of a file. Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: Name
    """Name, unique in its file: lower-case letters, digits, `.`, `_` and `-`, at most 40."""
    enabled: bool = True
    """Whether it is used."""


def check_url(url: str, schemes: tuple[str, ...]) -> None:
    """Check the scheme and the host of an address.

    Raises:
        ValueError: the address cannot be used; the message has no password.
    """
    expected = " or ".join(f"{scheme}://" for scheme in schemes)
    if any(character.isspace() or not character.isprintable() for character in url):
        raise ValueError(f"the address contains spaces or control characters; {expected} and a host was expected")
    parts = urlsplit(url)
    try:
        has_host = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        has_host = False
    if ":" in parts.netloc and "@" not in parts.netloc and "@" in url:
        raise ValueError("a character / ? or # of the user or the password must be written as %2F, %3F or %23")
    if parts.scheme not in schemes or not has_host:
        raise ValueError(f"the address is {hide_credentials(url)!r}; {expected} and a host was expected")


def check_secret(secret: SecretStr | None) -> None:
    """Check the key of a webhook's signature.

    Raises:
        ValueError
    """
    if secret is None:
        return
    prefix, _, encoded = secret.get_secret_value().partition("_")
    try:
        length = len(base64.b64decode(encoded, validate=True))
    except ValueError:
        length = 0
    if prefix != "whsec" or not 24 <= length <= 64:
        raise ValueError("the secret cannot be used; whsec_ and base64 of 24 to 64 bytes was expected")


def hide_credentials(url: str) -> str:
    """Return an address without its password, user and query, for logs and answers.

    Example:
        >>> hide_credentials("rtsp://user:word@camera-7/audio?token=1")
        'rtsp://***@camera-7/audio?***'
        >>> hide_credentials("rtsp://user:wo/rd@camera-7/audio"), hide_credentials("rtsp://camera-7/user=a&password=b")
        ('rtsp://***@camera-7/audio', 'rtsp://camera-7/***')
    """
    scheme, separator, rest = url.partition("://")
    # A password with a slash that is not escaped ends the host for other programs, and still must not be shown.
    _, at, place = rest.rpartition("@")
    host, slash, path = place.partition("/")
    path, question, _ = path.partition("?")
    host, mark, _ = host.partition("?")
    shown = f"{host}{slash}{HIDDEN if '=' in path else path}{f'?{HIDDEN}' if question or mark else ''}"
    return f"{scheme}{separator}{f'{HIDDEN}@' if at else ''}{shown}"
