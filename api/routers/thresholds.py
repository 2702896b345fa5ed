"""Routes of thresholds: show the threshold of a model, and move it."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request, Response

from api.api_keys import ApiKey
from api.dependencies import RejectUnknownParameters, ServicesDep
from api.errors import InvalidRequest
from api.one_request import ONE_REQUEST_ERRORS, OneRequest
from api.problems import error_responses
from api.routers.jobs import DATASET_JOB_ERRORS, SUBMITTED, IdempotencyKey, submit_job
from api.routers.models import MODEL_ERRORS, ModelReferencePath
from api.schemas.thresholds import (
    AlarmFrequency,
    MachinePreview,
    RecalibrationFacts,
    SensitivityPoint,
    ThresholdEvidence,
    ThresholdPatch,
    ThresholdPlace,
    ThresholdPreview,
    ThresholdState,
)
from api.security import AuthFirstRoute, KeyDep
from api.services import Services
from ml import errors
from ml.detectors.alarm_rule import KOfNRule
from ml.machines.ledger import Ledger
from ml.models.recalibration import recalibrated
from ml.models.registry import Registry
from ml.models.revisions import recalibration_in_force
from ml.models.thresholds import (
    current_false_alarms,
    current_limit_notes,
    current_operating_point,
    find_calibration,
    sensitivities,
)
from worker.jobs import Job, RecalibrationParameters

router = APIRouter(
    prefix="/v1/models",
    tags=["models"],
    dependencies=[RejectUnknownParameters],
    route_class=AuthFirstRoute,
)


SUBMITTED_HERE: dict[int | str, dict[str, Any]] = {202: SUBMITTED[202] | {"model": Job}}


@router.get(
    "/{version}/threshold",
    summary="Show the threshold of a model",
    responses=error_responses(*MODEL_ERRORS, InvalidRequest),
)
async def show_threshold(version: ModelReferencePath, services: ServicesDep) -> ThresholdState:
    """Show the present threshold, its expected false-alarm rate, the alternatives and the history."""
    return await asyncio.to_thread(_state, services.registry, version, services.settings.alarm_rule)


@router.get(
    "/{version}/threshold/preview",
    summary="Show what another threshold would mean",
    responses=error_responses(*MODEL_ERRORS, InvalidRequest, errors.MachinesUnavailable),
)
async def preview_threshold(
    version: ModelReferencePath,
    services: ServicesDep,
    key: KeyDep,
    threshold: Annotated[float, Query(ge=0, le=1, description="The threshold, a score.", examples=[0.62])],
    days: Annotated[int, Query(ge=1, le=400, description="Days until now whose recordings count.")] = 28,
) -> ThresholdPreview:
    """Show what another threshold would mean; nothing is changed.

    The answer has the expected false alarms, and the scores of normal recordings that they come from. For each machine
    it has the alarms of its last recordings: as they were, and as they would have been at this threshold.
    """

    def read() -> ThresholdPreview:
        return _preview(services, key, version, threshold, datetime.now(UTC) - timedelta(days=days))

    return await asyncio.to_thread(read)


@router.patch(
    "/{version}/threshold",
    summary="Move the threshold of a model",
    responses=SUBMITTED_HERE
    | error_responses(
        *MODEL_ERRORS,
        *DATASET_JOB_ERRORS,
        errors.InvalidParameter,
        errors.ModelNotCalibrated,
        *ONE_REQUEST_ERRORS,
    ),
)
async def move_threshold(
    version: ModelReferencePath,
    patch: ThresholdPatch,
    request: Request,
    services: ServicesDep,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> ThresholdState:
    """Move the threshold as a new revision, without a training.

    Set it to a score, to a false-alarm rate, to a sensitivity, to a number of false alarms in a time, or back to the
    threshold that the model was written with. A model without scores of normal recordings accepts a score or a reset
    only: a classifier that was imported, or trained by an earlier version.

    The new threshold applies at once in the process that answers, and within 2 s in other processes.

    A repetition with the same `Idempotency-Key` within a day changes nothing, also if the threshold was moved again
    meanwhile; the answer has the present threshold, and the header `Idempotent-Replayed: true`.

    With `recalibrate`, a job scores the normal recordings of a dataset first. The answer is then 202 with this job, as
    from `POST /v1/jobs/recalibration`.
    """
    if patch.recalibrate is not None:
        resolved = await asyncio.to_thread(services.registry.resolve, version)
        parameters = RecalibrationParameters(
            dataset=patch.recalibrate,
            model=resolved,
            false_alarm_rate=patch.false_alarm_rate,
            sensitivity=patch.sensitivity,
            confirm_labels=patch.confirm_labels,
        )
        return await submit_job(request, services, parameters, idempotency_key)  # type: ignore[return-value]  # a response with status 202

    def move() -> ThresholdState:
        rule = services.settings.alarm_rule
        # Resolved once: the answer is about the version that was moved, even if the alias changes meanwhile.
        moved = services.registry.resolve(version)
        parts = f"PATCH threshold {version}", patch.model_dump_json()
        with OneRequest(services.settings, idempotency_key, response, *parts) as request:
            if not request.done_before:
                services.registry.set_threshold(moved, patch.to_request(rule))
                services.live_model.refresh()
        return _state(services.registry, moved, rule)

    return await asyncio.to_thread(move)


def _preview(services: Services, key: ApiKey, reference: str, threshold: float, since: datetime) -> ThresholdPreview:
    rule = services.settings.alarm_rule
    bundle = services.registry.read(reference)
    scores = recalibration_in_force(services.registry.threshold_revisions(bundle.version, bundle))
    content = recalibrated(bundle.content, scores)
    known, alarms = current_operating_point(content, threshold), current_false_alarms(content, threshold, rule)
    calibration = find_calibration(content)
    with Ledger(services.settings.home, rule=rule) as ledger:
        begin = since.isoformat(timespec="milliseconds")
        machines = ledger.preview_threshold(bundle.version, threshold, begin, key.reaches_machine)
    return ThresholdPreview(
        version=bundle.version,
        threshold=threshold,
        evidence=None if known is None else ThresholdEvidence.model_validate(known),
        alarms=None if alarms is None else AlarmFrequency.of(alarms, ()),
        normal_scores=[] if calibration is None else np.sort(calibration.named[calibration.kept]).tolist(),
        machines=[MachinePreview.model_validate(each) for each in machines],
    )


def _state(registry: Registry, reference: str, rule: KOfNRule) -> ThresholdState:
    bundle = registry.read(reference)
    history = registry.threshold_revisions(bundle.version, bundle)
    scores = recalibration_in_force(history)
    content = recalibrated(bundle.content, scores)
    threshold = history[-1].decision.threshold
    alarms = current_false_alarms(content, threshold, rule)
    notes = current_limit_notes(content, history[-1].limit)
    known = current_operating_point(content, threshold)
    return ThresholdState(
        version=bundle.version,
        current=ThresholdPlace.model_validate(history[-1]),
        evidence=None if known is None else ThresholdEvidence.model_validate(known),
        alarms=None if alarms is None else AlarmFrequency.of(alarms, notes),
        recalibration=None if scores is None else RecalibrationFacts.model_validate(scores),
        sensitivities=[SensitivityPoint.of(*each) for each in sensitivities(content).items()],
        history=[ThresholdPlace.model_validate(revision) for revision in history],
    )
