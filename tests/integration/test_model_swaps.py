"""Models change while clients ask: nobody is refused, and no answer mixes two models."""

import json
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from ml.models import bundle
from ml.models.bundle import GoldenClip
from ml.models.registry import Registry
from testing.servers import PATIENCE_S, Serve, ServerProcess, wait_until
from tests import sounds
from tests.commands import succeeds
from tests.integration.uploads import WAV_TYPE, Body, judged
from tests.unit import bundles

CLIENTS, SWAPS = 8, 40
TwoModels = tuple[Path, str, str]


@pytest.fixture
def home(two_models: TwoModels, tmp_path: Path) -> Path:
    """A home with two versions, to be changed."""
    return Path(shutil.copytree(two_models[0], tmp_path / "home"))


def point(server: ServerProcess, version: str) -> httpx.Response:
    """Promote over HTTP, on a connection of its own."""
    return server.afresh("PUT", "/v1/models/aliases/champion", json={"version": version})


def answering(server: ServerProcess) -> str:
    """The version that answers a fresh connection."""
    model: Body = server.afresh("GET", "/readyz").json()["model"]
    return str(model["version"])


def champion_of(home: Path) -> str:
    """The version that is written down as champion."""
    return str(json.loads((home / "models" / "aliases.json").read_text())["aliases"]["champion"])


@contextmanager
def clients(server: ServerProcess, ask: Callable[[httpx.Client], httpx.Response]) -> Iterator[list[httpx.Response]]:
    """As many clients as promised, asking without a pause; yields their answers, which are whole at the end."""
    answers: list[httpx.Response] = []
    done = threading.Event()

    def keep_asking() -> None:
        with httpx.Client(base_url=server.base_url, trust_env=False, timeout=PATIENCE_S) as client:
            while not done.is_set():
                answers.append(ask(client))

    with ThreadPoolExecutor(CLIENTS) as pool:
        running = [pool.submit(keep_asking) for _ in range(CLIENTS)]
        try:
            yield answers
        finally:
            done.set()
    for client in running:
        client.result()


def test_swaps_under_load_fail_nobody_and_mix_nothing(
    serve: Serve, home: Path, two_models: TwoModels, wav: bytes
) -> None:
    """40 promotions and rollbacks, 8 clients: only 200, and each answer is one version's, to the last digit."""
    server = serve(home)
    _, first, second = two_models
    expected = {}
    for version in (second, first):
        point(server, version).raise_for_status()
        expected[version] = judged(server.client, wav)
    assert expected[first]["message"] != expected[second]["message"]
    with clients(server, lambda client: client.post("/v1/predict", content=wav, headers=WAV_TYPE)) as answers:
        statuses = [point(server, ("previous", second, "previous", first)[i % 4]).status_code for i in range(SWAPS)]
    assert statuses == [200] * SWAPS
    assert Counter(answer.status_code for answer in answers) == {200: len(answers)}
    bodies = [answer.json() for answer in answers]
    assert all(body == expected[body["model"]["version"]] for body in bodies)
    assert {body["model"]["version"] for body in bodies} == {first, second}
    assert len(bodies) > SWAPS


def test_the_originals_answer_is_of_one_version_too(
    serve: Serve, home: Path, two_models: TwoModels, wav: bytes
) -> None:
    """/inference names no version, so its message and its probabilities must be a pair that one version gives."""
    server = serve(home)
    _, first, second = two_models
    pairs = []
    for version in (second, first):
        point(server, version).raise_for_status()
        pairs.append(server.client.post("/inference", files={"file": ("a.wav", wav)}).json())
    with clients(server, lambda client: client.post("/inference", files={"file": ("a.wav", wav)})) as answers:
        for _ in range(6):
            point(server, "previous").raise_for_status()
    assert all(answer.status_code == 200 for answer in answers)
    bodies = [answer.json() for answer in answers]
    assert all(body in pairs for body in bodies)
    assert all(pair in bodies for pair in pairs)


