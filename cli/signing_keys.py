"""``signalml keys signing``: keys that sign models, and keys whose models are trusted."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from cli.home import created_home
from cli.lazy import MARKUP
from cli.output import print_table
from ml.models.key_ring import KeyRing, fingerprint

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=MARKUP,
    help="Make keys that sign models, and choose the keys whose models are trusted.",
)
Name = Annotated[str, typer.Argument(help="Name of the key.")]


@app.command(
    epilog="Example:  `signalml keys signing new hall`,  then  `signalml models export champion m.zip --sign hall`"
)
def new(name: Name) -> None:
    """Make a signing key, and print the path of its public key, which other computers can trust."""
    typer.echo(f"{_keys().create(name)}")


@app.command(epilog="Example:  `signalml keys signing trust hall.pub`")
def trust(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Public key (.pub).")],
    name: Annotated[str | None, typer.Option(help="Name of the key here; default: name of the file.")] = None,
) -> None:
    """Trust a public key: models that it has signed are accepted."""
    typer.echo(f"{_keys().trust(file, name)} is trusted")


@app.command()
def distrust(name: Name) -> None:
    """Remove a trusted key; where signatures are required, its models are no longer loaded."""
    _keys().distrust(name)
    typer.echo(f"{name} is no longer trusted")


@app.command("list")
def list_() -> None:
    """List the signing keys of this home, and the trusted keys."""
    table, keys = Table("name", "kind", "public key", box=None), _keys()
    for kind, found in (("signs", keys.own()), ("trusted", keys.trusted())):
        for name, public_key in found.items():
            table.add_row(name, kind, fingerprint(public_key) or "damaged: the file is no public key")
    print_table(table, "No signing keys yet:  signalml keys signing new NAME")


def _keys() -> KeyRing:
    return KeyRing(created_home().home)
