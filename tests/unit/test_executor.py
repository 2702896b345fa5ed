"""Uploads that wait for a thread: bounded by number, by seconds of sound and by time, and dropped with their client."""

import asyncio
import io
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
import soundfile
from starlette.requests import ClientDisconnect

from api.errors import Busy
from api.executor import InferenceExecutor
from api.sound_length import estimate_duration_s
from tests import sounds

LONG_S = 30.0


class Work:
    """Work that can be found in memory."""

    def __init__(self, work: Callable[[], object] = lambda: "done") -> None:
        self._work = work

    def __call__(self) -> object:
        return self._work()


async def connected() -> Mapping[str, Any]:
    """Behave as a client that waits."""
    await asyncio.sleep(LONG_S)
    raise AssertionError


async def gone() -> Mapping[str, Any]:
    """Behave as a client that disconnects soon."""
    await asyncio.sleep(0.01)
    return {"type": "http.disconnect"}


@asynccontextmanager
async def busy(sound_s: float = 1.0, **limits: float) -> AsyncIterator[tuple[InferenceExecutor, threading.Event]]:
    """Yield an executor whose one thread is busy until the event is set."""
    given = {"queue": 8, "max_sound_s": 1000.0, "max_wait_s": LONG_S} | limits
    executor, free = InferenceExecutor(1, **given), threading.Event()
    executor.start()
    running = asyncio.create_task(executor.run(free.wait, sound_s))
    await asyncio.sleep(0)
    try:
        yield executor, free
    finally:
        free.set()
        await running
        executor.close()


def test_work_of_a_client_that_has_gone_is_dropped() -> None:
    """It is not run, its place and its recording are free at once, and the next one is run."""

    async def check() -> None:
        ran: list[str] = []
        async with busy(queue=1) as (executor, free):
            work = Work(lambda: ran.append("dropped"))
            kept = weakref.ref(work)
            with pytest.raises(ClientDisconnect):
                await executor.run(work, 1.0, gone)
            del work
            await asyncio.sleep(0)
            assert kept() is None
            waiting = asyncio.create_task(executor.run(lambda: ran.append("run"), 1.0, connected))
            await asyncio.sleep(0.01)
            free.set()
            await waiting
        assert ran == ["run"]

    asyncio.run(check())


def test_work_that_has_begun_is_ended_although_its_client_has_gone() -> None:
    """A thread cannot be stopped; the place is free when it has finished."""

    async def check() -> None:
        async with busy() as (executor, free):
            begun = threading.Event()
            waiting = asyncio.create_task(executor.run(lambda: (begun.set(), "done"), 1.0, connected))
            await asyncio.sleep(0.01)
            free.set()
            assert await waiting == (None, "done")
            assert begun.is_set()

    asyncio.run(check())


def test_the_wait_is_bounded() -> None:
    """An upload that no thread takes in time is refused; one that was admitted as a part of a batch waits."""

    async def check() -> None:
        async with busy(max_wait_s=0.05) as (executor, free):
            with pytest.raises(Busy, match="No thread was free for"):
                await executor.run(Work(), 1.0, connected)
            admitted = asyncio.create_task(executor.run(Work(), 1.0, connected, admitted=True))
            await asyncio.sleep(0.2)
            free.set()
            assert await admitted == "done"

    asyncio.run(check())


def test_seconds_of_sound_are_admitted() -> None:
    """A short one is accepted where a long one is not; one alone is always accepted; ended ones do not count."""

    async def check() -> None:
        async with busy(sound_s=600.0, max_sound_s=900.0) as (executor, free):
            with pytest.raises(Busy, match=r"600 s .* at most 900 s"):
                await executor.run(Work(), 301.0, connected)
            short = asyncio.create_task(executor.run(Work(), 300.0, connected))
            await asyncio.sleep(0)
            with pytest.raises(Busy):
                executor.refuse_if_full(1.0)
            free.set()
            assert await short == "done"
            await asyncio.sleep(0.01)
            assert await executor.run(Work(), 5000.0, connected) == "done"

    asyncio.run(check())


def test_the_number_of_waiting_uploads_is_bounded() -> None:
    """As many as there are places, however short."""

    async def check() -> None:
        async with busy(queue=0) as (executor, _):
            with pytest.raises(Busy, match="All places"):
                await executor.run(Work(), 0.5, connected)

    asyncio.run(check())


def test_the_length_of_an_upload_is_read_from_its_header() -> None:
    """By its header, also that of AIFF and Wave64; coded files by their size, up to the limit; 0 for a refused one."""
    samples = sounds.noise(8_000)
    assert estimate_duration_s(sounds.recording(samples)) == 0.5
    assert estimate_duration_s(sounds.flac(samples)) == 0.5
    for kind in ("AIFF", "W64"):
        soundfile.write(file := io.BytesIO(), samples, 16_000, format=kind)
        assert estimate_duration_s(file.getvalue()) == 0.5
    without_length = bytearray(sounds.flac(samples))
    without_length[21] &= 0xF0
    without_length[22:26] = bytes(4)
    assert estimate_duration_s(without_length) > 0.5
    assert estimate_duration_s(b"ID3" + bytes(19_997)) == 10.0
    assert estimate_duration_s(b"OggS" + bytes(20_000_000)) == 600.0
    too_long = sounds.recording(np.zeros((601 * 4_000, 1)), rate_hz=4_000)
    for refused in (b"RIFF", b"", b"text " * 1000, sounds.recording(samples[:100]), too_long):
        assert estimate_duration_s(refused) == 0.0


@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_an_upload_whose_header_states_a_rate_of_zero_has_no_length(kind: str) -> None:
    """Its length was a division by zero, answered with 500."""
    data = bytearray(sounds.recording(sounds.noise(8_000)) if kind == "wav" else sounds.flac(sounds.noise(8_000)))
    if kind == "wav":
        data[24:28] = bytes(4)
    else:
        data[18:20], data[20] = bytes(2), data[20] & 0x0F  # 20 bits after the sizes of STREAMINFO
    assert estimate_duration_s(data) == 0.0
