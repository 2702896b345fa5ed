"""One thread that delivers the alerts of one sink."""

import logging
import random
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from listener.alerts.alert_message import AlertMessage
from listener.alerts.outbox import DIGEST, Alert
from listener.alerts.sink_queue import SinkQueue
from listener.alerts.sinks.makers import SenderContext, make_sender
from listener.alerts.sinks.sender import Sender, hide_secrets
from listener.config.sink_types import Sink
from listener.events.event import new_event_id
from listener.events.event_time import to_time
from listener.status import SinkStatus, SourceStatus
from ml.errors import DeliveryFailed, SignalMLError
from ml.system.clock import timestamp

logger = logging.getLogger("signalml.alerts")
POLL_S, FRESH_POLL_S = 0.5, 0.03
# An alert is routed just before its transaction ends: for this time, the outbox is looked at more often.
FRESH_S = 1.0
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 1.0, 60.0
# Attempts before an old alert is given up: after days without power, the first attempt can come before the network.
LEAST_ATTEMPTS = 8
TEST_WAIT_S = 60.0
HOUR_S = 3600.0


class SinkWorker:
    """Delivery of one sink. Its methods may be called by any thread, and return at once, except :meth:`test`.

    Args:
        sink: the sink.
        context: what senders need.
        clips_folder: folder of the clips of events.
        after: worker of an earlier sink of this name, which has to end first; None without one.
    """

    def __init__(
        self, sink: Sink, context: SenderContext, clips_folder: Path, after: "SinkWorker | None" = None
    ) -> None:
        self._sink = self._wanted = sink
        self._context, self._clips_folder, self._after = context, clips_folder, after
        self._outbox = context.outbox
        self._queue = SinkQueue(context.outbox, context.store, sink.name)
        self._sender: Sender | None = None
        self._using = threading.Lock()  # of the sender
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._removed = self._returned = False
        self._states: Sequence[SourceStatus] | None = None
        self._undeleted: Alert | None = None
        self._failures, self._resume_at, self._fresh_until = 0, 0.0, 0.0
        self._status = SinkStatus(sink.name, sink.kind)
        self._thread = threading.Thread(target=self._run, name=f"sink-{sink.name}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def sink(self) -> Sink:
        """The sink, as it is wanted now."""
        return self._wanted

    def change(self, sink: Sink) -> None:
        """Use other values of the sink."""
        if _connection(sink) != _connection(self._wanted):
            self._interrupt()
        self._wanted = sink
        self._wake.set()

    def wake(self) -> None:
        """Look for new alerts at once."""
        self._fresh_until = time.monotonic() + FRESH_S
        self._wake.set()

    def resume(self) -> None:
        """End the pause after failures: the receiver is back."""
        self._returned = True
        self.wake()

    def publish_states(self, statuses: Sequence[SourceStatus]) -> None:
        """Send the states of the sources soon."""
        self._states = statuses

    def status(self) -> SinkStatus:
        """Return its state, without the numbers of waiting and dead alerts."""
        return self._status

    def test(self) -> None:
        """Send a test alert now, in this thread.

        Raises:
            DeliveryFailed, MissingExtra: it was not acknowledged; the message states why, without secrets.
        """
        deadline = time.monotonic() + TEST_WAIT_S
        while self._wanted is not self._sink and time.monotonic() < deadline:
            time.sleep(FRESH_POLL_S)  # the test is of the values as they are now
        if not self._using.acquire(timeout=max(deadline - time.monotonic(), 0.0)):
            raise DeliveryFailed(f"The sink {self._sink.name!r} is busy with an alert.")
        sink = self._sink
        try:
            self._current_sender().deliver(AlertMessage(f"test-{new_event_id()}", "test", timestamp()))
        except SignalMLError as error:
            raise self._without_secrets(error, sink) from None
        except Exception as error:  # noqa: BLE001 - whatever a library raises may hold a secret, and is logged without
            self._log_bug(error, sink)
            raise DeliveryFailed(f"The test failed with {type(error).__name__}; the log has more.") from None
        finally:
            self._using.release()
        self._status.last_error = None
        self.resume()

    def stop(self, removed: bool = False) -> None:
        """Let the thread end; :meth:`join` waits for it."""
        self._removed = removed
        self._stopping.set()
        self._interrupt()
        self._wake.set()

    def join(self, within_s: float) -> bool:
        """Wait for the end of the thread; returns whether it has ended."""
        self._thread.join(max(within_s, 0.0))
        return not self._thread.is_alive()

    def _run(self) -> None:
        if self._after is not None:
            self._after.join(TEST_WAIT_S)
            self._after = None
        while not self._stopping.is_set():
            self._wake.clear()
            pause_s = self._step()
            if not self._stopping.is_set():
                self._wake.wait(pause_s)
        self._close(self._removed)

    def _step(self) -> float:
        """Do what is due; returns the seconds to wait."""
        try:
            self._take_changes()
            self._tick()
            return self._deliver_next()
        except SignalMLError as error:  # of the events' file, or of a package that is not installed
            self._note_error(hide_secrets(str(error), self._sink))
        except Exception as error:  # noqa: BLE001 - an unexpected error must not end all alerts of the sink
            self._log_bug(error, self._sink)
            self._note_error(f"The delivery failed with {type(error).__name__}.")
        return self._back_off(None)

    def _take_changes(self) -> None:
        wanted = self._wanted
        if wanted is not self._sink:
            if _connection(wanted) != _connection(self._sink):
                self._close(removed=True)
            self._sink = wanted
            self._queue.rules_changed()
            self.resume()

    def _current_sender(self) -> Sender:
        if self._sender is None:
            self._sender = make_sender(self._sink, self._context, self.resume)
            self._sender.start()
        return self._sender

    def _tick(self) -> None:
        statuses, self._states = self._states, None
        with self._using:
            sender = self._current_sender()
            if statuses is not None:
                sender.publish_states(statuses)
            sender.tick()

    def _deliver_next(self) -> float:
        if self._returned:
            self._returned, self._failures, self._resume_at = False, 0, 0.0
            self._outbox.retry_now(self._sink.name)
        left_s = self._resume_at - time.monotonic()
        if left_s > 0:
            return min(left_s, POLL_S)
        self._delete_delivered()
        alert = self._queue.next_alert(self._sink)
        if alert is not None:
            return self._attempt(alert)
        return FRESH_POLL_S if time.monotonic() < self._fresh_until else POLL_S

    def _attempt(self, alert: Alert) -> float:
        try:
            with self._using:
                self._current_sender().deliver(self._message(alert))
        except DeliveryFailed as error:
            return 0.0 if self._stopping.is_set() else self._failed(alert, error)
        self._failures = 0
        self._status.delivered += 1
        self._status.last_delivered_at, self._status.last_error = timestamp(), None
        self._undeleted = alert
        self._delete_delivered()
        return 0.0

    def _delete_delivered(self) -> None:
        """Delete the alert that was delivered. On a full disk this is repeated, and the alert is not sent again."""
        if self._undeleted is not None:
            self._queue.sent(self._sink, self._undeleted)
            self._undeleted = None

    def _failed(self, alert: Alert, error: DeliveryFailed) -> float:
        text, attempts = hide_secrets(str(error), self._sink), alert.attempts + 1
        self._note_error(text)
        if error.permanent:
            logger.error("an alert was refused for good", extra={"facts": {"sink": alert.sink, "alert": alert.id}})
            self._outbox.give_up(alert, text)
            return 0.0
        pause_s = self._back_off(error.retry_after_s)
        oldest = time.time() - self._sink.rules.give_up_h * HOUR_S
        if attempts >= LEAST_ATTEMPTS and alert.created < oldest:
            self._outbox.give_up(alert, text)
        else:
            self._outbox.failed(alert, text, time.time() + backoff_s(attempts))
        if self._failures >= LEAST_ATTEMPTS:
            self._outbox.give_up_old(alert.sink, oldest, text)
        return pause_s

    def _back_off(self, retry_after_s: float | None) -> float:
        self._failures += 1
        pause_s = max(backoff_s(self._failures), retry_after_s or 0.0)
        self._resume_at = time.monotonic() + pause_s
        return min(pause_s, POLL_S)

    def _message(self, alert: Alert) -> AlertMessage:
        if alert.change == DIGEST:
            return AlertMessage(alert.id, "events.digest", to_time(alert.created), digest=alert.digest)
        current = self._queue.current_event(alert)
        clip = current.clip
        return AlertMessage(
            alert.id,
            f"event.{alert.change}",
            to_time(alert.created),
            event=alert.event,
            current=current,
            clip=None if clip is None else self._file(clip.file),
            spectrogram=None if clip is None or clip.spectrogram is None else self._file(clip.spectrogram),
        )

    def _file(self, name: str) -> Path | None:
        file = self._clips_folder / Path(name).name
        return file if file.is_file() else None

    def _note_error(self, text: str) -> None:
        if text != self._status.last_error:
            logger.warning("%s", text, extra={"facts": {"sink": self._sink.name}})
        self._status.last_error = text

    def _without_secrets(self, error: SignalMLError, sink: Sink) -> SignalMLError:
        text = hide_secrets(str(error), sink)
        self._status.last_error = text
        return DeliveryFailed(text) if isinstance(error, DeliveryFailed) else error

    def _log_bug(self, error: Exception, sink: Sink) -> None:
        shown = hide_secrets("".join(traceback.format_exception(error)), sink)
        logger.error("unexpected error in a sink: %s", shown, extra={"facts": {"sink": sink.name}})

    def _interrupt(self) -> None:
        sender = self._sender
        if sender is not None:
            sender.interrupt()

    def _close(self, removed: bool) -> None:
        sender, self._sender = self._sender, None
        if sender is not None:
            try:
                sender.stop(removed)
            except SignalMLError as error:
                self._note_error(hide_secrets(str(error), self._sink))
            except Exception as error:  # noqa: BLE001 - the end of a sink must not fail with a secret in a traceback
                self._log_bug(error, self._sink)


def backoff_s(failures: int) -> float:
    """Return the pause after a number of failures, in seconds: doubled each time, bounded, random in its upper half."""
    longest = min(FIRST_BACKOFF_S * 2 ** min(failures - 1, 30), LONGEST_BACKOFF_S)
    return random.uniform(longest / 2, longest)  # noqa: S311 - no secret


def _connection(sink: Sink) -> dict[str, object]:
    """Return the values of a sink with which a sender is made."""
    return {name: value for name, value in sink if name not in {"rules", "muted_until"}}
