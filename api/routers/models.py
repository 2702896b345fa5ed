"""Which models there are, which of them answers, and what their classes are called."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import HTMLResponse

from api.dependencies import RejectUnknownParameters, RequireAdmin, RequirePredict, ServicesDep
from api.errors import BODY_ERRORS, V1_ERRORS, InvalidRequest
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
from api.security import AuthFirstRoute
from api.services import Services
from ml import errors
from ml.models.registry import Alias, Registry
from ml.training.paths import report_path

router = APIRouter(
    prefix="/v1/models",
    tags=["models"],
    dependencies=[RequirePredict, RejectUnknownParameters],
    route_class=AuthFirstRoute,
)
BUNDLE_ERRORS = (errors.BundleUnrecognised, errors.BundleDamaged)
MODEL_ERRORS = (*V1_ERRORS, errors.ModelNotFound, errors.AliasNotSet, *BUNDLE_ERRORS)
# The report holds styles, drawings and sounds, and nothing that runs: a browser is told to hold it to that.
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
)
ModelReferencePath = Annotated[
    str,
    Path(
        description="A version, an alias, or the name that versions begin with: the newest of them.",
        examples=["original-47a1c71740", "champion", "original"],
    ),
]


@router.get("", summary="All versions", responses=error_responses(*V1_ERRORS, *BUNDLE_ERRORS))
async def list_models(services: ServicesDep) -> ModelList:
    """The versions, the newest first, their aliases, and how these came about."""
    return await asyncio.to_thread(_list, services.registry)


@router.get(
    "/{version}",
    summary="One version",
    responses=error_responses(*MODEL_ERRORS, InvalidRequest),
)
async def show_model(version: ModelReferencePath, services: ServicesDep) -> ModelDetails:
    """Features, classes with every revision of their names, the threshold in force, and the card."""
    return await asyncio.to_thread(_details, services.registry, version)


@router.get(
    "/{version}/report",
    summary="The report of its training",
    response_class=HTMLResponse,
    responses=error_responses(*MODEL_ERRORS, InvalidRequest, errors.ReportNotFound)
    | {200: {"content": {"text/html": {"example": "<!doctype html><title>fan-hall-3-47a1c71740</title>"}}}},
)
async def show_report(version: ModelReferencePath, services: ServicesDep) -> HTMLResponse:
    """One page to look at and to keep: it needs no other file and runs nothing. Only versions trained here have one."""
    page = await asyncio.to_thread(_report, services, version)
    return HTMLResponse(page, headers={"Content-Security-Policy": REPORT_POLICY, "X-Content-Type-Options": "nosniff"})


@router.put(
    "/aliases/{alias}",
    summary="Promote, or roll back",
    dependencies=[RequireAdmin],
    responses=error_responses(*MODEL_ERRORS, *BODY_ERRORS, errors.GoldenClipFailed, errors.AliasReserved),
)
async def point_alias(
    alias: Annotated[Alias, Path(description="`previous` is kept by the service and cannot be set.")],
    target: AliasTarget,
    services: ServicesDep,
) -> AliasState:
    """Points an alias to a version once it has loaded and answered its golden clip; it then serves within 2 s.

    `{"version": "previous"}` at `champion` rolls back.
    """

    def switch() -> AliasState:
        services.registry.promote(target.version, alias)
        services.live_model.refresh()
        return AliasState(aliases=services.registry.aliases())

    return await asyncio.to_thread(switch)


@router.patch(
    "/{version}/labels",
    summary="Name the classes",
    dependencies=[RequireAdmin],
    responses=error_responses(*MODEL_ERRORS, *BODY_ERRORS, errors.InvalidClassLabels),
)
async def name_classes(version: ModelReferencePath, patch: LabelsPatch, services: ServicesDep) -> LabelsRevision:
    """Gives every class a name and a message, as a new revision; the earlier ones are kept."""

    def rename() -> LabelsRevision:
        revision = services.registry.rename_classes(version, [(label.name, label.message) for label in patch.classes])
        services.live_model.refresh()
        return LabelsRevision.model_validate(revision)

    return await asyncio.to_thread(rename)


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
