"""Routes of the features of a recording: what the model computes of it, for a picture."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.dependencies import CollectionDep, FeaturesUpload, RejectUnknownParameters, ServicesDep
from api.errors import AUDIO_ERRORS, BODY_ERRORS, FORM_ERRORS, V1_ERRORS, NoModel
from api.forms import FEATURES_FORM
from api.problems import error_responses
from api.routers.datasets import RECORDING_ERRORS, RecordingIdPath
from api.schemas.features import RecordingFeatures
from api.security import AuthFirstRoute
from api.services import Services
from api.serving import require_predictor
from api.sound_length import estimate_duration_s
from ml.models.sound_features import MOST_COLUMNS, compute_sound_features

FEATURES = "/v1/features"
router = APIRouter(tags=["features"], dependencies=[RejectUnknownParameters], route_class=AuthFirstRoute)
Columns = Annotated[int, Query(ge=1, le=MOST_COLUMNS, description="Largest number of columns in the answer.")]
# The same recording, model and number of columns give the same answer; a browser asks again only for a new model.
CACHE = {"Cache-Control": "private, no-cache"}


@router.post(
    FEATURES,
    summary="Show what the model computes of a recording",
    openapi_extra=FEATURES_FORM.openapi(),
    responses=error_responses(*V1_ERRORS, *BODY_ERRORS, *FORM_ERRORS, *AUDIO_ERRORS, NoModel),
)
async def features_of_upload(
    request: Request, form: FeaturesUpload, services: ServicesDep, columns: Columns = 500
) -> RecordingFeatures:
    """Show the mel spectrogram and the waveform of an uploaded recording. It is not judged, and nothing is recorded."""
    content = form.files[0].content
    return await _features(services, content, columns, request)


@router.get(
    "/v1/datasets/{name}/recordings/{recording}/features",
    summary="Show what the model computes of a recording of a dataset",
    responses=error_responses(*RECORDING_ERRORS, *AUDIO_ERRORS, NoModel),
)
async def features_of_recording(
    collection: CollectionDep,
    recording: RecordingIdPath,
    request: Request,
    response: Response,
    services: ServicesDep,
    columns: Columns = 500,
) -> RecordingFeatures:
    """Show the mel spectrogram and the waveform of a recording of a dataset.

    The answer has an `ETag`; with it as `If-None-Match`, the answer is 304 as long as the model is the same.
    """
    await asyncio.to_thread(collection.recording, recording)
    version = require_predictor(services.live_model).model.version
    tag = f'"{version}-{recording}-{columns}"'
    headers = CACHE | {"ETag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)  # type: ignore[return-value]  # a response without a body
    content = await asyncio.to_thread(lambda: collection.file(recording).read_bytes())
    response.headers.update(headers)
    return await _features(services, content, columns, request)


async def _features(
    services: Services, content: bytes | bytearray, columns: int, request: Request
) -> RecordingFeatures:
    predictor = require_predictor(services.live_model)

    def compute() -> RecordingFeatures:
        recording = predictor.decode(content, services.limits)
        return RecordingFeatures.of(predictor.model.version, compute_sound_features(predictor, recording, columns))

    return await services.executor.run(compute, estimate_duration_s(content, services.limits), request.receive)
