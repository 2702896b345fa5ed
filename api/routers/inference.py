"""Uploads in, verdicts out. Redis is never touched."""

import time
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query

from api.dependencies import (
    AnyUpload,
    BatchUpload,
    OriginalUpload,
    RejectRepeatedParameters,
    RejectUnknownParameters,
    RequirePredict,
    ServicesDep,
)
from api.errors import AUDIO_ERRORS, BODY_ERRORS, FORM_ERRORS, KEY_ERRORS, InvalidRequest, NoModel, UnknownParameter
from api.forms import BATCH_FORM, MACHINE_ID_PART, ONE_FILE_FORM, ORIGINAL_FORM
from api.problems import error_responses, problem_of_error
from api.schemas.predictions import AnomalyResponse, BatchItem, BatchResponse, PredictResponse
from api.services import Services
from api.uploads import Upload, UploadForm
from ml.errors import SignalMLError
from ml.machines.observation import MACHINE_ID_PATTERN, MAX_MACHINE_ID, MachineNames, is_machine_id
from ml.models.explanations import OcclusionBand, occlusion_bands
from ml.models.predictor import Predictor
from ml.models.verdict import Verdict

router = APIRouter(tags=["inference"], dependencies=[RequirePredict])
INFERENCE, PREDICT, BATCH = "/inference", "/v1/predict", "/v1/predict/batch"
UPLOAD_PATHS = frozenset({INFERENCE, PREDICT, BATCH})

UPLOAD_ERRORS = (*KEY_ERRORS, *BODY_ERRORS, *FORM_ERRORS, NoModel)
MachineIdQuery = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=MAX_MACHINE_ID,
        pattern=MACHINE_ID_PATTERN,
        description="Which machine was recorded. A detector compares the recording with that machine, where it knows "
        "it, and the verdict is remembered: see `/v1/machines`. A part `machine_id` of a multipart form does the same.",
        examples=["fan-3"],
    ),
]


@router.post(
    INFERENCE,
    summary="Judge one recording, in the original service's words",
    openapi_extra=ORIGINAL_FORM.openapi(),
    dependencies=[RejectRepeatedParameters],
    responses=error_responses(*UPLOAD_ERRORS, *AUDIO_ERRORS),
)
async def inference(form: OriginalUpload, services: ServicesDep, machine_id: MachineIdQuery = None) -> AnomalyResponse:
    """Takes the part `file` of a multipart form, as the original service did, and answers with its keys and types."""
    (upload,), machine_id = form.files, _machine_of(form, machine_id)
    verdict, _ = await services.executor.run(
        _PredictionTask(services, services.live_model.predictor(), upload, machine_id)
    )
    return AnomalyResponse.of(verdict)


@router.post(
    PREDICT,
    summary="Judge one recording in full",
    openapi_extra=ONE_FILE_FORM.openapi(),
    dependencies=[RejectUnknownParameters],
    responses=error_responses(*UPLOAD_ERRORS, UnknownParameter, *AUDIO_ERRORS),
)
async def predict(
    form: AnyUpload,
    services: ServicesDep,
    machine_id: MachineIdQuery = None,
    explain: Annotated[
        bool, Query(description="Also say why: which frequencies, and which healthy recordings it is like.")
    ] = False,
) -> PredictResponse:
    """Takes the part `file` of a multipart form, or the recording itself as the body, which is faster."""
    (upload,), machine_id = form.files, _machine_of(form, machine_id)
    judging = _PredictionTask(services, services.live_model.predictor(), upload, machine_id, explain)
    return PredictResponse.of(*await services.executor.run(judging))


@router.post(
    BATCH,
    summary="Judge several recordings in one request",
    openapi_extra=BATCH_FORM.openapi(),
    dependencies=[RejectUnknownParameters],
    responses=error_responses(*UPLOAD_ERRORS, UnknownParameter),
)
async def predict_batch(form: BatchUpload, services: ServicesDep, machine_id: MachineIdQuery = None) -> BatchResponse:
    """Takes any number of parts `file` and answers each with a verdict or an error; none fails the others.

    The files go to the threads one after another, so that single uploads come in between. A `machine_id` holds for all
    of them, in their order.
    """
    predictor, machine_id = services.live_model.predictor(), _machine_of(form, machine_id)
    results: list[BatchItem] = []
    for upload in form.files:
        judging = _PredictionTask(services, predictor, upload, machine_id)
        results.append(await services.executor.run(partial(_batch_item, judging), admitted=bool(results)))
    return BatchResponse(results=results)


def _machine_of(form: UploadForm, query_value: str | None) -> str | None:
    """The machine that the address names, or the form; an empty part is one that was not sent.

    Raises:
        InvalidRequest: the form has no name of a machine, or another than the address.
    """
    said = form.fields.get(MACHINE_ID_PART) or None
    if said is not None and not is_machine_id(said):
        raise InvalidRequest(
            f"The part {MACHINE_ID_PART!r} is {said[:MAX_MACHINE_ID]!r}; 1 to {MAX_MACHINE_ID} letters, digits, dots, "
            "hyphens and underscores, or two such names with a slash between them, were expected."
        )
    if said is not None and query_value not in (None, said):
        raise InvalidRequest(
            f"{MACHINE_ID_PART} is {query_value!r} in the address and {said!r} in the form; one was expected."
        )
    return said or query_value


class _PredictionTask:
    """One upload on its way through one model, to be called in a thread."""

    def __init__(
        self, services: Services, predictor: Predictor, upload: Upload, machine_id: str | None, explain: bool = False
    ) -> None:
        self.upload = upload
        self.metrics = services.metrics
        self._machines = services.machine_recorder
        self._machine_id = machine_id
        self._limits = services.limits
        self._predictor = predictor
        self._explain = explain
        self._handed_over = time.perf_counter()

    def __call__(self) -> tuple[Verdict, tuple[OcclusionBand, ...] | None]:
        self.metrics.observe_stage("wait", time.perf_counter() - self._handed_over)
        with self.metrics.time_stage("decode"):
            recording = self._predictor.decode(self.upload.content, self._limits)
        with self.metrics.time_stage("predict"):
            verdict = self._predictor.predict(recording, self._machine_id, explain=self._explain)
        if self._machine_id is not None:
            self._machines.record(MachineNames.resolve(self._machine_id, self._predictor.resolve_machine), verdict)
        if not self._explain:
            return verdict, None
        with self.metrics.time_stage("explain"):
            return verdict, occlusion_bands(self._predictor, recording, verdict.worst)


def _batch_item(judging: _PredictionTask) -> BatchItem:
    name = judging.upload.name
    try:
        verdict, _ = judging()
    except SignalMLError as error:
        judging.metrics.count_refusal(error.code)
        return BatchItem(file_name=name, prediction=None, error=problem_of_error(error))
    return BatchItem(file_name=name, prediction=PredictResponse.of(verdict), error=None)
