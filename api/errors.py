"""What can be wrong with a request, and the one table from error class to HTTP status."""

from collections.abc import Mapping

from ml import errors
from ml.errors import SignalMLError
from worker import jobs

INTRODUCTION = """\
# Errors

Every error answer is `application/problem+json` (RFC 9457). `code` never changes once released and is meant for
programs; `detail` says in a sentence what was found and what was expected; `request_id` is in every log line about the
request. 503 comes with `Retry-After`. Beside the codes below, the framework's own refusals have `route_not_found`
(404), `method_not_allowed` (405) and `request_refused` (other 4xx), what is no HTTP at all
has `http_malformed` (400), slow headers have `header_timeout` (408),
endless ones `head_too_large` (431), and a fault of ours is `internal_error` (500).

Under `/v1` no name is passed over: a query parameter or a part of a form that a route does not take is
`parameter_unknown`, and `detail` says what it takes, and where the name belongs if it belongs elsewhere. `/inference`
passes over what it does not know, as the original service does. What is there twice, and is no list, is
`request_invalid` everywhere.

This page is printed by `signalml errors`.

| code | status | meaning |
| --- | --- | --- |
"""


class RequestError(SignalMLError):
    """A request that cannot be answered for reasons of HTTP rather than of sound."""

    code = "request_refused"


class InvalidRequest(RequestError):
    """A parameter or a JSON body that is not what the schema asks for."""

    code = "request_invalid"


class UnknownParameter(RequestError):
    """A query parameter, or a part of a form, of a name that this route does not take."""

    code = "parameter_unknown"


class BodyTooLarge(RequestError):
    """The request's body is larger than the limit."""

    code = "body_too_large"


class BodyTimeout(RequestError):
    """The request's body did not arrive in time."""

    code = "body_timeout"


class UnsupportedMediaType(RequestError):
    """The body is of a type that this route does not take."""

    code = "media_type_unsupported"


class MalformedMultipart(RequestError):
    """The body is no well-formed multipart form."""

    code = "multipart_malformed"


class MissingPart(RequestError):
    """The form has no file under the expected name."""

    code = "part_missing"


class TooManyParts(RequestError):
    """The form has more files than this route takes."""

    code = "part_too_many"


class MissingApiKey(RequestError):
    """No API key, or none that is known."""

    code = "api_key_missing"


class MissingApiKeyScope(RequestError):
    """An API key that may not do this."""

    code = "api_key_scope_missing"


class NoModel(RequestError):
    """No model answers yet."""

    code = "no_model"


class Busy(RequestError):
    """All places for work are taken."""

    code = "busy"


# What many routes can answer with, for their entries in the OpenAPI schema.
KEY_ERRORS = (MissingApiKey, MissingApiKeyScope)
V1_ERRORS = (*KEY_ERRORS, UnknownParameter)
BODY_ERRORS = (BodyTooLarge, BodyTimeout, InvalidRequest)
FORM_ERRORS = (UnsupportedMediaType, MalformedMultipart, MissingPart, TooManyParts, Busy)
AUDIO_ERRORS = (
    errors.EmptyAudio,
    errors.NotAudio,
    errors.UnsupportedCodec,
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
    errors.RecordingTooLong: 413,
    errors.UnpackedTooLarge: 413,
    errors.ModelNotFound: 404,
    errors.ReportNotFound: 404,
    errors.AliasNotSet: 404,
    errors.InvalidClassLabels: 422,
    # What is stored is not fit to serve, and the request was: the conflict is with the state of the server.
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
    errors.InvalidParameter: 422,
    errors.StorageFull: 507,
    errors.DownloadError: 502,
    errors.Cancelled: 409,
    jobs.JobNotFound: 404,
    jobs.JobKindUnknown: 404,
    jobs.JobRefused: 409,
    jobs.IdempotencyConflict: 422,
    jobs.QueueUnavailable: 503,
    jobs.QueueFull: 503,
    RequestError: 400,
    InvalidRequest: 422,
    UnknownParameter: 422,
    BodyTooLarge: 413,
    BodyTimeout: 408,
    UnsupportedMediaType: 415,
    MissingPart: 422,
    TooManyParts: 422,
    MissingApiKey: 401,
    MissingApiKeyScope: 403,
    NoModel: 503,
    Busy: 503,
}


def render_reference() -> str:
    """The page docs/errors.md: every code, its status and its meaning."""
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
    """The HTTP status of an error class: its own entry in the table, or that of its nearest ancestor."""
    return next(STATUS[kind] for kind in error.__mro__ if kind in STATUS)
