"""E-mail by SMTP with TLS: one message for each alert, with the clip attached if it is small enough."""

import re
import smtplib
import socket
import ssl
import threading
from contextlib import suppress
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from urllib.parse import unquote, urlsplit

from listener.alerts.alert_message import AlertMessage
from listener.alerts.sinks.alert_text import subject, text
from listener.alerts.sinks.sender import Sender
from listener.config.sink_types import EmailSink
from ml.errors import DeliveryFailed

PORT, TLS_PORT = 587, 465
TIMEOUT_S = 20.0
DEADLINE_S = 60.0  # for one message, with its attachment
MAX_ATTACHED_BYTES = 5 * 2**20
BASE64_GROWTH = 1.4
TOO_LARGE = 552
# Refusals that a person mends in the configuration or at the server: credentials, or TLS is demanded.
MENDABLE = frozenset({530, 534, 535, 538})


class EmailSender(Sender):
    """Sender of e-mail. Each message has its own connection.

    Args:
        sink: the sink.
        device_name: name of this device; empty without one.
    """

    def __init__(self, sink: EmailSink, device_name: str) -> None:
        self._sink, self._device_name = sink, device_name
        self._parts = urlsplit(sink.server)
        self._smtp: smtplib.SMTP | None = None
        self._taken: tuple[str, frozenset[str]] = ("", frozenset())  # id of a message, and the receivers that have it

    def deliver(self, message: AlertMessage) -> None:
        """Send a message. The server has acknowledged it when this returns."""
        timer = threading.Timer(DEADLINE_S, self.interrupt)
        timer.daemon = True
        timer.start()
        try:
            self._send(message)
        except ssl.SSLCertVerificationError as error:
            raise DeliveryFailed(
                f"The certificate of the mail server cannot be trusted: {error.verify_message}."
            ) from None
        except smtplib.SMTPException as error:
            raise _failure(error) from None
        except (OSError, ValueError) as error:  # ValueError: a name of a host that cannot be encoded
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise DeliveryFailed(f"The mail server cannot be reached: {reason}.") from None
        finally:
            timer.cancel()
            self._close()

    def interrupt(self) -> None:
        """Close the connection of a delivery."""
        current = self._smtp.sock if self._smtp is not None else None
        if current is not None:
            with suppress(OSError):
                current.shutdown(socket.SHUT_RDWR)

    def _send(self, message: AlertMessage) -> None:
        smtp = self._connect()
        self._log_in(smtp)
        clip = self._clip(message, smtp)
        known, taken = self._taken
        missing = [each for each in self._sink.to if known != message.id or each not in taken]
        try:
            refused = smtp.send_message(self._mail(message, clip), to_addrs=missing)
        except smtplib.SMTPDataError as error:
            if clip is None or error.smtp_code != TOO_LARGE:
                raise
            refused = smtp.send_message(self._mail(message, None), to_addrs=missing)
        if refused:  # a server that delays unknown senders takes it at the next attempt
            self._taken = message.id, frozenset(self._sink.to) - frozenset(refused)
            permanent = all(code >= 500 for code, _ in refused.values())
            count = f"{len(refused)} of {len(self._sink.to)} receivers"
            raise DeliveryFailed(f"The mail server refused {count}.", permanent)
        with suppress(smtplib.SMTPException, OSError):  # it has acknowledged the message
            smtp.quit()

    def _connect(self) -> smtplib.SMTP:
        host, context, name = self._parts.hostname or "", self._context(), socket.gethostname()
        is_secure = self._parts.scheme == "smtps"
        self._smtp = smtp = (
            smtplib.SMTP_SSL(local_hostname=name, timeout=TIMEOUT_S, context=context)
            if is_secure
            else smtplib.SMTP(local_hostname=name, timeout=TIMEOUT_S)
        )
        # Name of the certificate. A constructor that connects would set it, but the timer could not end that.
        smtp._host = host  # type: ignore[attr-defined]  # the library has no other way
        smtp.connect(host, self._parts.port or (TLS_PORT if is_secure else PORT))
        if not is_secure and not self._sink.without_tls:
            smtp.starttls(context=context)
        smtp.ehlo()
        return smtp

    def _log_in(self, smtp: smtplib.SMTP) -> None:
        if self._parts.username is None:
            return
        user, password = unquote(self._parts.username), unquote(self._parts.password or "")
        if not (user + password).isascii():  # the library cannot send them, and its error has the password
            raise DeliveryFailed("The user or the password of the mail server has letters that are not ASCII.")
        smtp.login(user, password)

    def _context(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self._sink.ca_file)
        except OSError as error:  # also of a file without certificates
            reason = error.strerror or "it has no certificate"
            raise DeliveryFailed(f"The ca_file of the sink {self._sink.name!r} cannot be read: {reason}.") from None

    def _clip(self, message: AlertMessage, smtp: smtplib.SMTP) -> bytes | None:
        """Return the clip, if it is to be attached and the server takes messages of this size."""
        if not self._sink.attach_clip or message.clip is None:
            return None
        limit = smtp.esmtp_features.get("size", "")
        most = int(limit) / BASE64_GROWTH if limit.isdigit() and int(limit) > 0 else MAX_ATTACHED_BYTES
        try:
            size = message.clip.stat().st_size
            return message.clip.read_bytes() if size <= min(most, MAX_ATTACHED_BYTES) else None
        except OSError:  # it was deleted to make room
            return None

    def _mail(self, message: AlertMessage, clip: bytes | None) -> EmailMessage:
        mail = EmailMessage(SMTP)
        mail["From"] = Address("signalml", addr_spec=self._sink.sender)
        mail["To"] = ", ".join(self._sink.to)
        mail["Subject"] = subject(message)
        mail["Date"] = format_datetime(datetime.now(UTC))
        mail["Message-ID"] = self._message_id(message.id)
        if message.event is not None:
            mail["References"] = self._message_id(message.event.id)  # mail programs show one event as one conversation
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(text(message, self._device_name))
        if clip is not None and message.event is not None:
            mail.add_attachment(clip, maintype="audio", subtype="flac", filename=f"{message.event.id}.flac")
        return mail

    def _message_id(self, name: str) -> str:
        """Return an id that is always the same for an alert: a message that comes twice is recognised."""
        domain = self._sink.sender.rpartition("@")[2]
        return f"<{_safe(name)}@{_safe(domain)}>"

    def _close(self) -> None:
        smtp, self._smtp = self._smtp, None
        if smtp is not None:
            smtp.close()


def _safe(part: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]", "-", part)


def _failure(error: smtplib.SMTPException) -> DeliveryFailed:
    """Return the failure with the server's code. Its text is left out: it can repeat what was sent."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = sorted({code for code, _ in error.recipients.values()})
        permanent = all(code >= 500 for code in codes)
        return DeliveryFailed(f"The mail server refused all receivers ({', '.join(map(str, codes))}).", permanent)
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return DeliveryFailed(f"The mail server refused the user or the password ({error.smtp_code}).")
    if isinstance(error, smtplib.SMTPResponseException):
        permanent = error.smtp_code >= 500 and error.smtp_code not in MENDABLE
        return DeliveryFailed(f"The mail server refused the message ({error.smtp_code}).", permanent)
    if isinstance(error, smtplib.SMTPServerDisconnected):
        return DeliveryFailed("The mail server closed the connection.")
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return DeliveryFailed("The mail server does not support what is needed: STARTTLS, or a login.")
    return DeliveryFailed(f"The mail server failed with {type(error).__name__}.")
