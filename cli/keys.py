"""``signalml keys``: API keys of clients."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from api.api_keys import ApiKey, ApiKeyStore, parse_expiry
from api.scopes import MEANINGS, SCOPES, Scope
from cli.home import created_home
from cli.lazy import MARKUP
from cli.output import print_table
from cli.signing_keys import app as signing_app
from ml.system.text import printable

SCOPE_MEANINGS = " ".join(f"**{scope}**: {MEANINGS[scope]}" for scope in SCOPES)
app = typer.Typer(no_args_is_help=True, rich_markup_mode=MARKUP, help="Create, list and revoke API keys.")
app.add_typer(signing_app, name="signing")


@app.command(
    epilog="Examples:  `signalml keys create line-3 --scope predict --machine 'hall-3/*'`,  "
    "`signalml keys create screen --scope predict --scope read --expires 90d`"
)
def create(
    name: Annotated[str, typer.Argument(help="Name of the key, such as the name of its client.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help=f"What the key allows; may be repeated. Default: predict. {SCOPE_MEANINGS}",
        ),
    ] = None,
    machine: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Bind the key to machines, such as 'hall-3/*'; may be repeated."),
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Bind the key to datasets, such as hall-3; may be repeated."),
    ] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="TIME", help="End of the key: after 90d or 12h, or at a date (0:00 UTC).")
    ] = None,
) -> None:
    """Create a key and print it once; only its hash is stored."""
    now = datetime.now(UTC)
    try:
        secret = _keys().create(
            name,
            *_scopes(scope or ["predict"]),
            expires=None if expires is None else parse_expiry(expires, now),
            machines=machine or (),
            datasets=dataset or (),
        )
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="NAME") from error
    typer.echo(secret)


@app.command("list")
def list_() -> None:
    """List the names, scopes, bindings and times of all keys."""
    table = Table("name", "scope", "machines", "datasets", "created", "expires", box=None)
    for key in _keys().list_keys():
        table.add_row(
            key.name,
            ", ".join(key.scopes),
            ", ".join(key.machines) or _unnamed(key),
            ", ".join(key.datasets) or _unnamed(key),
            key.created,
            _expiry(key),
        )
    print_table(table, "No keys yet:  signalml keys create NAME")


@app.command()
def revoke(name: Annotated[str, typer.Argument(help="Name of the key.")]) -> None:
    """Remove a key; it stops working at once."""
    _keys().revoke(name)
    typer.echo(f"{printable(name)} is revoked")


def _keys() -> ApiKeyStore:
    return ApiKeyStore(created_home().home)


def _scopes(given: list[str]) -> tuple[Scope, ...]:
    if unknown := set(given) - set(SCOPES):
        raise typer.BadParameter(
            f"{', '.join(sorted(unknown))}: one of {', '.join(SCOPES)} was expected", param_hint="--scope"
        )
    return tuple(scope for scope in SCOPES if scope in given)


def _unnamed(key: ApiKey) -> str:
    return "none" if key.is_bound else "all"


def _expiry(key: ApiKey) -> str:
    if key.expires is None:
        return "never"
    return f"{key.expires} (expired)" if key.has_expired() else key.expires
