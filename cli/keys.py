"""``signalml keys``: who may ask, and who may change what answers."""

from typing import Annotated

import typer
from rich.table import Table

from api.api_keys import ApiKeyStore
from api.settings import Settings
from cli.lazy import MARKUP
from cli.output import print_table

app = typer.Typer(no_args_is_help=True, rich_markup_mode=MARKUP, help="Create, list and revoke API keys.")


@app.command(epilog="Example:  `signalml keys create line-3 --scope predict`")
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is.")],
    scope: Annotated[str, typer.Option(help="predict, or admin (which may also change what answers).")] = "predict",
) -> None:
    """Make a key and print it, this once; only its hash is kept."""
    if scope not in ("predict", "admin"):
        raise typer.BadParameter(f"{scope!r}: predict or admin was expected", param_hint="--scope")
    try:
        secret = _keys().create(name, "admin" if scope == "admin" else "predict")
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="NAME") from error
    typer.echo(secret)


@app.command("list")
def list_() -> None:
    """Names, scopes and ages of the keys."""
    table = Table("name", "scope", "created", box=None)
    for key in _keys().list_keys():
        table.add_row(key.name, key.scope, key.created)
    print_table(table, "No keys yet:  signalml keys create NAME")


@app.command()
def revoke(name: Annotated[str, typer.Argument(help="Whose key it is.")]) -> None:
    """Remove a key; it stops working at once."""
    _keys().revoke(name)
    typer.echo(f"{name} is revoked")


def _keys() -> ApiKeyStore:
    return ApiKeyStore(Settings().home)
