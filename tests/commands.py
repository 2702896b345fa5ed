"""Run ``signalml``: in this process, which is fast, or in its own process, as a user does it."""

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, chdir, contextmanager
from pathlib import Path
from typing import IO, NamedTuple
from unittest.mock import patch

from cli.main import main
from testing.servers import THREADS, environment

PROGRAM = ("-m", "cli.main")


class Done(NamedTuple):
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str


def signalml(home: Path | None, *arguments: object, folder: Path | None = None, **settings: object) -> Done:
    """Run one command in this process, through the entry point of the installed command.

    Args:
        home: its SIGNALML_HOME; None leaves it unset, and needs a folder.
        arguments: arguments of ``signalml``.
        folder: its working folder; the parent of the home by default.
        settings: ``port=1`` is SIGNALML_PORT.
    """
    with _streams() as (out, err):
        with ExitStack() as changed:
            changed.enter_context(patch.object(sys, "argv", ["signalml", *map(str, arguments)]))
            threads = {name: value for name, value in os.environ.items() if name in THREADS}
            changed.enter_context(patch.dict(os.environ, _environment(home, settings) | threads, clear=True))
            changed.enter_context(chdir(_folder(home, folder)))
            status = _status()
        return Done(status, _text(out), _text(err))


def as_process(
    home: Path | None,
    *arguments: object,
    folder: Path | None = None,
    program: Sequence[str] = PROGRAM,
    **settings: object,
) -> Done:
    """Run one command in its own process; ``program`` are the arguments of Python."""
    process = start(home, *arguments, folder=folder, program=program, **settings)
    out, err = process.communicate()
    return Done(process.returncode, out, err)


def start(
    home: Path | None,
    *arguments: object,
    folder: Path | None = None,
    program: Sequence[str] = PROGRAM,
    **settings: object,
) -> subprocess.Popen[str]:
    """Start one command in its own process and process group, without waiting."""
    return subprocess.Popen(
        [sys.executable, *program, *map(str, arguments)],
        env=_environment(home, settings),
        cwd=_folder(home, folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def worked_s() -> float:
    """Return the CPU time of all ended child processes, in seconds: unlike the wall clock, it is the same when busy."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def succeeds(home: Path, *arguments: object) -> str:
    """Run a command that must succeed; returns its stdout. No library must print to stderr."""
    done = signalml(home, *arguments)
    assert done.returncode == 0, done.stderr
    assert "XNNPACK" not in done.stderr
    return done.stdout.strip()


def assert_one_sentence(done: Done, *fragments: str) -> None:
    """Assert that a command failed with exit status 1, an empty stdout, and one stderr line with ``fragments``."""
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert [fragment for fragment in fragments if fragment not in line] == []


def _environment(home: Path | None, settings: Mapping[str, object]) -> dict[str, str]:
    return environment(**settings, **({} if home is None else {"home": home}))


def _folder(home: Path | None, folder: Path | None) -> Path:
    if folder is None:
        assert home is not None
        return home.parent
    return folder


def _status() -> int:
    """Run the command of ``sys.argv``; returns the exit status that the interpreter would have."""
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


@contextmanager
def _streams() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Redirect stdout and stderr, and their file descriptors that libraries write to, into two files."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, ExitStack() as changed:
        for number, (name, file, errors) in enumerate(
            (("stdout", out, "strict"), ("stderr", err, "backslashreplace")), start=1
        ):
            getattr(sys, name).flush()
            before = os.dup(number)
            changed.callback(os.close, before)
            changed.callback(os.dup2, before, number)
            os.dup2(file.fileno(), number)
            stream = open(number, "w", buffering=1, encoding="utf-8", errors=errors, closefd=False)  # noqa: SIM115 - closed above
            changed.callback(stream.close)
            changed.enter_context(patch.object(sys, name, stream))
        yield out, err


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()
