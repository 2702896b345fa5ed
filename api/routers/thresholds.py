"""Routes of thresholds: show the threshold of a model, and move it."""

import asyncio

from fastapi import APIRouter

from api.dependencies import RejectUnknownParameters, RequireAdmin, RequirePredict, ServicesDep
from api.errors import BODY_ERRORS, InvalidRequest
from api.problems import error_responses
from api.routers.models import MODEL_ERRORS, ModelReferencePath
from api.schemas.thresholds import SensitivityPoint, ThresholdEvidence, ThresholdPatch, ThresholdPlace, ThresholdState
from api.security import AuthFirstRoute
from ml import errors
from ml.models.registry import Registry
from ml.models.thresholds import current_operating_point, sensitivities

router = APIRouter(
    prefix="/v1/models",
    tags=["models"],
    dependencies=[RequirePredict, RejectUnknownParameters],
    route_class=AuthFirstRoute,
)


@router.get(
    "/{version}/threshold",
    summary="Show the threshold of a model",
    responses=error_responses(*MODEL_ERRORS, InvalidRequest),
)
async def show_threshold(version: ModelReferencePath, services: ServicesDep) -> ThresholdState:
    """Show the present threshold, its expected false-alarm rate, the alternatives and the history."""
    return await asyncio.to_thread(_state, services.registry, version)


@router.patch(
    "/{version}/threshold",
    summary="Move the threshold of a model",
    dependencies=[RequireAdmin],
    responses=error_responses(*MODEL_ERRORS, *BODY_ERRORS, errors.InvalidParameter, errors.ModelNotCalibrated),
)
async def move_threshold(version: ModelReferencePath, patch: ThresholdPatch, services: ServicesDep) -> ThresholdState:
    """Move the threshold as a new revision, without a training.

    Set it to a score, to a false-alarm rate, to a sensitivity, or back to the threshold that the model was written
    with. A model without scores of normal recordings accepts a score or a reset only: a classifier that was imported,
    or trained by an earlier version.

    The new threshold applies at once in the process that answers, and within 2 s in other processes.
    """

    def move() -> ThresholdState:
        # Resolved once: the answer is about the version that was moved, even if the alias changes meanwhile.
        moved = services.registry.resolve(version)
        services.registry.set_threshold(moved, patch.to_request())
        services.live_model.refresh()
        return _state(services.registry, moved)

    return await asyncio.to_thread(move)


def _state(registry: Registry, reference: str) -> ThresholdState:
    bundle = registry.read(reference)
    history = registry.threshold_revisions(bundle.version, bundle)
    known = current_operating_point(bundle.content, history[-1].decision.threshold)
    return ThresholdState(
        version=bundle.version,
        current=ThresholdPlace.model_validate(history[-1]),
        evidence=None if known is None else ThresholdEvidence.model_validate(known),
        sensitivities=[SensitivityPoint.of(*each) for each in sensitivities(bundle.content).items()],
        history=[ThresholdPlace.model_validate(revision) for revision in history],
    )
