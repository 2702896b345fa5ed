"""Routes of models: versions, aliases, reports and names of classes."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import HTMLResponse

from api.dependencies import RejectUnknownParameters, ServicesDep
from api.errors import BODY_ERRORS, V1_ERRORS, InvalidRequest
from api.one_request import ONE_REQUEST_ERRORS, OneRequest, RequestKey
from api.problems import error_responses
from api.schemas.common import (
    AliasHistoryEntry,
    AliasState,
    AliasTarget,
    LabelsPatch,
    LabelsRevision,
    ModelDetails,
    ModelList,
    ModelSummary,
    ThresholdFacts,
)
from api.security import AuthFirstRoute, require_unbound
from api.services import Services
from ml import errors
from ml.models.aliases import Alias
from ml.models.registry import Registry
from ml.system.validation import MAX_SHOWN_LENGTH
from ml.training.paths import report_path
from ml.training.removal import remove_model
from worker.job_checks import require_unused_by_jobs
from worker.jobs import QueueUnavailable

router = APIRouter(
    prefix="/v1/models",
    tags=["models"],
    dependencies=[RejectUnknownParameters],
    route_class=AuthFirstRoute,
)
BUNDLE_ERRORS = (errors.BundleUnrecognised, errors.BundleDamaged)
MODEL_ERRORS = (*V1_ERRORS, errors.ModelNotFound, errors.AliasNotSet, *BUNDLE_ERRORS)
# A report contains styles, images and sounds, but no scripts; with this policy, a browser runs none.
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
)
ModelReferencePath = Annotated[
    str,
    Path(
        description="A version, an alias, or the name of a version without its hash; then the newest version with this "
        "name is used.",
        examples=["original-47a1c71740", "champion", "original"],
    ),
]


ConfirmQuery = Annotated[str, Query(description="Full name of the version again, as a confirmation.")]


@router.get("", summary="List models", responses=error_responses(*V1_ERRORS, *BUNDLE_ERRORS))
async def list_models(services: ServicesDep) -> ModelList:
    """List all versions, the newest first, with their aliases and the history of the aliases."""
    return await asyncio.to_thread(_list, services.registry)


@router.get(
    "/{version}",
    summary="Show a model",
    responses=error_responses(*MODEL_ERRORS, InvalidRequest),
)
async def show_model(version: ModelReferencePath, services: ServicesDep) -> ModelDetails:
    """Show a version: features, every revision of its class names, present threshold and model card."""
    return await asyncio.to_thread(_details, services.registry, version)


@router.get(
    "/{version}/report",
    summary="Get the report of a training",
    response_class=HTMLResponse,
    responses=error_responses(*MODEL_ERRORS, InvalidRequest, errors.ReportNotFound)
    | {200: {"content": {"text/html": {"example": "<!doctype html><title>fan-hall-3-47a1c71740</title>"}}}},
)
async def show_report(request: Request, version: ModelReferencePath, services: ServicesDep) -> HTMLResponse:
    """Get the training report as one HTML page without scripts or further files.

    Only versions that were trained by this service have a report. It contains recordings, so a key with bindings gets
    none.
    """
    require_unbound(request, "a report contains recordings of any dataset")
    page = await asyncio.to_thread(_report, services, version)
    return HTMLResponse(page, headers={"Content-Security-Policy": REPORT_POLICY, "X-Content-Type-Options": "nosniff"})


@router.put(
    "/aliases/{alias}",
    summary="Promote or roll back a model",
    responses=error_responses(
        *MODEL_ERRORS, *BODY_ERRORS, errors.GoldenClipFailed, errors.AliasReserved, *ONE_REQUEST_ERRORS
    ),
)
async def point_alias(
    alias: Annotated[Alias, Path(description="Alias to set. The service sets `previous` itself.")],
    target: AliasTarget,
    services: ServicesDep,
    response: Response,
    idempotency_key: RequestKey = None,
) -> AliasState:
    """Point an alias to a version, after the version has loaded and answered its golden clip.

    A new champion answers uploads within 2 s. `{"version": "previous"}` for `champion` rolls back.
    """

    def switch() -> AliasState:
        parts = f"PUT alias {alias}", target.model_dump_json()
        with OneRequest(services.settings, idempotency_key, response, *parts) as request:
            if not request.done_before:
                services.registry.promote(target.version, alias)
                services.live_model.refresh()
        return AliasState(aliases=services.registry.aliases())

    return await asyncio.to_thread(switch)


@router.patch(
    "/{version}/labels",
    summary="Rename the classes of a model",
    responses=error_responses(*MODEL_ERRORS, *BODY_ERRORS, errors.InvalidClassLabels, *ONE_REQUEST_ERRORS),
)
async def name_classes(
    version: ModelReferencePath,
    patch: LabelsPatch,
    services: ServicesDep,
    response: Response,
    idempotency_key: RequestKey = None,
) -> LabelsRevision:
    """Give every class a name and a message, as a new revision. Earlier revisions are kept."""

    def rename() -> LabelsRevision:
        named = services.registry.resolve(version)
        parts = f"PATCH labels {version}", patch.model_dump_json()
        with OneRequest(services.settings, idempotency_key, response, *parts) as request:
            if not request.done_before:
                services.registry.rename_classes(named, [(label.name, label.message) for label in patch.classes])
                services.live_model.refresh()
        return LabelsRevision.model_validate(services.registry.label_revisions(named)[-1])

    return await asyncio.to_thread(rename)


@router.delete(
    "/{version}",
    summary="Remove a model",
    status_code=204,
    responses=error_responses(*MODEL_ERRORS, InvalidRequest, errors.ModelInUse, QueueUnavailable),
)
async def remove_version(version: ModelReferencePath, confirm: ConfirmQuery, services: ServicesDep) -> None:
    """Remove a version, its revisions, and the records and the report of its training.

    The full name of the version is needed. A version that an alias points to, or that an unfinished job uses, is not
    removed (409). The history of machines keeps its verdicts.
    """
    home = services.settings.home
    if confirm != version:
        raise InvalidRequest(
            f"query.confirm is {confirm[:MAX_SHOWN_LENGTH]!r}; the full name of the version to remove, {version!r}, "
            "was expected."
        )
    if services.job_queue.configured:
        await services.job_queue.run(lambda queue: require_unused_by_jobs(queue.store, home, version))
    await asyncio.to_thread(remove_model, home, version, confirm)


def _list(registry: Registry) -> ModelList:
    aliases = registry.aliases()
    return ModelList(
        models=[ModelSummary(version=v, aliases=_aliases_of(v, aliases)) for v in registry.versions()],
        history=[AliasHistoryEntry.model_validate(change) for change in registry.history()],
    )


def _details(registry: Registry, reference: str) -> ModelDetails:
    bundle = registry.read(reference)
    content = bundle.content
    return ModelDetails(
        version=bundle.version,
        aliases=_aliases_of(bundle.version, registry.aliases()),
        created=bundle.created,
        features=content.spec.to_dict(),
        features_fingerprint=content.spec.fingerprint,
        decision=ThresholdFacts.model_validate(registry.threshold_revisions(bundle.version, bundle)[-1].decision),
        labels=[
            LabelsRevision.model_validate(revision) for revision in registry.label_revisions(bundle.version, bundle)
        ],
        card=content.card,
    )


def _report(services: Services, reference: str) -> bytes:
    return report_path(services.settings.home, services.registry.resolve(reference)).read_bytes()


def _aliases_of(version: str, aliases: dict[Alias, str]) -> list[Alias]:
    return [alias for alias, pointed in aliases.items() if pointed == version]
