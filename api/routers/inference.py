"""Routes that judge uploaded recordings. They do not use Redis."""

import time
from functools import partial
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Query, Request
from starlette.requests import ClientDisconnect

from api.dependencies import (
    AnyUpload,
    BatchUpload,
    OriginalUpload,
    RejectRepeatedParameters,
    RejectUnknownParameters,
    ServicesDep,
)
from api.errors import AUDIO_ERRORS, BODY_ERRORS, FORM_ERRORS, KEY_ERRORS, InvalidRequest, NoModel, UnknownParameter
from api.forms import BATCH_FORM, MACHINE_ID_PART, ONE_FILE_FORM, ORIGINAL_FORM
from api.problems import error_responses, problem_of_error
from api.schemas.predictions import AnomalyResponse, BatchItem, BatchResponse, PredictResponse
from api.security import AuthFirstRoute, check_machine_binding
from api.services import Services
from api.sound_length import estimate_duration_s
from api.uploads import Upload, UploadForm
from ml.errors import SignalMLError
from ml.machines.observation import MACHINE_ID_PATTERN, MAX_MACHINE_ID, MachineNames, is_machine_id
from ml.models.explanations import OcclusionBand, occlusion_bands
from ml.models.predictor import Predictor
from ml.models.verdict import Verdict

router = APIRouter(tags=["inference"], route_class=AuthFirstRoute)
INFERENCE, PREDICT, BATCH = "/inference", "/v1/predict", "/v1/predict/batch"
UPLOAD_PATHS = frozenset({INFERENCE, PREDICT, BATCH})

UPLOAD_ERRORS = (*KEY_ERRORS, *BODY_ERRORS, *FORM_ERRORS, NoModel)
MachineIdQuery = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=MAX_MACHINE_ID,
        pattern=MACHINE_ID_PATTERN,
        description="Machine that was recorded. A detector that knows this machine compares the recording with it. "
        "The verdict is added to the record of the machine: see `/v1/machines`. A part `machine_id` of a multipart "
        "form does the same.",
        examples=["fan-3"],
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
    request: Request, form: OriginalUpload, services: ServicesDep, machine_id: MachineIdQuery = None
) -> AnomalyResponse:
    """Judge the part `file` of a multipart form.

    The answer has the keys and types of the original service.
    """
    (upload,), predictor = form.files, services.live_model.predictor()
    machine = _machine_of(request, predictor, form, machine_id)
    task = _PredictionTask(services, predictor, upload, machine)
    verdict, _ = await services.executor.run(task, task.sound_s, request.receive)
    return AnomalyResponse.of(verdict)


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
    machine_id: MachineIdQuery = None,
    explain: Annotated[
        bool, Query(description="Add explanations: frequency bands and, from a detector, similar normal recordings.")
    ] = False,
) -> PredictResponse:
    """Judge a recording: the part `file` of a multipart form or, faster, the body itself."""
    (upload,), predictor = form.files, services.live_model.predictor()
    machine = _machine_of(request, predictor, form, machine_id)
    task = _PredictionTask(services, predictor, upload, machine, explain)
    return PredictResponse.of(*await services.executor.run(task, task.sound_s, request.receive))


@router.post(
    BATCH,
    summary="Judge several recordings",
    openapi_extra=BATCH_FORM.openapi(),
    dependencies=[RejectUnknownParameters],
    responses=error_responses(*UPLOAD_ERRORS, UnknownParameter),
)
async def predict_batch(
    request: Request, form: BatchUpload, services: ServicesDep, machine_id: MachineIdQuery = None
) -> BatchResponse:
    """Judge several parts `file`. Each has a verdict or an error; an error does not affect other files.

    The files are judged one after another, so that single uploads are answered in between. `machine_id` applies to all
    files, in their order.
    """
    predictor = services.live_model.predictor()
    machine = _machine_of(request, predictor, form, machine_id)
    results: list[BatchItem] = []
    for upload in form.files:
        task = _PredictionTask(services, predictor, upload, machine)
        judge = partial(_batch_item, task)
        results.append(await services.executor.run(judge, task.sound_s, request.receive, admitted=bool(results)))
        if await request.is_disconnected():
            raise ClientDisconnect
    return BatchResponse(results=results)


class _Machine(NamedTuple):
    """Machine of an upload.

    Attributes:
        given: name that the client gave.
        names: names of its record.
        made_by: name of the key, which cannot displace machines of others; None without this limit.
    """

    given: str
    names: MachineNames
    made_by: str | None


def _machine_of(request: Request, predictor: Predictor, form: UploadForm, query_value: str | None) -> _Machine | None:
    """Return the machine that was recorded; None without one.

    Raises:
        InvalidRequest: the part is not a machine id, or it differs from the query parameter.
        OutOfBinding: the API key is bound to other machines.
    """
    given = _machine_id_of(form, query_value)
    if given is None:
        return None
    names, key = MachineNames.resolve(given, predictor.resolve_machine), request.state.key
    check_machine_binding(request, names.machine_id)
    return _Machine(given, names, None if key.allows("admin") else key.name)


def _machine_id_of(form: UploadForm, query_value: str | None) -> str | None:
    """Return the machine id of the form or of the query; an empty part counts as not sent."""
    form_value = form.fields.get(MACHINE_ID_PART) or None
    if form_value is not None and not is_machine_id(form_value):
        raise InvalidRequest(
            f"The part {MACHINE_ID_PART!r} is {form_value[:MAX_MACHINE_ID]!r}; 1 to {MAX_MACHINE_ID} letters, digits, "
            "dots, hyphens and underscores, or two such names with a slash between them, were expected."
        )
    if form_value is not None and query_value not in (None, form_value):
        raise InvalidRequest(
            f"{MACHINE_ID_PART} is {query_value!r} in the query and {form_value!r} in the form; one of them was "
            "expected."
        )
    return form_value or query_value


class _PredictionTask:
    """Judgement of one upload by one model; called in a thread."""

    def __init__(
        self, services: Services, predictor: Predictor, upload: Upload, machine: _Machine | None, explain: bool = False
    ) -> None:
        self.upload = upload
        self.metrics = services.metrics
        self.home = services.settings.home
        self._machines = services.machine_recorder
        self._machine = machine
        self._limits = services.limits
        self._predictor = predictor
        self._explain = explain
        self.sound_s = estimate_duration_s(upload.content)
        self._created = time.perf_counter()

    def __call__(self) -> tuple[Verdict, tuple[OcclusionBand, ...] | None]:
        self.metrics.observe_stage("wait", time.perf_counter() - self._created)
        with self.metrics.time_stage("decode"):
            recording = self._predictor.decode(self.upload.content, self._limits)
        with self.metrics.time_stage("predict"):
            given = None if self._machine is None else self._machine.given
            verdict = self._predictor.predict(recording, given, explain=self._explain)
        if self._machine is not None:
            self._machines.record(self._machine.names, verdict, self._machine.made_by)
        if not self._explain:
            return verdict, None
        with self.metrics.time_stage("explain"):
            return verdict, occlusion_bands(self._predictor, recording, verdict.worst)


def _batch_item(task: _PredictionTask) -> BatchItem:
    name = task.upload.name
    try:
        verdict, _ = task()
    except SignalMLError as error:
        task.metrics.count_refusal(error.code)
        return BatchItem(file_name=name, prediction=None, error=problem_of_error(error, task.home))
    return BatchItem(file_name=name, prediction=PredictResponse.of(verdict), error=None)
