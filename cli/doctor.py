"""``signalml doctor``: checks of an installation, each with its remedy."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import redis
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from api.api_keys import ApiKeyStore
from api.settings import Settings, unknown_variables
from cli.finding import Finding, Grade
from cli.listening_checks import check_listening
from cli.output import PIPE_WIDTH
from ml.dataset.catalog import dataset_names
from ml.dataset.collection.state import is_collection
from ml.dataset.collection.store import Collection
from ml.dataset.paths import dataset_folder
from ml.errors import MachinesUnavailable, ModelError, ModelNotFound, SignalMLError
from ml.machines.ledger import Ledger
from ml.models.aliases import FIRST_MODEL, Alias
from ml.models.registry import Registry
from ml.system.native import quiet_native_stderr
from ml.system.text import printable_lines
from worker.broker import find_queue_url
from worker.jobs import QUEUES, QueueUnavailable
from worker.store import JobStore, connect

NEARLY_FULL, MEMORY_NEARLY_FULL = 0.05, 0.9
WAITING_TOO_LONG_S = 60.0
COLOURS: dict[Grade, str] = {"ok": "green", "warning": "yellow", "wrong": "red"}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print all results as JSON.")] = False,
) -> None:
    """Check the home, models, datasets, queue and workers, and more; exit with status 1 if anything is wrong."""
    settings = Settings()  # unknown variables are a finding here
    with quiet_native_stderr():
        found = [finding for check in CHECKS for finding in check(settings)]
    if as_json:
        typer.echo(json.dumps([finding.to_dict() for finding in found], indent=2))
    else:
        _print(found)
    raise typer.Exit(int(any(finding.grade == "wrong" for finding in found)))


def _print(found: list[Finding]) -> None:
    table = Table("", "check", "result", box=None)
    for each in found:
        text = f"{each.detail}\n-> {each.remedy}" if each.remedy else each.detail
        cells = (escape(printable_lines(cell)) for cell in (each.subject, text))
        table.add_row(f"[{COLOURS[each.grade]}]{each.grade}[/]", *cells)
    out = Console(highlight=False)
    if not out.is_terminal:
        out.width = PIPE_WIDTH
    out.print(table)


def _settings(_: Settings) -> Iterator[Finding]:
    for sentence in unknown_variables().values():
        yield Finding("settings", "warning", sentence, "correct or remove the variable")


def _home(settings: Settings) -> Iterator[Finding]:
    home = settings.home
    if home.exists() and not home.is_dir():
        yield Finding("home", "wrong", f"{home.absolute()} is not a folder.", "correct SIGNALML_HOME")
        return
    if not home.is_dir():
        yield Finding("home", "warning", f"{home.absolute()} does not exist yet.", "none: it is created when needed")
        return
    usage = shutil.disk_usage(home)
    free = f"{usage.free / 1e9:.1f} of {usage.total / 1e9:.1f} GB are free on its disk"
    if usage.free < NEARLY_FULL * usage.total:
        yield Finding("disk", "wrong", f"{home.absolute()}: only {free}.", "free some space; features/ can be deleted")
    else:
        yield Finding("disk", "ok", f"{home.absolute()}: {free}.")
    yield from _permissions(home)


def _permissions(home: Path) -> Iterator[Finding]:
    try:
        paths = [home, *sorted(home.iterdir())]
        locked = [path for path in paths if not os.access(path, os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0))]
    except OSError as error:
        yield Finding("permissions", "wrong", f"{home.absolute()}: {error.strerror}.", "give this user the folder")
        return
    for path in locked:
        detail = f"{path.absolute()} cannot be read and written by this user."
        yield Finding("permissions", "wrong", detail, "give this user the file or folder, or run as its owner")


def _models(settings: Settings) -> Iterator[Finding]:
    registry = Registry(settings.home)
    try:
        versions, aliases = registry.versions(), registry.aliases()
    except (ModelError, OSError) as error:
        yield Finding("models", "wrong", str(error), "remove aliases.json, then  signalml models promote VERSION")
        return
    if "champion" not in aliases:
        remedy = "signalml models promote VERSION" if versions else FIRST_MODEL
        yield Finding("models", "wrong", "There is no champion, so no upload is answered.", remedy)
    # An alias can point to a version whose folder is gone.
    for version in dict.fromkeys([*aliases.values(), *versions]):
        serving = [alias for alias, pointed in aliases.items() if pointed == version]
        if version not in versions:
            yield _damaged_model(version, serving, ModelNotFound(f"the folder of {version} is gone."), versions)
            continue
        try:
            registry.load_predictor(version)
        except (ModelError, OSError) as error:
            yield _damaged_model(version, serving, error, versions)
        else:
            if "champion" in serving:
                yield Finding(f"model {version}", "ok", "The champion is complete and answers its golden clip.")


def _damaged_model(version: str, serving: list[Alias], error: Exception, versions: list[str]) -> Finding:
    others = [each for each in versions if each != version]
    remedy = "restore its folder from a backup, or import it again"
    if "champion" in serving:
        promote = f"signalml models promote {others[0]}" if others else FIRST_MODEL
        remedy = f"{remedy}; until then  {promote}"
    named = f"The {' and '.join(serving)}: {error}" if serving else str(error)
    return Finding(f"model {version}", "wrong" if serving else "warning", named, remedy)


def _datasets(settings: Settings) -> Iterator[Finding]:
    try:
        names = dataset_names(settings.home)
    except OSError as error:
        yield Finding("datasets", "wrong", f"The datasets cannot be listed: {error.strerror}.", "check its permissions")
        return
    for name in names:
        try:
            if is_collection(dataset_folder(settings.home, name)):
                yield from _collection(Collection(settings.home, name))
        except (SignalMLError, OSError) as error:
            yield Finding(f"dataset {name}", "wrong", f"It cannot be read: {error}", "restore it from a backup")


def _collection(collection: Collection) -> Iterator[Finding]:
    subject = f"dataset {collection.name}"
    if damaged := collection.damaged:
        detail = f"{damaged} lines of its journal cannot be read; their uploads or corrections are missing."
        yield Finding(subject, "wrong", detail, "restore journal.jsonl from a backup, or upload again")
    missing = [each.path for each in collection.recordings() if not (collection.folder / each.path).is_file()]
    if missing:
        detail = f"{len(missing)} of its recordings have no file, such as {missing[0]}."
        yield Finding(subject, "wrong", detail, "restore the files from a backup, or remove the recordings")


def _keys(settings: Settings) -> Iterator[Finding]:
    try:
        keys = ApiKeyStore(settings.home).list_keys()
    except (SignalMLError, OSError, ValueError, TypeError, KeyError) as error:
        detail = f"The file of API keys cannot be read: {error}."
        yield Finding("keys", "wrong", detail, "restore api-keys.json from a backup, or remove it and create new keys")
        return
    if damaged := ApiKeyStore(settings.home).count_damaged():
        detail = f"{damaged} entries of the file of API keys cannot be read; these keys are refused."
        yield Finding("keys", "wrong", detail, "restore api-keys.json from a backup, or remove these entries")
    if settings.require_api_key and not keys:
        detail = "API keys are required, and there are none: no request is answered."
        yield Finding("keys", "wrong", detail, "signalml keys create NAME --scope predict")


def _machines(settings: Settings) -> Iterator[Finding]:
    try:
        with Ledger(settings.home, rule=settings.alarm_rule) as ledger:
            ledger.summaries()
    except MachinesUnavailable as error:
        remedy = "restore the file from a backup, or remove it to start a new record"
        yield Finding("machines", "wrong", str(error), remedy)


def _queue(settings: Settings) -> Iterator[Finding]:
    try:
        url = find_queue_url(settings.redis_url, settings.home)
    except QueueUnavailable as error:
        yield Finding("queue", "warning", f"{error} Uploads need no queue.", "for jobs: signalml run")
        return
    try:
        client = connect(url)
        client.ping()
    except QueueUnavailable as error:
        yield Finding("queue", "wrong", str(error), "correct SIGNALML_REDIS_URL")
        return
    except redis.AuthenticationError as error:
        remedy = "correct it in SIGNALML_REDIS_URL"
        yield Finding("queue", "wrong", f"The server refuses the password: {error}.", remedy)
        return
    except (redis.RedisError, OSError) as error:
        remedy = "start it, or correct SIGNALML_REDIS_URL"
        yield Finding("queue", "wrong", f"The server cannot be reached: {error}.", remedy)
        return
    yield Finding("queue", "ok", "The server answers.")
    try:
        yield from _server(client)
        yield from _workers(JobStore(client))
    except redis.RedisError as error:
        yield Finding("queue", "wrong", f"The server cannot be checked: {error}.", "run signalml doctor again")


def _server(client: redis.Redis) -> Iterator[Finding]:
    info: dict[str, object] = dict(client.info())
    policy = info.get("maxmemory_policy")
    if policy != "noeviction":
        detail = f"The maxmemory-policy of the queue is {policy}: when its memory is full, it deletes records of jobs."
        yield Finding("eviction", "wrong", detail, "set maxmemory-policy noeviction")
    if not info.get("aof_enabled"):
        detail = "The queue has no append-only file: a restart loses all changes of jobs since its last snapshot."
        yield Finding("durability", "wrong", detail, "set appendonly yes")
    limit, used = int(str(info.get("maxmemory", 0))), int(str(info.get("used_memory", 0)))
    if limit and used > MEMORY_NEARLY_FULL * limit:
        detail = f"The queue uses {used / 1e6:.0f} of {limit / 1e6:.0f} MB; when they are full, new jobs are refused."
        yield Finding("memory", "wrong", detail, "raise maxmemory, or lower SIGNALML_JOBS_KEPT_DAYS")


def _workers(store: JobStore) -> Iterator[Finding]:
    figures = store.stats()
    for queue in QUEUES:
        alive = [worker for worker in figures.workers if worker.alive and queue in worker.queues]
        count, oldest_s = figures.waiting[queue], figures.oldest_s[queue]
        waiting = f"{count} units of work wait, the oldest for {oldest_s:.0f} s"
        if not alive:
            grade: Grade = "wrong" if count else "warning"
            remedy = f"signalml worker --queues {queue}"
            yield Finding(f"workers of {queue}", grade, f"No worker reported in the last seconds; {waiting}.", remedy)
        elif oldest_s > WAITING_TOO_LONG_S:
            remedy = "start more workers, or raise SIGNALML_WORKER_PROCESSES"
            yield Finding(f"workers of {queue}", "warning", f"Workers: {len(alive)}; {waiting}.", remedy)
        else:
            yield Finding(f"workers of {queue}", "ok", ", ".join(worker.name for worker in alive))


CHECKS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    _settings,
    _home,
    _models,
    _datasets,
    _keys,
    _machines,
    _queue,
    check_listening,
)
