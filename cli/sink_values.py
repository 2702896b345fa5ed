"""Values of a sink from the options of ``signalml sinks add`` and ``change``."""

import base64
import secrets
from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from cli.entries import SECRET_FILE_HELP, SET_HELP, given, read_secret
from listener.config.entry import MQTT_SCHEMES, WEB_SCHEMES, hide_credentials
from listener.config.sink_types import MAIL_SCHEMES
from ml.errors import InvalidParameter

SECRET_BYTES = 32

MachineOption = Annotated[
    list[str] | None,
    typer.Option(metavar="PATTERN", help="Only alerts of these machines, such as 'hall-3/*'; may be repeated."),
]
ChangeOption = Annotated[
    list[str] | None,
    typer.Option(help="Only these changes: began, worsened, ended, interrupted; may be repeated."),
]
QuietOption = Annotated[
    list[str] | None, typer.Option(metavar="HOURS", help="Local hours without alerts: '22:00-06:00'; may be repeated.")
]
DurationOption = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="How long an event must last before it is sent.")
]
CooldownOption = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", help="Time without further alerts of a machine, unless they are worse."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help=SET_HELP.format(example="rules.digest_above=50", page="alerts")),
]
SecretFileOption = Annotated[
    str | None,
    typer.Option(metavar="FILE", help=SECRET_FILE_HELP.format(what="the password, API key or webhook secret")),
]


def kind_of(address: str, service: bool) -> str:
    """Return the kind of a sink from its address.

    Raises:
        InvalidParameter: it is none.

    Example:
        >>> kind_of("mqtt://broker", service=False), kind_of("https://central", service=True)
        ('mqtt', 'service')
    """
    scheme = urlsplit(address).scheme
    if scheme in WEB_SCHEMES:
        return "service" if service else "webhook"
    if service:
        raise InvalidParameter("--service needs an address with http:// or https://.")
    if scheme in MQTT_SCHEMES:
        return "mqtt"
    if scheme in MAIL_SCHEMES:
        return "email"
    schemes = ", ".join(f"{each}://" for each in (*MQTT_SCHEMES, *WEB_SCHEMES, *MAIL_SCHEMES))
    raise InvalidParameter(f"The address is {hide_credentials(address)!r}; one of {schemes} was expected.")


def rules_of(
    machines: Sequence[str] | None,
    changes: Sequence[str] | None,
    quiet: Sequence[str] | None,
    min_duration: float | None,
    cooldown: float | None,
) -> dict[str, Any]:
    """Return the rules of a sink that options state."""
    return given(
        machines=machines, changes=changes, quiet_hours=quiet, min_duration_s=min_duration, cooldown_s=cooldown
    )


def new_secret(kind: str, file: str | None) -> tuple[dict[str, str], str | None]:
    """Return the secret of a new sink, and the text to show once: only of a secret that is made here."""
    if kind == "service":
        found = read_secret(file, "API key of the service")
        return given(api_key=found), None
    if kind != "webhook":
        return {}, None
    if file is not None:
        return {"secret": str(read_secret(file, ""))}, None
    made = "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
    return {"secret": made}, made


def changed_secret(entry: Any, file: str) -> dict[str, str]:
    """Return the new secret of a sink, from a file.

    Raises:
        InvalidParameter: the secret is part of its address.
    """
    secret = str(read_secret(file, ""))
    if entry.kind in ("webhook", "service"):
        return {"secret" if entry.kind == "webhook" else "api_key": secret}
    raise InvalidParameter("--secret-file of this kind of sink needs --url, too, with the user of the password.")
