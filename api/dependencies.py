"""What routes are handed: the live model, the executor, and uploads as bytes with a name."""

from typing import Annotated, NamedTuple

from fastapi import Depends, Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from api.errors import Busy, MalformedMultipart, MissingPart, TooManyParts, UnsupportedMediaType
from api.observing import Metrics, metrics_of
from api.serving import InferenceExecutor, LiveModel
from api.settings import Settings
from ml.audio import AudioLimits
from ml.registry import Registry

PART = "file"
MULTIPART = "multipart/form-data"
WAV_TYPES = ("audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave")
FLAC_TYPES = ("audio/flac", "audio/x-flac")
RAW_TYPES = (*WAV_TYPES, *FLAC_TYPES, "application/octet-stream")


class Upload(NamedTuple):
    """A file as a client sent it. The name is only ever echoed, never used as a path."""

    name: str
    content: bytes | bytearray


class _InMemoryParser(MultiPartParser):
    """Starlette's parser, without its temporary files: the body's size is bounded, and a disk can be full."""

    spool_max_size = 2**62


def settings_of(request: Request) -> Settings:
    """The settings of the application."""
    settings: Settings = request.app.state.settings
    return settings


def live_of(request: Request) -> LiveModel:
    """The live model of the application."""
    live: LiveModel = request.app.state.live
    return live


def executor_of(request: Request) -> InferenceExecutor:
    """The inference threads of the application."""
    executor: InferenceExecutor = request.app.state.executor
    return executor


def registry_of(request: Request) -> Registry:
    """The model registry of the application."""
    registry: Registry = request.app.state.registry
    return registry


def limits_of(request: Request) -> AudioLimits:
    """Bounds on one recording."""
    return AudioLimits(max_duration_s=settings_of(request).max_duration_s)


def place(request: Request) -> InferenceExecutor:
    """The executor, if it has a place now: refusing before the body is read spares both sides the upload.

    Raises:
        Busy
    """
    executor = executor_of(request)
    if executor.full:
        raise Busy("All places for inference are taken; try again in a moment.")
    return executor


async def multipart_upload(request: Request, _: Annotated[InferenceExecutor, Depends(place)]) -> Upload:
    """The one file of a multipart form.

    Raises:
        UnsupportedMediaType, MalformedMultipart, MissingPart, TooManyParts
    """
    with metrics_of(request).stage("receive"):
        return _only(await _parts(request, most=1))


async def any_upload(request: Request, _: Annotated[InferenceExecutor, Depends(place)]) -> Upload:
    """The one file of a multipart form, or the body itself.

    Raises:
        UnsupportedMediaType, MalformedMultipart, MissingPart, TooManyParts
    """
    with metrics_of(request).stage("receive"):
        kind = _media_type(request)
        if kind in RAW_TYPES:
            content = bytearray()
            async for chunk in request.stream():
                content += chunk
            return Upload("body", content)
        if kind != MULTIPART:
            raise UnsupportedMediaType(f"The body is of type {kind!r}; {MULTIPART} or one of {RAW_TYPES} was expected.")
        return _only(await _parts(request, most=1))


async def batch_upload(request: Request, _: Annotated[InferenceExecutor, Depends(place)]) -> list[Upload]:
    """All files of a multipart form.

    Raises:
        UnsupportedMediaType, MalformedMultipart, MissingPart, TooManyParts
    """
    with metrics_of(request).stage("receive"):
        return await _parts(request, most=settings_of(request).max_batch_files)


async def _parts(request: Request, most: int) -> list[Upload]:
    """The files called ``file``, at least one and at most ``most``; no other part may be there."""
    kind = _media_type(request)
    if kind != MULTIPART:
        raise UnsupportedMediaType(f"The body is of type {kind!r}; {MULTIPART} with a part {PART!r} was expected.")
    parser = _InMemoryParser(request.headers, request.stream(), max_files=most + 1, max_fields=16, max_part_size=65_536)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if error.message.startswith("Too many files"):
            raise _too_many(most) from error
        raise MalformedMultipart(f"The multipart form cannot be read: {error.message}") from error
    try:
        found = form.multi_items()
        files = [value for name, value in found if name == PART and isinstance(value, UploadFile)]
        if not files:
            others = sorted({name for name, _ in found})
            hint = f" {PART!r} came as text: send it with a file name." if PART in others else ""
            raise MissingPart(f"The form has the parts {others}; a file in a part called {PART!r} was expected.{hint}")
        if len(found) > most:
            raise _too_many(most)
        return [Upload(file.filename or "", await file.read()) for file in files]
    finally:
        await form.close()


def _only(uploads: list[Upload]) -> Upload:
    (upload,) = uploads
    return upload


def _too_many(most: int) -> TooManyParts:
    hint = "; POST /v1/predict/batch takes several" if most == 1 else ""
    return TooManyParts(f"The form has more than {most} part(s), and {most} is the most that is taken here{hint}.")


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


LiveModelDep = Annotated[LiveModel, Depends(live_of)]
ExecutorDep = Annotated[InferenceExecutor, Depends(executor_of)]
RegistryDep = Annotated[Registry, Depends(registry_of)]
LimitsDep = Annotated[AudioLimits, Depends(limits_of)]
MetricsDep = Annotated[Metrics, Depends(metrics_of)]
MultipartUpload = Annotated[Upload, Depends(multipart_upload)]
AnyUpload = Annotated[Upload, Depends(any_upload)]
BatchUpload = Annotated[list[Upload], Depends(batch_upload)]
