"""Routes of machines over time: alarms, verdicts, drift, and acknowledgements."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from pydantic.config import JsonDict
from starlette.convertors import PathConvertor, register_url_convertor

from api.api_keys import ApiKey
from api.dependencies import RejectUnknownParameters, ServicesDep
from api.errors import BODY_ERRORS, V1_ERRORS, InvalidRequest
from api.problems import error_responses
from api.schemas.machines import (
    AlarmRule,
    AlarmSeen,
    MachineAlarm,
    MachineHealth,
    MachineList,
    MachineScores,
    MachineSummary,
    ScoredTime,
)
from api.schemas.times import MAX_TIME, QueryTime
from api.security import AuthFirstRoute, KeyDep, check_machine_binding
from api.services import Services
from api.settings import Settings
from ml import errors
from ml.machines.alarms import Acknowledgement
from ml.machines.ledger import Ledger
from ml.machines.limits import OBSERVATIONS_KEPT
from ml.machines.observation import MACHINE_ID_PATTERN, MAX_MACHINE_ID
from ml.system.clock import timestamp

router = APIRouter(
    prefix="/v1/machines",
    tags=["machines"],
    dependencies=[RejectUnknownParameters],
    route_class=AuthFirstRoute,
)


WEEK = timedelta(days=7)
DATE_TIME: JsonDict = {"format": "date-time"}
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


class MachineConvertor(PathConvertor):
    """Path converter of the name of a machine, which may have a slash, except for the addresses below a machine."""

    regex = "(?!.*/(?:health|scores|acknowledge)$).+"


register_url_convertor("machine", MachineConvertor())
MachineIdPath = Annotated[
    str,
    Path(
        min_length=1,
        max_length=MAX_MACHINE_ID,
        pattern=MACHINE_ID_PATTERN,
        description="Name of the machine, as in `/v1/machines`. If the detector that answers knows `id_00` as "
        "`fan/id_00`, and there is no record `id_00`, both names are accepted. The slash may be sent as it is or as "
        "%2F.",
        examples=["fan-3"],
    ),
]


@router.get(
    "",
    summary="List machines",
    responses=error_responses(*V1_ERRORS, errors.MachinesUnavailable),
)
async def list_machines(services: ServicesDep, key: KeyDep) -> MachineList:
    """List every machine with recordings that were uploaded with a `machine_id`, and its state.

    A key that is bound to machines gets these only.
    """
    return await asyncio.to_thread(_list, services.settings, key)


@router.get(
    "/{machine_id:path}/health",
    summary="Show a machine",
    responses=error_responses(*V1_ERRORS, InvalidRequest, errors.MachineNotFound, errors.MachinesUnavailable),
)
async def show_machine(
    machine_id: MachineIdPath,
    request: Request,
    services: ServicesDep,
    latest: Annotated[
        int, Query(ge=0, le=OBSERVATIONS_KEPT, description="Largest number of latest verdicts in the answer.")
    ] = 20,
) -> MachineHealth:
    """Show the alarms of a machine and, for each model version, its verdicts and the drift of its scores.

    The answer has the expected time between false alarms, at the time between the last recordings of the machine.

    A verdict appears here within a second after its answer. Verdicts count in the order of the times of the recordings.
    """
    return await asyncio.to_thread(_health, request, services, machine_id, latest)


@router.get(
    "/{machine_id:path}/scores",
    summary="Show the scores of a machine over time",
    responses=error_responses(
        *V1_ERRORS,
        InvalidRequest,
        errors.MachineNotFound,
        errors.MachinesUnavailable,
    ),
)
async def show_scores(
    machine_id: MachineIdPath,
    request: Request,
    services: ServicesDep,
    since: Annotated[
        QueryTime | None,
        Query(
            max_length=MAX_TIME,
            description="Beginning, ISO 8601. Default: a week before `until`.",
            json_schema_extra=DATE_TIME,
        ),
    ] = None,
    until: Annotated[
        QueryTime | None,
        Query(max_length=MAX_TIME, description="End, ISO 8601. Default: now.", json_schema_extra=DATE_TIME),
    ] = None,
    points: Annotated[int, Query(ge=1, le=2000, description="Largest number of points in the answer.")] = 200,
) -> MachineScores:
    """Show the verdicts on a machine as points of one or more whole hours each, for a picture.

    The answer has counts and scores of each point; points without recordings are left out. They are kept for 400 days,
    longer than the single verdicts. Recordings count at the times at which they were made.
    """
    end = until or timestamp()
    begin = since or (max(datetime.fromisoformat(end), EARLIEST + WEEK) - WEEK).isoformat()

    def read() -> MachineScores:
        with Ledger(services.settings.home) as ledger:
            name = _recorded_name(ledger, request, services, machine_id)
            found = ledger.score_points(name, begin, end, points)
        return MachineScores(machine_id=name, points=[ScoredTime.model_validate(each) for each in found])

    return await asyncio.to_thread(read)


@router.post(
    "/{machine_id:path}/acknowledge",
    summary="Acknowledge an alarm",
    responses=error_responses(
        *V1_ERRORS,
        *BODY_ERRORS,
        errors.MachineNotFound,
        errors.NothingToAcknowledge,
        errors.StorageFull,
        errors.MachinesUnavailable,
    ),
)
async def acknowledge(
    machine_id: MachineIdPath, seen: AlarmSeen, request: Request, services: ServicesDep, key: KeyDep
) -> MachineAlarm:
    """Acknowledge the active alarm of a machine. It is silent until it clears; a later alarm is a new one."""
    acknowledgement = Acknowledgement(at=timestamp(), by=seen.by, key=key.name or None, note=seen.note)

    def write() -> MachineAlarm:
        with Ledger(services.settings.home) as ledger:
            recorded = _recorded_name(ledger, request, services, machine_id)
            return MachineAlarm.model_validate(ledger.acknowledge(recorded, acknowledgement, seen.alarm_id))

    return await asyncio.to_thread(write)


@router.delete(
    "/{machine_id:machine}",
    summary="Remove a machine",
    status_code=204,
    responses=error_responses(
        *V1_ERRORS, InvalidRequest, errors.MachineNotFound, errors.StorageFull, errors.MachinesUnavailable
    ),
)
async def remove_machine(
    machine_id: MachineIdPath,
    request: Request,
    services: ServicesDep,
    confirm: Annotated[str, Query(description="Name of the machine again, as a confirmation.")],
) -> None:
    """Remove the record of a machine: its verdicts and alarms. A later recording of the machine starts a new record."""
    if confirm != machine_id:
        raise InvalidRequest(
            f"query.confirm is {confirm[:MAX_MACHINE_ID]!r}; the name of the machine to remove, {machine_id!r}, was "
            "expected."
        )

    def remove() -> None:
        with Ledger(services.settings.home) as ledger:
            ledger.remove(_recorded_name(ledger, request, services, machine_id))

    await asyncio.to_thread(remove)


def _list(settings: Settings, key: ApiKey) -> MachineList:
    with Ledger(settings.home, rule=settings.alarm_rule) as ledger:
        summaries = [summary for summary in ledger.summaries() if key.reaches_machine(summary.machine_id)]
    machines = [MachineSummary.model_validate(summary) for summary in summaries]
    return MachineList(rule=AlarmRule.model_validate(settings.alarm_rule), machines=machines)


def _health(request: Request, services: Services, machine_id: str, latest: int) -> MachineHealth:
    settings = services.settings
    with Ledger(settings.home, rule=settings.alarm_rule) as ledger:
        health = ledger.health(_recorded_name(ledger, request, services, machine_id), latest)
    live = services.live_model.current
    return MachineHealth.from_health(health, settings.alarm_rule, None if live is None else live.model)


def _recorded_name(ledger: Ledger, request: Request, services: Services, requested: str) -> str:
    """Return the name of a machine's record: the requested name or, without a record, the detector's name.

    One machine can have a record under each name, until its next recording merges them; both can be requested.

    Raises:
        OutOfBinding: the API key is bound to other machines.
    """
    model = services.live_model.current
    known = None if model is None else model.resolve_machine(requested)
    name = requested if known is None or ledger.has_machine(requested) else known
    check_machine_binding(request, name)
    return name
