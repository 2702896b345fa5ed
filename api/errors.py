"""Errors of requests, and the table from error class to HTTP status."""

from collections.abc import Mapping

from ml import errors
from ml.errors import SignalMLError
from worker import jobs

INTRODUCTION = """\
# Errors

Every error answer is `application/problem+json` (RFC 9457):

- `code` is for programs. It never changes after a release.
- `detail` is a sentence for people: what was found and what was expected.
- `request_id` is in every log line of the request.

An answer with status 429 or 503 has the header `Retry-After`, in seconds.

**Unknown names.** A route under `/v1` refuses a query parameter or form part that it does not take
(`parameter_unknown`). `detail` lists the names that the route takes. `/inference` ignores unknown names, as the
original service does. A name that is given twice and is not a list is refused everywhere (`request_invalid`).

**Other codes.** These come from the web server and the framework: `http_malformed` (400, not an HTTP request),
`header_timeout` (408, headers too slow), `head_too_large` (431, headers too long), `connections_too_many` (429, one
client has too many connections), `route_not_found` (404), `method_not_allowed` (405), `request_refused` (other 4xx) and
`internal_error` (500, a bug in the service).

`signalml errors` prints this page.

| code | status | meaning |
| --- | --- | --- |
"""


class RequestError(SignalMLError):
    """The request cannot be answered because of its HTTP form, not because of its recording."""

    code = "request_refused"


class InvalidRequest(RequestError):
    """A parameter, a part of the form or the JSON body does not match the schema."""

    code = "request_invalid"


class UnknownParameter(RequestError):
    """The route does not take a query parameter or a form part of this name."""

    code = "parameter_unknown"


class BodyTooLarge(RequestError):
    """The body of the request is larger than the limit."""

    code = "body_too_large"


class BodyTimeout(RequestError):
    """The body of the request did not arrive in time."""

    code = "body_timeout"


class UnsupportedMediaType(RequestError):
    """The route does not take a body of this media type."""

    code = "media_type_unsupported"


class MalformedMultipart(RequestError):
    """The body is not a well-formed multipart form."""

    code = "multipart_malformed"


class MissingPart(RequestError):
    """The form has no part `file` with a file."""

    code = "part_missing"


class TooManyParts(RequestError):
    """The form has more files, or more other parts, than the route takes."""

    code = "part_too_many"


class UnsupportedContentEncoding(RequestError):
    """The body of the request is compressed; the service takes bodies as they are."""

    code = "content_encoding_unsupported"


class MalformedRange(RequestError):
    """The header `Range` is not a range of bytes."""

    code = "range_malformed"


class RangeNotSatisfiable(RequestError):
    """The header `Range` asks for bytes behind the end of the file."""

    code = "range_not_satisfiable"


class HostNotAllowed(RequestError):
    """The header `Host` has a name that this service does not have."""

    code = "host_not_allowed"


class OriginNotAllowed(RequestError):
    """A web page of another site asks for a change."""

    code = "origin_not_allowed"


class TooManyRequests(RequestError):
    """The API key or the client has sent too many requests within a minute."""

    code = "requests_too_many"


class MissingApiKey(RequestError):
    """The request has no API key, or an unknown one."""

    code = "api_key_missing"


class ApiKeyExpired(RequestError):
    """The API key has expired."""

    code = "api_key_expired"


class SessionEnded(RequestError):
    """The session of the browser has ended, or its API key was revoked or has expired: log in again."""

    code = "session_ended"


class MissingApiKeyScope(RequestError):
    """The API key does not have the scope that the route needs."""

    code = "api_key_scope_missing"


class OutOfBinding(RequestError):
    """The API key is bound to other machines or datasets."""

    code = "api_key_bound"


class NoModel(RequestError):
    """No model answers yet."""

    code = "no_model"


class Busy(RequestError):
    """The service is busy: all places for this work are taken."""

    code = "busy"


