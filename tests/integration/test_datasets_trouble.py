"""Datasets that are large, written to by several servers, killed in the midst of it, or on a full disk."""

import threading
from pathlib import Path

import httpx

from ml.dataset.collection.store import Collection
from testing.servers import PATIENCE_S, Serve, ServerProcess, assert_problem, wait_until
from tests.disks import enlarge, small_disk
from tests.integration.recordings import HALL, RECORDINGS, Json, listed, put, put_one
from tests.unit.recordings import lengthened, sound


def test_ten_thousand_recordings_are_paged_fast(growing: ServerProcess) -> None:
    """After the first look at them a page is the work of milliseconds, and so is putting one more in."""
    put(growing, 1, label="normal")
    lengthened(growing.home / "datasets" / "hall-3", 10_000)
    assert growing.client.get(HALL).json()["recordings"] == 10_000
    before, seen, cursor = growing.worked_s(), 0, 0
    while cursor is not None:
        page = growing.client.get(RECORDINGS, params={"limit": 1000, "cursor": cursor}).json()
        seen, cursor = seen + len(page["recordings"]), page["next_cursor"]
    assert seen == 10_000
    assert growing.worked_s() - before < 5
    before = growing.worked_s()
    put_one(growing, 2)
    assert growing.worked_s() - before < 1


def test_two_servers_share_what_they_are_sent(tmp_path: Path, serve: Serve) -> None:
    """Of the same sounds sent to both at once, each is kept once, and both list the same."""
    servers = [serve(tmp_path / "home", wait_for="/livez") for _ in range(2)]
    results: list[Json] = []

    def send(server: ServerProcess) -> None:
        results.extend(put_one(server, seed, label="normal") for seed in range(12))

    threads = [threading.Thread(target=send, args=(server,)) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result["added"] for result in results) == [False] * 12 + [True] * 12
    lists = [listed(server) for server in servers]
    assert lists[0] == lists[1]
    assert len({recording["id"] for recording in lists[0]}) == len(lists[0]) == 12
    servers[0].client.delete(f"{RECORDINGS}/{lists[0][0]['id']}")
    assert listed(servers[1]) == lists[0][1:]


def test_what_was_acknowledged_outlives_a_kill(tmp_path: Path, serve: Serve) -> None:
    """kill -9 amid a stream of uploads: each that was answered is there with its labels, whole, and nothing half."""
    server = serve(tmp_path / "home", wait_for="/livez", processes=2)
    acknowledged: dict[str, tuple[int, str]] = {}

    def send(start: int) -> None:
        with httpx.Client(base_url=server.base_url, trust_env=False, timeout=PATIENCE_S) as client:
            for seed in range(start, start + 500):
                group = f"group-{seed}"
                form = {"label": "abnormal", "group": group}
                try:
                    answer = client.post(RECORDINGS, files={"file": ("a.wav", sound(seed))}, data=form)
                except httpx.TransportError:
                    return
                acknowledged[answer.json()["results"][0]["id"]] = (seed, group)

    threads = [threading.Thread(target=send, args=(start,)) for start in (0, 1000, 2000)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(acknowledged) > 30)
    for process in reversed(server.processes()):
        process.kill()
    server.kill()
    for thread in threads:
        thread.join()

    again = serve(tmp_path / "home", wait_for="/livez")
    found = {r["id"]: r for r in listed(again, limit=1000)}
    assert set(acknowledged) <= set(found)
    for recording, (seed, group) in acknowledged.items():
        assert (found[recording]["label"], found[recording]["group"]) == ("abnormal", group)
        assert again.client.get(f"{RECORDINGS}/{recording}/audio").content == sound(seed)
    put(again, 5000)
    hall = Collection(tmp_path / "home", "hall-3")
    kept = {file.name for file in (hall.folder / "recordings").iterdir()}
    assert kept == {Path(recording.path).name for recording in hall.recordings()}
    assert hall.damaged == 0


def test_a_full_disk_is_507_and_leaves_nothing_half(tmp_path: Path, serve: Serve) -> None:
    """A real one: what was there is, the rest is refused by name, and comes again once there is room."""
    with small_disk(tmp_path / "home", "512k") as home:
        server = serve(home, wait_for="/livez")
        kept = []
        for seed in range(200):
            answer = put(server, seed, label="normal")
            if answer.status_code != 201:
                break
            kept.append(answer.json()["results"][0]["id"])
        assert str(home) not in assert_problem(answer, 507, "storage_full")["detail"]
        assert 10 < len(kept) < 200
        assert [r["id"] for r in listed(server, limit=1000)] == kept
        assert len(list((home / "datasets" / "hall-3" / "recordings").iterdir())) == len(kept)
        assert_problem(put(server, 500, path="/v1/datasets/another/recordings"), 507, "storage_full")
        assert [d["name"] for d in server.client.get("/v1/datasets").json()["datasets"]] == ["hall-3"]
        assert server.client.delete(f"{RECORDINGS}/{kept[0]}").status_code in (204, 507)
        enlarge(home, "2m")
        assert put(server, 300).status_code == 201
        server.stop()
