"""``signalml models``: import, show, promote, export and rename models."""

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import redis
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from api.settings import Settings
from cli.home import created_home
from cli.lazy import MARKUP
from cli.output import CONFIRM_HELP, print_table, require_confirmation
from ml.errors import ImportRefused, InvalidClassLabels, ModelError, SignatureMissing
from ml.models.aliases import ALIASES, FIRST_MODEL
from ml.models.import_original import SUFFIXES, import_original
from ml.models.key_ring import KeyRing
from ml.models.names import NAME_PATTERN
from ml.models.registry import ImportedModel, Registry
from ml.models.signing import SigningKey, signatures_required
from ml.system.atomic import write_atomic
from ml.system.native import quiet_native_stderr
from ml.system.text import printable
from ml.training.paths import report_path
from ml.training.removal import remove_model
from worker.broker import find_queue_url
from worker.job_checks import require_unused_by_jobs
from worker.jobs import QueueUnavailable
from worker.store import JobStore, connect

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=MARKUP, help="Import, list, promote, export, rename and remove models."
)
ModelArgument = Annotated[
    str, typer.Argument(help="A version, the name of a version without its hash, or champion, challenger, previous.")
]


def _registry() -> Registry:
    return Registry(Settings().home)


@app.command(
    "import",
    epilog="Examples:  `signalml models import weightsMulti.hdf5 --promote`,  `signalml models import fan-hall-3.zip`",
)
def import_(
    file: Annotated[
        Path,
        typer.Argument(exists=True, dir_okay=False, help="HDF5 file of the original, or an exported model (.zip)."),
    ],
    name: Annotated[str, typer.Option(help="Beginning of the version's name (HDF5 only).")] = "original",
    promote: Annotated[bool, typer.Option("--promote", help="Make it the champion: it then answers uploads.")] = False,
) -> None:
    """Check a model, add it to the registry, and print its version."""
    if not NAME_PATTERN.fullmatch(name):
        raise typer.BadParameter(f"{name!r}: lower-case letters, digits, . _ and - were expected", param_hint="--name")
    registry = Registry(created_home().home)
    if file.suffix.lower() == ".zip":
        with quiet_native_stderr():
            imported = registry.import_archive(file)
        version = imported.version
        _print_import(imported)
    elif signatures_required():
        raise SignatureMissing(
            f"{file.name} has no signature, and only signed models are accepted (SIGNALML_REQUIRE_SIGNED_BUNDLES). "
            "Import it in another home, export it with --sign, and import the archive here."
        )
    elif file.suffix.lower() in SUFFIXES:
        status = f"Importing {escape(printable(file.name))}: check, conversion, test ..."
        with quiet_native_stderr() as stderr, Console(file=stderr).status(status):
            version = import_original(file, registry, name)
    else:
        raise ImportRefused(f"{file.name} ends in {file.suffix!r}; .hdf5, .h5 or .zip was expected.")
    if promote:
        with quiet_native_stderr():
            registry.promote(version)
    typer.echo(version)


def _print_import(imported: ImportedModel) -> None:
    """Print on stderr what a user must know beside the version."""
    if imported.signer is not None:
        typer.echo(f"signed with the trusted key {imported.signer}", err=True)
    if imported.unused_revisions:
        typer.echo(
            f"{imported.version} was here already: its labels and its threshold stay as they are, and "
            f"{imported.unused_revisions} revisions in the archive are not used",
            err=True,
        )


@app.command("list")
def list_() -> None:
    """List all versions, the newest first, with their aliases."""
    registry = _registry()
    aliases = registry.aliases()
    table = Table("version", "aliases", "classes", "features", "created", box=None)
    for version in registry.versions():
        pointing = ", ".join(alias for alias in ALIASES if aliases.get(alias) == version) or "-"
        try:
            bundle = registry.read(version)
        except ModelError as error:
            table.add_row(version, pointing, "-", f"damaged: {error}", "-")
            continue
        spec = bundle.content.spec
        table.add_row(
            version,
            pointing,
            str(len(bundle.content.labels.classes)),
            f"{spec.rows}x{spec.clip_frames} at {spec.sample_rate_hz} Hz",
            bundle.created[:16],
        )
    print_table(table, f"No models in {registry.folder} yet. {FIRST_MODEL}")


@app.command()
def show(reference: ModelArgument = "champion") -> None:
    """Print all facts of a version as JSON."""
    registry = _registry()
    bundle = registry.read(reference)
    content = bundle.content
    facts = {
        "version": bundle.version,
        "created": bundle.created,
        "aliases": [alias for alias, version in registry.aliases().items() if version == bundle.version],
        "features": content.spec.to_dict() | {"fingerprint": content.spec.fingerprint, "clip_s": content.spec.clip_s},
        "decision": asdict(registry.threshold_revisions(bundle.version, bundle)[-1].decision),
        "labels": [
            {"revision": r.revision, "created": r.created, "classes": r.labels.to_list()}
            for r in registry.label_revisions(bundle.version, bundle)
        ],
        "card": content.card,
    }
    typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))


