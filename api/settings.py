"""Settings of the service, from environment variables or a ``.env`` file.

The setting ``max_body_bytes`` is the variable ``SIGNALML_MAX_BODY_BYTES``. The docstring under each setting is its
meaning in docs/settings.md.
"""

import os
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, DotEnvSettingsSource, SettingsConfigDict

from listener.options import ListenerOptions
from ml.audio.limits import MAX_FILE_BYTES
from ml.dataset.annotations import TEXT_PATTERN
from ml.detectors.alarm_rule import DEFAULT_RULE, KOfNRule
from ml.errors import InvalidParameter
from ml.machines.limits import MACHINES_KEPT
from ml.models.signing import require_signatures
from ml.system.audit import configure_audit
from ml.system.validation import suggest

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
PREFIX, ENV_FILE = "SIGNALML_", ".env"
# Variables of this project that are no settings of the service: of docker-compose.yml, and of the tests.
OTHER_VARIABLES = ("SIGNALML_PUBLISH", "SIGNALML_REDIS_PASSWORD", "SIGNALML_TEST_DATA")
# prometheus_client reads this variable when it is imported. With it, each process counts into files of that folder, and
# every process reports the sum.
METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
INTRODUCTION = """\
# Settings

Settings are read from environment variables, and from a file `.env` in the folder where `signalml` is started. An
environment variable has priority over the file. An empty variable counts as not set. `signalml settings` prints this
page.

| variable | default | meaning |
| --- | --- | --- |
"""


