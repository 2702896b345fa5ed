"""``signalml keys``: API keys of clients."""

from typing import Annotated

import typer
from rich.table import Table

from api.api_keys import ApiKeyStore
from cli.home import created_home
from cli.lazy import MARKUP
from cli.output import print_table
from cli.signing_keys import app as signing_app
from ml.system.text import printable

app = typer.Typer(no_args_is_help=True, rich_markup_mode=MARKUP, help="Create, list and revoke API keys.")
app.add_typer(signing_app, name="signing")


@app.command(epilog="Example:  `signalml keys create line-3 --scope predict`")
def create(
    name: Annotated[str, typer.Argument(help="Name of the key, such as the name of its client.")],
    scope: Annotated[str, typer.Option(help="predict, or admin, which also allows changes.")] = "predict",
) -> None:
    """Create a key and print it once; only its hash is stored."""
    if scope not in ("predict", "admin"):
        raise typer.BadParameter(f"{scope!r}: predict or admin was expected", param_hint="--scope")
    try:
        secret = _keys().create(name, "admin" if scope == "admin" else "predict")
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="NAME") from error
    typer.echo(secret)


@app.command("list")
def list_() -> None:
    """List the names, scopes and creation times of all keys."""
    table = Table("name", "scope", "created", box=None)
    for key in _keys().list_keys():
        table.add_row(key.name, key.scope, key.created)
    print_table(table, "No keys yet:  signalml keys create NAME")


@app.command()
def revoke(name: Annotated[str, typer.Argument(help="Name of the key.")]) -> None:
    """Remove a key; it stops working at once."""
    _keys().revoke(name)
    typer.echo(f"{printable(name)} is revoked")


def _keys() -> ApiKeyStore:
    return ApiKeyStore(created_home().home)