# Errors that many routes share, for their entries in the OpenAPI schema.
CLIENT_ERRORS = (HostNotAllowed, OriginNotAllowed, TooManyRequests)
KEY_ERRORS = (MissingApiKey, ApiKeyExpired, SessionEnded, MissingApiKeyScope, OutOfBinding, *CLIENT_ERRORS)
V1_ERRORS = (*KEY_ERRORS, UnknownParameter)
BODY_ERRORS = (BodyTooLarge, BodyTimeout, UnsupportedContentEncoding, InvalidRequest)
FORM_ERRORS = (UnsupportedMediaType, MalformedMultipart, MissingPart, TooManyParts, Busy)
AUDIO_ERRORS = (
    errors.EmptyAudio,
    errors.NotAudio,
    errors.UnsupportedCodec,
    errors.DecoderMissing,
    errors.DecoderFailed,
    errors.MalformedAudio,
    errors.TruncatedAudio,
    errors.UnsupportedSampleRate,
    errors.TooManyChannels,
    errors.ChannelNotFound,
    errors.RecordingTooLong,
    errors.RecordingTooShort,
    errors.UnpackedTooLarge,
    errors.NotFinite,
)

STATUS: Mapping[type[SignalMLError], int] = {
    SignalMLError: 500,
    errors.AudioError: 422,
    errors.NotAudio: 415,
    errors.UnsupportedCodec: 415,
    errors.DecoderMissing: 415,
    errors.RecordingTooLong: 413,
    errors.UnpackedTooLarge: 413,
    errors.ModelNotFound: 404,
    errors.ReportNotFound: 404,
    errors.AliasNotSet: 404,
    errors.InvalidClassLabels: 422,
    # The request is correct, but the stored model cannot be used: a conflict with the state of the server.
    errors.ModelError: 409,
    errors.DatasetError: 422,
    errors.DatasetNotFound: 404,
    errors.DatasetVersionNotFound: 404,
    errors.RecordingNotFound: 404,
    errors.DatasetExists: 409,
    errors.DatasetReadOnly: 409,
    errors.MachineError: 409,
    errors.MachineNotFound: 404,
    errors.MachinesUnavailable: 503,
    errors.ListenerError: 503,
    errors.InvalidListenerConfig: 422,
    errors.EntryExists: 409,
    errors.EntryNotFound: 404,
    errors.EventNotFound: 404,
    errors.EventConflict: 409,
    errors.ClipNotFound: 404,
    errors.DeliveryFailed: 502,
    errors.InvalidParameter: 422,
    errors.InvalidRecordingTime: 422,
    errors.IdempotencyConflict: 422,
    errors.StorageFull: 507,
    errors.DownloadError: 502,
    errors.Cancelled: 409,
    jobs.JobNotFound: 404,
    jobs.JobKindUnknown: 404,
    jobs.JobRefused: 409,
    jobs.QueueUnavailable: 503,
    jobs.QueueFull: 503,
    RequestError: 400,
    InvalidRequest: 422,
    UnknownParameter: 422,
    BodyTooLarge: 413,
    BodyTimeout: 408,
    UnsupportedMediaType: 415,
    UnsupportedContentEncoding: 415,
    RangeNotSatisfiable: 416,
    HostNotAllowed: 421,
    OriginNotAllowed: 403,
    TooManyRequests: 429,
    MissingPart: 422,
    TooManyParts: 422,
    MissingApiKey: 401,
    ApiKeyExpired: 401,
    SessionEnded: 401,
    MissingApiKeyScope: 403,
    OutOfBinding: 403,
    NoModel: 503,
    Busy: 503,
}


def render_reference() -> str:
    """Return the page docs/errors.md: every code, its status and its meaning."""
    kinds, found = [SignalMLError], []
    while kinds:
        kind = kinds.pop(0)
        found.append(kind)
        kinds = [*kind.__subclasses__(), *kinds]
    leaves = [kind for kind in found if not kind.__subclasses__() and status_of(kind) != 500]
    rows = [
        f"| `{kind.code}` | {status_of(kind)} | {' '.join((kind.__doc__ or '').split())} |\n"
        for kind in sorted(leaves, key=lambda kind: (status_of(kind), kind.code))
    ]
    return INTRODUCTION + "".join(rows)


def status_of(error: type[SignalMLError]) -> int:
    """Return the HTTP status of an error class: from its own entry, or that of its nearest ancestor."""
    return next(STATUS[kind] for kind in error.__mro__ if kind in STATUS)
