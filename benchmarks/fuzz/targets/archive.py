"""Archives of models: changed bytes of the zip, and changed members with matching hashes."""

import hashlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import psutil

from benchmarks.fuzz.odd_values import EDGES, change_value, json_text, mutate
from benchmarks.fuzz.running import Fault
from benchmarks.jobs.homes import add_model
from ml.errors import SignalMLError
from ml.models import bundle
from ml.models.registry import Registry

OTHER_NAMES = ("../evil", "/evil", "a/b", "spec.json/", "readme.txt", "network.tflite ", "SPEC.json")
WORDS = (b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06", b"\xff\xff\xff\xff", bytes(8))


class Archive:
    """Archives for a registry whose champion must stay as it is."""

    memory_bytes = 400_000_000

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._registry = Registry(add_model(folder / "home"))
        self._registry.export("champion", folder / "model.zip")
        self._whole = (folder / "model.zip").read_bytes()
        with zipfile.ZipFile(folder / "model.zip") as archive:
            self._members = {name: archive.read(name) for name in archive.namelist()}
        self._before = self._state()

    def make(self, random: Random) -> bytes:
        """Return the bytes of one archive."""
        if random.random() < 0.2:
            return mutate(random, self._whole, WORDS)
        members = dict(self._members)
        for _ in range(random.choice((1, 1, 2))):
            self._change(random, members)
        if random.random() < 0.9:
            _match_hashes(members)
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        return content.getvalue()

    def _change(self, random: Random, members: dict[str, bytes]) -> None:
        what, name = random.random(), random.choice(list(members))
        if what < 0.05:
            members[random.choice(OTHER_NAMES)] = b"evil"
        elif what < 0.1:
            del members[name]
        elif what < 0.12:
            members[name] = bytes(random.choice(EDGES[:8]) * 1000)
        elif name in self._members and name.endswith(".json"):  # others were added before
            members[name] = json_text(random, change_value(random, json.loads(self._members[name])))
        else:
            members[name] = mutate(random, members[name])

    def check(self, data: bytes) -> str:
        """Import one archive; the champion and the aliases must not change."""
        file = self._folder / "input.zip"
        file.write_bytes(data)
        found = "accepted"
        try:
            version = self._registry.add_archive(file)
        except SignalMLError as error:
            version, found = "", error.code
        finally:
            if (after := self._state()) != self._before:
                self._before = after
                raise Fault("an import changed the champion or an alias")
        if version and version != self._registry.resolve("champion"):
            shutil.rmtree(self._registry.path(version))
        strangers = [
            path.name for path in self._folder.iterdir() if path.name not in ("home", "model.zip", "input.zip")
        ]
        if strangers:
            raise Fault(f"an import wrote outside the home: {strangers}")
        return found

    def _state(self) -> list[tuple[str, str]]:
        """Return every file of the champion, and the aliases, with a hash."""
        champion = self._registry.resolve("champion")
        files = sorted(
            path
            for path in self._registry.folder.rglob("*")
            if (path.is_file() and champion in str(path)) or path.name == "aliases.json"
        )
        return [(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files if path.is_file()]

    def memory(self) -> int:
        """Return the resident memory of this process."""
        return int(psutil.Process(os.getpid()).memory_info().rss)


def _match_hashes(members: dict[str, bytes]) -> None:
    """Make the manifest match the members, as an attacker would."""
    try:
        manifest: Any = json.loads(members[bundle.MANIFEST])
        manifest["files"] = {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in members.items()
            if name in manifest["files"]
        }
        parts = b"".join(hashlib.sha256(members[name]).digest() for name in bundle.DIGESTED_FILES if name in members)
        name, _, _ = manifest["version"].rpartition("-")
        manifest["version"] = f"{name}-{hashlib.sha256(parts).hexdigest()[:10]}"
        members[bundle.MANIFEST] = json.dumps(manifest).encode()
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        pass  # the manifest itself was changed


@contextmanager
def open_target(folder: Path) -> Iterator[Archive]:
    """Make a home with a champion."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    yield Archive(folder)