class Settings(BaseSettings):
    """Settings of one service. An empty variable counts as not set."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=ENV_FILE,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
    )

    home: Path = Path("var")
    """Folder of models, datasets, features, jobs, records of machines and API keys. It is created when needed."""
    shared_home: bool = False
    """Whether other users may use the home, such as containers with another user id and the same group. The service
    then leaves all permissions, and its umask, as they are. By default, only its own user can read the home."""
    host: str = "127.0.0.1"
    """Address to listen on. With 0.0.0.0, other computers can connect; then consider SIGNALML_REQUIRE_API_KEY."""
    port: int = Field(default=5000, ge=0, le=65535)
    """Port to listen on."""
    allowed_hosts: str = ""
    """Further names under which clients reach the service, separated by commas: `hall.example.org`,
    `*.example.org`, or `*` for every name. IP addresses, `localhost`, the name of this computer and SIGNALML_HOST are
    always accepted. A web page of a listed name may change things; `*` lists no page."""
    trusted_proxies: str = ""
    """IP addresses and networks of proxies, separated by commas. Only their header `X-Forwarded-For` names the client,
    for the log and the limits for each client."""
    processes: int = Field(default_factory=lambda: min(CORES, 4), ge=1, le=64)
    """Number of API processes, 1 to 64, forked from one process. Default: one per core, at most 4. Each needs about
    45 MB of memory of its own."""
    inference_threads: int = Field(
        default_factory=lambda given: max(1, CORES // given.get("processes", 1)), ge=1, le=256
    )
    """Number of recordings that one process judges at the same time, 1 to 256. Default: number of cores divided by
    number of processes."""
    inference_queue: int = Field(default=64, ge=0, le=4096)
    """Number of recordings that may wait for a thread, in each process, 0 to 4096. If no place is free, the answer is
    503 with `Retry-After`, at once."""
    inference_queue_s: float = Field(default=6000, gt=0)
    """Largest total of the seconds of sound that wait or are judged, in each process. A recording is always accepted if
    there is no other. Above it, the answer is 503 with `Retry-After`, at once. The default is ten recordings of the
    greatest length, and some ten seconds of work."""
    max_wait_s: float = Field(default=20, gt=0)
    """Longest time in seconds that an upload waits for a thread. After that, the answer is 503 with `Retry-After`. An
    upload whose client disconnects while it waits is not judged."""
    max_body_bytes: int = Field(default=MAX_FILE_BYTES, ge=1024)
    """Largest request body, in bytes, counted while it arrives. 32 MiB is 131 s of 8 channels at 16 kHz and 16 bits,
    or 104 recordings of 10 s and one channel."""
    max_buffered_bytes: int = Field(default_factory=lambda given: 256 * 2**20 // given.get("processes", 1), ge=1024)
    """Largest total of the request bodies in memory, in bytes, for each process. Above it, the answer is 503. Default:
    256 MiB divided by number of processes."""
    max_batch_files: int = Field(default=64, ge=1, le=1000)
    """Largest number of files in one batch request, or in one upload to a dataset, 1 to 1000."""
    max_duration_s: float = Field(default=600, gt=0.5)
    """Longest accepted recording, in seconds."""
    header_timeout_s: float = Field(default=10, gt=0)
    """Seconds that a client has to send the headers of a request. After that, the answer is 408 and the connection is
    closed."""
    body_timeout_s: float = Field(default=30, gt=0)
    """Seconds that a client has to send the body of a request. After that, the answer is 408."""
    write_timeout_s: float = Field(default=30, gt=0)
    """Seconds within which a client must take 16 KiB of its answer, or the rest of it. After that, the connection is
    closed."""
    max_connections_per_client: int = Field(default=256, ge=0)
    """Largest number of open connections of one client address, in each process; 0 for no limit. Above it, the answer
    is 429. IPv6 addresses of one /64 network count as one. Clients on this computer and SIGNALML_TRUSTED_PROXIES have
    no limit."""
    max_requests_per_minute: int = Field(default=12_000, ge=0)
    """Largest number of requests of one client address within a minute, and also of one API key, in each process; 0
    for no limit. Above it, the answer is 429 with `Retry-After`. Clients on this computer have no limit, and `/livez`,
    `/readyz` and `/metrics` do not count."""
    require_api_key: bool = False
    """Answer only requests with an API key (`signalml keys create`). Health, metrics, documentation and the page at `/`
    need none."""
    session_hours: float = Field(default=12, gt=0, le=720)
    """Hours after which a browser must log in again with an API key, at most 720. Only used if keys are required."""
    redis_url: str | None = None
    """Address of the job queue, a Redis-compatible server: redis://[:password@]host:port/db. Without it there are no
    jobs, except with `signalml run`, which starts its own server. `/readyz` reports the state of the queue."""
    worker_processes: int = Field(default_factory=lambda: CORES, ge=1, le=256)
    """Number of recordings that one `signalml worker` processes at the same time, 1 to 256. Default: number of cores.
    Trainings always run one at a time."""
    worker_niceness: int = Field(default=19, ge=0, le=19)
    """Niceness of worker processes, 0 to 19. With 19, other processes, such as the API, have priority on each core."""
    worker_alive_file: Path | None = None
    """File that a worker touches every few seconds while it reaches its queue. A health check can test its age."""
    jobs_kept_days: float = Field(default=30, gt=0)
    """Days for which the record and the result of a job are kept after its end."""
    event_streams: int = Field(default=100, ge=0, le=10_000)
    """Number of clients that may watch jobs, events or sources at the same time, in each process, 0 to 10000. Above it,
    the answer is 503."""
    poll_interval_s: float = Field(default=0.5, gt=0, le=2)
    """Seconds between two checks for a new champion, new labels or a new threshold, at most 2."""
    alarm_raise: int = DEFAULT_RULE.raise_at
    """Number of anomalous verdicts that raises the alarm of a machine, among its last SIGNALML_ALARM_OF verdicts."""
    alarm_of: int = DEFAULT_RULE.n_verdicts
    """Number of latest verdicts on a machine that count for its alarm, at most 100."""
    alarm_clear: int = DEFAULT_RULE.clear_at
    """Largest number of anomalous verdicts, among the same ones, at which the alarm clears. It must be smaller than
    SIGNALML_ALARM_RAISE."""
    machines_kept: int = Field(default=MACHINES_KEPT, ge=1, le=100_000)
    """Largest number of machines with a record, 1 to 100000; each takes up to 1.2 MB of disk within 400 days. For a
    further machine, the one without a recording for the longest time is removed; machines in alarm are removed
    last. An API key without the scope admin removes only machines that it made: if there are none, its verdicts on
    new machines are answered, but not recorded."""
    machines_per_key: int | None = Field(default=None, ge=1, le=100_000)
    """Largest number of machines that one API key without the scope admin makes, 1 to 100000. For a further machine,
    one that the same key made is removed. Default: SIGNALML_MACHINES_KEPT."""
    listen_folders: str = ""
    """Further folders for sources that are named over HTTP, separated by commas: folders of recordings, and named
    pipes. They must lie in the home or in one of these. Sources of the command line and of `sources.toml` can be in any
    folder."""
    judge_threads: int = Field(default=1, ge=1, le=256)
    """Number of clips that a listener judges at the same time, 1 to 256."""
    device_name: str = Field(default="", max_length=64, pattern=TEXT_PATTERN)
    """Name of this device in events that its listener sends to another service. Default: name of the
    computer when its listener started first."""
    clip_before_s: float = Field(default=10, ge=0, le=60)
    """Seconds of sound before the beginning of an event that its clip holds, 0 to 60."""
    clip_longest_s: float = Field(default=60, ge=10, le=600)
    """Longest clip of an event, in seconds, 10 to 600."""
    clips_max_bytes: int = Field(default=2 * 2**30, ge=0)
    """Largest size of all clips of events, in bytes. Clips with a label or without a review are deleted last. With 0,
    no clips are kept."""
    clips_days: float = Field(default=90, gt=0)
    """Days for which clips of events are kept."""
    clips_min_free_bytes: int = Field(default=500 * 2**20, ge=0)
    """Space in bytes that clips of events leave free on the disk."""
    event_longest_s: float = Field(default=3600, ge=60)
    """Length in seconds at which an event ends, and another one continues it; at least 60."""
    events_days: float = Field(default=400, gt=0)
    """Days for which events are kept after their end."""
    listener_metrics_port: int | None = Field(default=None, ge=1, le=65535)
    """Port of the listener's Prometheus metrics, on 127.0.0.1. Without it there is none; `/metrics` of the API has the
    same figures."""
    require_signed_bundles: bool = False
    """Whether only models are imported, promoted and served that a trusted key has signed (`signalml keys signing`)."""
    audit_max_bytes: int = Field(default=10 * 2**20, ge=4096)
    """Largest size of one file of the audit log (`audit.jsonl` in the home), in bytes. A full file gets a number, and
    a new one begins."""
    audit_files: int = Field(default=10, ge=1, le=1000)
    """Number of full files of the audit log that are kept, 1 to 1000; the oldest is deleted."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest severity that is logged: debug, info, warning or error."""

    @field_validator("alarm_clear")
    @classmethod
    def _check_alarm_rule(cls, clear_at: int, info: ValidationInfo) -> int:
        """Check the three numbers of the alarm rule together, if the first two are numbers."""
        if {"alarm_raise", "alarm_of"} <= info.data.keys():
            try:
                KOfNRule(info.data["alarm_raise"], info.data["alarm_of"], clear_at)
            except InvalidParameter as error:
                raise ValueError(str(error)) from error
        return clear_at

    @field_validator("trusted_proxies")
    @classmethod
    def _check_proxies(cls, listed: str) -> str:
        for each in filter(None, map(str.strip, listed.split(","))):
            ip_network(each, strict=False)
        return listed

    def model_post_init(self, context: Any, /) -> None:
        """Apply the policy of signatures and the limits of the audit log to this process.

        Models are read in many places, and each process that changes something reads its settings first.
        """
        super().model_post_init(context)
        require_signatures(self.require_signed_bundles)
        configure_audit(self.audit_max_bytes, self.audit_files)

    @property
    def alarm_rule(self) -> KOfNRule:
        """Rule that raises and clears the alarm of a machine."""
        return KOfNRule(self.alarm_raise, self.alarm_of, self.alarm_clear)

    @property
    def listener_options(self) -> ListenerOptions:
        """Options of a listener of this home."""
        return ListenerOptions(
            home=self.home.absolute(),
            device_name=self.device_name,
            alarm_rule=self.alarm_rule,
            machines_kept=self.machines_kept,
            judge_threads=self.judge_threads,
            poll_interval_s=self.poll_interval_s,
            before_s=self.clip_before_s,
            longest_clip_s=self.clip_longest_s,
            longest_event_s=self.event_longest_s,
            clips_max_bytes=self.clips_max_bytes,
            clips_days=self.clips_days,
            clips_min_free_bytes=self.clips_min_free_bytes,
            events_days=self.events_days,
            metrics_port=self.listener_metrics_port,
        )

    @property
    def source_folders(self) -> tuple[Path, ...]:
        """Folders in which sources and certificates may lie that are named over HTTP; the home is the first."""
        return self.home, *(Path(each.strip()) for each in self.listen_folders.split(",") if each.strip())


def unknown_variables() -> dict[str, str]:
    """Return the variables ``SIGNALML_...`` of the environment and of ``.env`` that are no setting.

    Returns:
        A sentence for each, with the nearest setting.
    """
    known = [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]
    in_file = DotEnvSettingsSource(Settings).env_vars  # their names are in lower case
    found = {name.upper(): " in .env" for name in in_file} | dict.fromkeys(os.environ, "")
    return {
        name: f"{name}{place} is not a setting and has no effect.{suggest(name, known)} "
        "signalml settings  lists all settings."
        for name, place in sorted(found.items())
        if name.upper().startswith(PREFIX) and name.upper() not in (*known, *OTHER_VARIABLES)
    }


def render_reference() -> str:
    """Return the page docs/settings.md: a table of all settings."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = "depends on the cores" if field.default_factory else field.default
        shown = "none" if default in (None, "") else str(default).lower() if isinstance(default, bool) else str(default)
        rows.append(f"| `SIGNALML_{name.upper()}` | {shown} | {' '.join((field.description or '').split())} |\n")
    return INTRODUCTION + "".join(rows)
