"""Every setting of the service, from the environment or a ``.env`` file; each one's meaning stands under it.

A setting ``max_body_bytes`` is the variable ``SIGNALML_MAX_BODY_BYTES``.
"""

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from ml.errors import InvalidParameter
from ml.machines.alarms import DEFAULT_RULE, KOfNRule
from ml.machines.limits import MACHINES_KEPT

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
# prometheus_client looks at it when it is imported; then each process counts into files there, and answers for all.
METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
INTRODUCTION = """\
# Settings

From the environment or a `.env` file in the folder where `signalml` is started; the environment wins. A variable that
is set and empty counts as not set. This page is printed by `signalml settings`.

| variable | default | meaning |
| --- | --- | --- |
"""


class Settings(BaseSettings):
    """How one service is run. A variable that is set and empty counts as not set."""

    model_config = SettingsConfigDict(
        env_prefix="SIGNALML_",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
    )

    home: Path = Path("var")
    """Folder of models, datasets, jobs and API keys. Made when it is first written to."""
    host: str = "127.0.0.1"
    """Address to listen on. 0.0.0.0 answers other machines: then think of SIGNALML_REQUIRE_API_KEY."""
    port: int = Field(default=5000, ge=0, le=65535)
    """Port to listen on."""
    processes: int = Field(default_factory=lambda: min(CORES, 4), ge=1, le=64)
    """API processes, forked from one; by default one per core, at most 4. Each has about 45 MB of its own."""
    inference_threads: int = Field(
        default_factory=lambda given: max(1, CORES // given.get("processes", 1)), ge=1, le=256
    )
    """Recordings judged at once in one process; by default the cores divided among the processes."""
    inference_queue: int = Field(default=64, ge=0, le=4096)
    """Recordings that may wait for a thread; beyond it the answer is 503 with Retry-After, at once."""
    max_body_bytes: int = Field(default=32 * 2**20, ge=1024)
    """Largest request body, counted while it streams in. 32 MiB is 131 s of 8 channels at 16 kHz and 16 bits, or 104
    recordings of 10 s and one channel in a batch."""
    max_buffered_bytes: int = Field(default_factory=lambda given: 256 * 2**20 // given.get("processes", 1), ge=1024)
    """Request bodies held in memory at once, all together, in one process; beyond it the answer is 503. By default
    256 MiB divided among the processes."""
    max_batch_files: int = Field(default=64, ge=1, le=1000)
    """Files in one batch request."""
    max_duration_s: float = Field(default=600, gt=0.5)
    """Longest recording, in seconds."""
    header_timeout_s: float = Field(default=10, gt=0)
    """Seconds that a client has to send its request's headers; then the connection is closed."""
    body_timeout_s: float = Field(default=30, gt=0)
    """Seconds that a client has to send its request's body; then the answer is 408."""
    require_api_key: bool = False
    """Answer only clients with an API key (`signalml keys create`); health, metrics and documentation stay open."""
    redis_url: str | None = None
    """Redis-compatible server of the job queue, redis://[:password@]host:port/db. Without it there are no jobs, unless
    `signalml run` starts a server of its own; /readyz reports its state."""
    worker_processes: int = Field(default_factory=lambda: CORES, ge=1, le=256)
    """Recordings worked on at once by one `signalml worker`; a training is always one at a time."""
    worker_niceness: int = Field(default=19, ge=0, le=19)
    """How far workers give way to others on the same machine; 19 leaves each core to whoever answers uploads."""
    worker_alive_file: Path | None = None
    """A file that a worker touches every few seconds while it can reach its queue, for whoever restarts it."""
    jobs_kept_days: float = Field(default=30, gt=0)
    """Days that the record and the result of a job are kept after its end."""
    event_streams: int = Field(default=100, ge=0, le=10_000)
    """Clients that may watch jobs at once, in one process; beyond it the answer is 503."""
    poll_interval_s: float = Field(default=0.5, gt=0, le=2)
    """Seconds between two looks at which model is champion."""
    alarm_raise: int = DEFAULT_RULE.raise_at
    """Anomalous verdicts, of the last SIGNALML_ALARM_OF on a machine, that raise its alarm."""
    alarm_of: int = DEFAULT_RULE.n_verdicts
    """Verdicts on a machine that are looked at for its alarm, at most 100."""
    alarm_clear: int = DEFAULT_RULE.clear_at
    """Anomalous verdicts, of as many, at which the alarm of a machine clears: fewer than raise it."""
    machines_kept: int = Field(default=MACHINES_KEPT, ge=1, le=100_000)
    """Machines that are remembered; each takes up to 0.4 MB of disk. One that was silent longest makes room."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe line that is logged."""

    @field_validator("alarm_clear")
    @classmethod
    def _can_be_raised_and_cleared(cls, clear_at: int, info: ValidationInfo) -> int:
        """The three numbers of an alarm must fit each other; where one of the first two is no number, that is said."""
        if {"alarm_raise", "alarm_of"} <= info.data.keys():
            try:
                KOfNRule(info.data["alarm_raise"], info.data["alarm_of"], clear_at)
            except InvalidParameter as error:
                raise ValueError(str(error)) from error
        return clear_at

    @property
    def alarm_rule(self) -> KOfNRule:
        """When a machine is in alarm."""
        return KOfNRule(self.alarm_raise, self.alarm_of, self.alarm_clear)


def render_reference() -> str:
    """The page docs/settings.md: a table of all settings."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = "by the cores" if field.default_factory else field.default
        shown = "none" if default is None else str(default).lower() if isinstance(default, bool) else str(default)
        rows.append(f"| `SIGNALML_{name.upper()}` | {shown} | {' '.join((field.description or '').split())} |\n")
    return INTRODUCTION + "".join(rows)