def test_a_batch_is_of_one_version(serve: Serve, home: Path, two_models: TwoModels, wav: bytes) -> None:
    """All files of one request are judged by one model, whatever happens meanwhile."""
    server = serve(home)
    parts = [("file", (f"{i}.wav", wav)) for i in range(2)]
    with clients(server, lambda client: client.post("/v1/predict/batch", files=parts)) as answers:
        for _ in range(6):
            point(server, "previous" if answering(server) == two_models[2] else two_models[2]).raise_for_status()
    versions = [{result["prediction"]["model"]["version"] for result in a.json()["results"]} for a in answers]
    assert all(len(version) == 1 for version in versions)
    assert set.union(*versions) == set(two_models[1:])


def slow_to_load(home: Path) -> str:
    """Add a version whose golden clip takes a good while to answer; returns its version."""
    registry = Registry(home)
    champion = registry.load_predictor("champion")
    clip = sounds.recording(sounds.fan(400.0, rate_hz=8_000), rate_hz=8_000)
    golden = GoldenClip(clip, champion.predict(champion.decode(clip)).worst.probabilities)
    content = replace(champion.model.bundle.content, golden_clip=golden)
    return bundles.add(registry, content, registry.path("champion") / bundle.KERAS, name="slow")


def test_a_slow_load_does_not_undo_a_later_promotion(serve: Serve, home: Path, two_models: TwoModels) -> None:
    """A model that is still being loaded when another is promoted does not go live after it."""
    slow, quick = slow_to_load(home), two_models[2]
    server = serve(home)
    with ThreadPoolExecutor(1) as pool:
        promoting = pool.submit(point, server, slow)
        wait_until(lambda: champion_of(home) == slow, every_s=0.001)
        point(server, quick).raise_for_status()
        promoting.result().raise_for_status()
    assert champion_of(home) == quick
    wait_until(lambda: answering(server) == quick)


def test_promotions_at_once_end_with_the_champion_answering(
    serve: Serve, home: Path, two_models: TwoModels, wav: bytes
) -> None:
    """When several people promote at the same time, the one who came last has their model live."""
    server = serve(home, poll_interval_s=0.05)
    with ThreadPoolExecutor(CLIENTS) as pool:
        for _ in range(8):
            versions = two_models[1:] * (CLIENTS // 2)
            assert [answer.status_code for answer in pool.map(lambda v: point(server, v), versions)] == [200] * CLIENTS
            champion = champion_of(home)
            wait_until(lambda champion=champion: answering(server) == champion)


def test_a_promotion_elsewhere_is_live_in_every_process(
    serve: Serve, home: Path, two_models: TwoModels, wav: bytes
) -> None:
    """Two API processes, 8 clients, promotions by the command line in a third: no failed request, and from some moment
    on, which is soon, none of the processes answers with the version before."""
    server = serve(home, processes=2, inference_threads=1)

    def ask(client: httpx.Client) -> httpx.Response:
        return client.post("/v1/predict", content=wav, headers={**WAV_TYPE, "connection": "close"})

    with clients(server, ask) as answers:
        for version in (two_models[2], two_models[1]):
            succeeds(home, "models", "promote", version)
            wait_until(lambda version=version: last_versions(answers, 100) == {version}, every_s=0.2)
            asked = len(answers)
            wait_until(lambda asked=asked: len(answers) > asked + 100)
            assert last_versions(answers, len(answers) - asked) == {version}
    assert Counter(answer.status_code for answer in answers) == {200: len(answers)}


def last_versions(answers: list[httpx.Response], count: int) -> set[str]:
    """The versions that gave the last so many answers."""
    return {answer.json()["model"]["version"] for answer in answers[-count:]}


def test_renamed_classes_are_live_in_every_process(serve: Serve, home: Path, two_models: TwoModels) -> None:
    """New names for classes, given to one process, are soon in the answers of the other."""
    server = serve(home, processes=2, inference_threads=1)
    names = {"classes": [{"name": f"n{i}", "message": f"Renamed {i}"} for i in range(4)]}
    assert server.client.patch("/v1/models/champion/labels", json=names).status_code == 200

    def revisions() -> set[int]:
        found = [server.afresh("GET", "/readyz").json() for _ in range(20)]
        return {ready["model"]["labels_revision"] for ready in found}

    wait_until(lambda: revisions() == {2})
