"""Whether a machine runs now: by hours, by the level of its sound, and by an MQTT topic.

All conditions of a schedule must hold. A topic should be retained: its state is not known before the first message, and
until then the machine counts as stopped, because a stopped machine sounds anomalous. While the broker is away, the last
known state holds.
"""

import threading
import time
from datetime import datetime
from typing import NamedTuple

from listener.config.hours import is_within
from listener.config.source_types import Schedule
from listener.mqtt_client import MqttConnection, MqttMessage, make_client_id

# A machine that ran is judged down to this distance below the level of the schedule, so that it does not start and stop
# with every small change.
HYSTERESIS_DB = 3.0
LONGEST_STATE = 100  # bytes of a payload that are read


class RunningSchedule:
    """Schedule of one source. Safe from any thread. Call :meth:`stop` after use.

    Args:
        schedule: its conditions; without any, the machine always runs.

    Attributes:
        reason: why the machine does not run, by the last answer; empty if it runs.

    Raises:
        MissingExtra: the schedule has a topic, and paho-mqtt is not installed.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.reason = ""
        self._schedule = schedule
        self._was_loud = False
        self._topic = _RunningTopic(schedule) if schedule.topic is not None else None

    def is_running(self, now: float, level_dbfs: float | None, lasting_s: float = 0.0) -> bool:
        """Return whether the machine runs.

        Args:
            now: seconds since 1970.
            level_dbfs: level of its sound, in dBFS; None if there is none.
            lasting_s: seconds for which it must have been running, such as the length of a clip.
        """
        self.reason = (
            self._reason_of_hours(now, lasting_s)
            or self._reason_of_level(level_dbfs)
            or (self._topic.reason(lasting_s) if self._topic is not None else "")
        )
        return not self.reason

    def stop(self) -> None:
        """End the connection to the broker."""
        if self._topic is not None:
            self._topic.stop()

    def _reason_of_hours(self, now: float, lasting_s: float) -> str:
        hours = self._schedule.hours
        if not hours or all(is_within(hours, datetime.fromtimestamp(at)) for at in (now, now - lasting_s)):
            return ""
        return f"it is outside the hours {', '.join(hours)}"

    def _reason_of_level(self, level_dbfs: float | None) -> str:
        least = self._schedule.min_level_dbfs
        if least is None:
            return ""
        used = least - HYSTERESIS_DB if self._was_loud else least
        self._was_loud = level_dbfs is not None and level_dbfs >= used
        if self._was_loud:
            return ""
        shown = "there is no sound" if level_dbfs is None else f"the level is {level_dbfs:.1f} dBFS"
        return f"{shown}; at least {used:g} dBFS was expected"


class _State(NamedTuple):
    """State that a topic states: whether the machine runs, the payload, and since when, in monotonic seconds."""

    running: bool
    payload: str
    since: float


class _RunningTopic:
    """State of a machine that an MQTT topic states."""

    def __init__(self, schedule: Schedule) -> None:
        self._name = str(schedule.topic)
        self._running = {each.strip().lower() for each in schedule.running}
        self._state: _State | None = None
        self._lock = threading.Lock()
        # A random id: this client keeps no session, and two clients with one id close each other's connections.
        self._connection = MqttConnection(
            str(schedule.broker), make_client_id(str(time.time_ns()), self._name), topics=(self._name,),
            on_message=self._read,
        ).start()  # fmt: skip

    def reason(self, lasting_s: float) -> str:
        """Return why the machine does not run; empty if it runs."""
        with self._lock:
            state = self._state
        if state is None:
            away = "" if self._connection.is_connected else f": {self._connection.cause}"
            return f"the topic {self._name!r} has not stated yet that it runs{away}"
        if not state.running:
            return f"the topic {self._name!r} states {state.payload!r}"
        ran_s = time.monotonic() - state.since
        return "" if ran_s >= lasting_s else f"it has been running for {ran_s:.1f} s; {lasting_s:g} s were expected"

    def stop(self) -> None:
        """End the connection."""
        self._connection.stop()

    def _read(self, message: MqttMessage) -> None:
        payload = message.payload[:LONGEST_STATE].decode("utf-8", "replace").strip()
        running = payload.lower() in self._running
        with self._lock:
            before = self._state
            if not payload:  # the broker's way to delete a retained message
                self._state = None
            elif before is None or before.running != running:
                # A retained state is older than this moment; how old is not known.
                since = float("-inf") if message.retained else time.monotonic()
                self._state = _State(running, payload, since)
            else:
                self._state = before._replace(payload=payload)