@app.command(epilog="Example:  `signalml models report champion --output fan-hall-3.html`")
def report(
    reference: ModelArgument = "champion",
    output: Annotated[Path | None, typer.Option(dir_okay=False, help="Copy the report to this file.")] = None,
) -> None:
    """Print the path of the training report of a version: one HTML page that opens offline."""
    home = Settings().home
    page = report_path(home, _registry().resolve(reference))
    if output is not None:
        write_atomic(output, page.read_bytes())
    typer.echo(f"{output or page}")


@app.command()
def verify(
    reference: Annotated[str | None, typer.Argument(help="A version or an alias; default: all versions.")] = None,
) -> None:
    """Check the files of a version against its manifest, load it, and test it with its golden clip."""
    registry = _registry()
    failed = False
    for version in [registry.resolve(reference)] if reference else registry.versions():
        try:
            with quiet_native_stderr():
                registry.load_predictor(version)
        except ModelError as error:
            failed = True
            typer.echo(printable(f"error: {error}"), err=True)
        else:
            typer.echo(f"{version}  complete, loads, answers its golden clip")
    raise typer.Exit(int(failed))


@app.command(epilog="Example:  `signalml models promote challenger`")
def promote(
    reference: ModelArgument,
    alias: Annotated[str, typer.Option(help="champion (it answers uploads) or challenger.")] = "champion",
) -> None:
    """Point an alias to a version. Running services follow within two seconds."""
    if alias not in ("champion", "challenger"):
        raise typer.BadParameter(f"{alias!r}: champion or challenger was expected", param_hint="--alias")
    with quiet_native_stderr():
        version = _registry().promote(reference, "champion" if alias == "champion" else "challenger")
    typer.echo(f"{version} is {alias}")


@app.command()
def rollback() -> None:
    """Make the previous champion the champion again; the present one becomes the previous one."""
    with quiet_native_stderr():
        version = _registry().rollback()
    typer.echo(f"{version} is champion")


@app.command(epilog="Example:  `signalml models remove fan-3-47a1c71740 --confirm fan-3-47a1c71740`")
def remove(
    version: Annotated[str, typer.Argument(help="Full name of the version.")],
    confirm: Annotated[str | None, typer.Option(metavar="VERSION", help=CONFIRM_HELP)] = None,
) -> None:
    """Remove a version with its revisions, and the records and the report of its training.

    A version that an alias points to, or that an unfinished job uses, is not removed.
    """
    settings = Settings()
    _registry().require_removable(version)
    require_confirmation(version, confirm)
    remove_model(settings.home, version, version, partial(_require_unused_by_jobs, settings, version))
    typer.echo(f"{version} is removed")


def _require_unused_by_jobs(settings: Settings, version: str) -> None:
    try:
        store = JobStore(connect(find_queue_url(settings.redis_url, settings.home)))
    except QueueUnavailable:  # no queue: there are no jobs
        return
    try:
        require_unused_by_jobs(store, settings.home, version)
    except redis.RedisError as error:
        raise QueueUnavailable(
            f"The job queue does not answer ({error}), so that it is not known whether a job uses {version}."
        ) from error


@app.command(
    epilog="Example:  `signalml models export champion fan.zip`, then elsewhere  `signalml models import fan.zip`"
)
def export(
    reference: ModelArgument,
    target: Annotated[Path, typer.Argument(dir_okay=False, help="Archive to write (.zip).")],
    sign: Annotated[
        str | None, typer.Option(metavar="NAME", help="Sign it with this key of  signalml keys signing new NAME.")
    ] = None,
) -> None:
    """Pack a version into one file, for a computer without TensorFlow or without internet."""
    _registry().export(reference, target, _signing_key(sign) if sign else None)
    typer.echo(f"{target}")


@app.command("sign", epilog="Example:  `signalml models sign fan-hall-3 --key hall`")
def sign_(
    reference: ModelArgument,
    key: Annotated[str, typer.Option(metavar="NAME", help="Key of  signalml keys signing new NAME.")],
) -> None:
    """Sign a version in this home, for a service that accepts only signed models."""
    typer.echo(f"{_registry().sign(reference, _signing_key(key))} is signed with {key}")


def _signing_key(name: str) -> SigningKey:
    return KeyRing(Settings().home).signing_key(name)


@app.command(
    epilog='Example:  `signalml models label champion "normal=Component OK" "imbalance=Fan 3: out of balance" ...`'
)
def label(
    reference: ModelArgument,
    classes: Annotated[list[str], typer.Argument(help="NAME=MESSAGE for each class, in the order of the classes.")],
) -> None:
    """Give every class a name and a message, as a new revision; earlier revisions are kept."""
    pairs = [tuple(text.split("=", 1)) for text in classes]
    if not all(len(pair) == 2 for pair in pairs):
        raise InvalidClassLabels(f"Labels: {classes} were given; NAME=MESSAGE was expected for each.")
    revision = _registry().rename_classes(reference, [(pair[0], pair[1]) for pair in pairs])
    typer.echo(printable(f"revision {revision.revision}: {', '.join(c.name for c in revision.labels.classes)}"))
