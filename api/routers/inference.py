"""Routes that judge uploaded recordings. They do not use Redis."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Query, Request, Response
from starlette.requests import ClientDisconnect

from api.dependencies import (
    AnyUpload,
    BatchUpload,
    OriginalUpload,
    RejectRepeatedParameters,
    RejectUnknownParameters,
    ServicesDep,
)
from api.errors import AUDIO_ERRORS, BODY_ERRORS, FORM_ERRORS, KEY_ERRORS, NoModel, UnknownParameter
from api.forms import BATCH_FORM, ONE_FILE_FORM, ORIGINAL_FORM
from api.idempotency_keys import idempotency_header
from api.one_request import REPLAYED
from api.problems import error_responses, problem_of_error
from api.schemas.predictions import AnomalyResponse, BatchItem, BatchResponse, PredictResponse
from api.security import AuthFirstRoute, check_machine_binding
from api.services import Services
from api.serving import require_predictor
from api.sound_length import estimate_duration_s
from api.upload_request import UploadRequest
from api.uploads import Upload
from ml.errors import IdempotencyConflict, InvalidRecordingTime, SignalMLError
from ml.machines.observation import MACHINE_ID_PATTERN, MAX_MACHINE_ID, MachineNames, Observation, RecordEntry
from ml.models.explanations import OcclusionBand, occlusion_bands
from ml.models.predictor import Predictor
from ml.models.verdict import Verdict

router = APIRouter(tags=["inference"], route_class=AuthFirstRoute)
INFERENCE, PREDICT, BATCH = "/inference", "/v1/predict", "/v1/predict/batch"
UPLOAD_PATHS = frozenset({INFERENCE, PREDICT, BATCH})

UPLOAD_ERRORS = (*KEY_ERRORS, *BODY_ERRORS, *FORM_ERRORS, NoModel, InvalidRecordingTime, IdempotencyConflict)
MachineIdQuery = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=MAX_MACHINE_ID,
        pattern=MACHINE_ID_PATTERN,
        description="Machine that was recorded. A detector that knows this machine compares the recording with it. "
        "The verdict is added to the record of the machine: see `/v1/machines`. A part `machine_id` of a multipart "
        "form does the same.",
    ),
]
RECORDED_AT_TEXT = (
    "Time of the recording, ISO 8601 with a time of day; without a time zone it is UTC. The record of the machine is "
    "in the order of these times, so that a late recording lands where it belongs. Without it, the time is taken from "
    "the file (bext or ICRD of a WAV file, a comment of a FLAC file) or from its name; otherwise it is the time of the "
    "answer."
)
RecordedAtQuery = Annotated[str | None, Query(description=RECORDED_AT_TEXT, json_schema_extra={"format": "date-time"})]
RecordedAtsQuery = Annotated[
    list[str] | None,
    Query(description=f"{RECORDED_AT_TEXT} Given once for each file, in their order; an empty one is not known."),
]
UploadKey = Annotated[
    str | None,
    idempotency_header(
        "For a day, the same upload with the same key counts once for its machine; another upload with this key is "
        f"refused. Uploads that counted before are answered as usual, with the header `{REPLAYED}: true`."
    ),
]


@router.post(
    INFERENCE,
    summary="Judge a recording, in the format of the original service",
    openapi_extra=ORIGINAL_FORM.openapi(),
    dependencies=[RejectRepeatedParameters],
    responses=error_responses(*UPLOAD_ERRORS, *AUDIO_ERRORS),
)
async def inference(
    request: Request,
    form: OriginalUpload,
    services: ServicesDep,
    response: Response,
    machine_id: MachineIdQuery = None,
    recorded_at: RecordedAtQuery = None,
    idempotency_key: UploadKey = None,
) -> AnomalyResponse:
    """Judge the part `file` of a multipart form.

    The answer has the keys and types of the original service.
    """
    uploaded = UploadRequest.of(form, machine_id, recorded_at, idempotency_key)
    predictor = require_predictor(services.live_model)
    task = _PredictionTask(services, predictor, uploaded, _recorded_machine(request, predictor, uploaded))
    judged = await services.executor.run(task, task.sound_s, request.receive)
    _mark_repeat(response, [judged])
    return AnomalyResponse.of(judged.verdict)


@router.post(
    PREDICT,
    summary="Judge a recording",
    openapi_extra=ONE_FILE_FORM.openapi(),
    dependencies=[RejectUnknownParameters],
    responses=error_responses(*UPLOAD_ERRORS, UnknownParameter, *AUDIO_ERRORS),
)
async def predict(
    request: Request,
    form: AnyUpload,
    services: ServicesDep,
    response: Response,
    machine_id: MachineIdQuery = None,
    recorded_at: RecordedAtQuery = None,
    explain: Annotated[
        bool, Query(description="Add explanations: frequency bands and, from a detector, similar normal recordings.")
    ] = False,
    idempotency_key: UploadKey = None,
) -> PredictResponse:
    """Judge a recording: the part `file` of a multipart form or, faster, the body itself."""
    uploaded = UploadRequest.of(form, machine_id, recorded_at, idempotency_key)
    predictor = require_predictor(services.live_model)
    machine = _recorded_machine(request, predictor, uploaded)
    task = _PredictionTask(services, predictor, uploaded, machine, explain=explain)
    judged = await services.executor.run(task, task.sound_s, request.receive)
    _mark_repeat(response, [judged])
    return PredictResponse.of(*judged)


@router.post(
    BATCH,
    summary="Judge several recordings",
    openapi_extra=BATCH_FORM.openapi(),
    dependencies=[RejectUnknownParameters],
    responses=error_responses(*UPLOAD_ERRORS, UnknownParameter),
)
async def predict_batch(
    request: Request,
    form: BatchUpload,
    services: ServicesDep,
    response: Response,
    machine_id: MachineIdQuery = None,
    recorded_at: RecordedAtsQuery = None,
    idempotency_key: UploadKey = None,
) -> BatchResponse:
    """Judge several parts `file`. Each has a verdict or an error; an error does not affect other files.

    The files are judged one after another, so that single uploads are answered in between. `machine_id` applies to all
    files. Files that are equal to the byte count once for the machine.
    """
    predictor = require_predictor(services.live_model)
    uploaded = UploadRequest.of(form, machine_id, recorded_at, idempotency_key)
    machine = _recorded_machine(request, predictor, uploaded)
    if idempotency_key is not None:
        await services.executor.run(partial(_require_same_request, services, uploaded))
    found: list[Judged | SignalMLError] = []
    for number in range(len(form.files)):
        task = _PredictionTask(services, predictor, uploaded, machine, number)
        judge = partial(_judged_or_error, task)
        admitted = bool(found) or idempotency_key is not None
        found.append(await services.executor.run(judge, task.sound_s, request.receive, admitted=admitted))
        if await request.is_disconnected():
            raise ClientDisconnect
    judged = [each for each in found if not isinstance(each, SignalMLError)]
    _mark_repeat(response, judged)
    home = services.settings.home
    return BatchResponse(results=[_batch_item(*each, home) for each in zip(form.files, found, strict=True)])


class Judged(NamedTuple):
    """Verdict on one upload, explanations if they were requested, and its place in the record of the machine."""

    verdict: Verdict
    bands: tuple[OcclusionBand, ...] | None
    entry: RecordEntry | None


class _RecordedMachine(NamedTuple):
    """Machine whose record gets the verdict.

    Attributes:
        names: names of its record.
        made_by: name of the API key, which cannot displace machines of others; None without this limit.
    """

    names: MachineNames
    made_by: str | None


def _recorded_machine(request: Request, predictor: Predictor, uploaded: UploadRequest) -> _RecordedMachine | None:
    """Return the machine that was recorded; None without one.

    Raises:
        OutOfBinding: the API key is bound to other machines.
    """
    if uploaded.machine_id is None:
        return None
    names, key = MachineNames.resolve(uploaded.machine_id, predictor.resolve_machine), request.state.key
    check_machine_binding(request, names.machine_id)
    return _RecordedMachine(names, None if key.allows("admin") else key.name)


def _mark_repeat(response: Response, judged: Sequence[Judged]) -> None:
    """Mark an answer whose recordings all counted before."""
    if judged and all(each.entry is not None and each.entry.counted is False for each in judged):
        response.headers[REPLAYED] = "true"


def _require_same_request(services: Services, uploaded: UploadRequest) -> None:
    if (keyed := uploaded.keyed) is not None:
        services.machine_recorder.require_same_request(keyed)


class _PredictionTask:
    """Judgement of one upload by one model; called in a thread."""

    def __init__(
        self,
        services: Services,
        predictor: Predictor,
        uploaded: UploadRequest,
        machine: _RecordedMachine | None,
        number: int = 0,
        explain: bool = False,
    ) -> None:
        self.metrics = services.metrics
        self._services = services
        self._predictor = predictor
        self._uploaded = uploaded
        self._upload = uploaded.files[number]
        self._machine = machine
        self._number = number
        self._explain = explain
        self.sound_s = estimate_duration_s(self._upload.content, services.limits)
        self._created = time.perf_counter()

    def __call__(self) -> Judged:
        self.metrics.observe_stage("wait", time.perf_counter() - self._created)
        _require_same_request(self._services, self._uploaded)
        with self.metrics.time_stage("decode"):
            recording = self._predictor.decode(self._upload.content, self._services.limits)
        with self.metrics.time_stage("predict"):
            verdict = self._predictor.predict(recording, self._uploaded.machine_id, explain=self._explain)
        entry = self._record(verdict)
        if not self._explain:
            return Judged(verdict, None, entry)
        with self.metrics.time_stage("explain"):
            return Judged(verdict, occlusion_bands(self._predictor, recording, verdict.worst), entry)

    def _record(self, verdict: Verdict) -> RecordEntry | None:
        recorder, uploaded = self._services.machine_recorder, self._uploaded
        if self._machine is None:
            if uploaded.keyed is not None:
                recorder.remember_request(uploaded.keyed)
            return None
        names, made_by = self._machine
        time, digest = uploaded.time_of(self._number), uploaded.digests[self._number]
        return recorder.record(Observation.of(names, verdict, time, digest, uploaded.keyed, made_by))


def _judged_or_error(task: _PredictionTask) -> Judged | SignalMLError:
    try:
        return task()
    except SignalMLError as error:
        task.metrics.count_refusal(error.code)
        return error


def _batch_item(upload: Upload, found: Judged | SignalMLError, home: Path) -> BatchItem:
    if isinstance(found, SignalMLError):
        return BatchItem(file_name=upload.name, prediction=None, error=problem_of_error(found, home))
    return BatchItem(file_name=upload.name, prediction=PredictResponse.of(*found), error=None)
