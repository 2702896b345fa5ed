"""Machines over time: which are in alarm, what was heard of each, and who has seen it."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Query

from api.dependencies import RejectUnknownParameters, RequireAdmin, RequirePredict, ServicesDep
from api.errors import BODY_ERRORS, V1_ERRORS, InvalidRequest
from api.problems import error_responses
from api.schemas.machines import AlarmRule, AlarmSeen, MachineAlarm, MachineHealth, MachineList, MachineSummary
from api.security import AuthFirstRoute, KeyName
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
    dependencies=[RequirePredict, RejectUnknownParameters],
    route_class=AuthFirstRoute,
)
MachineIdPath = Annotated[
    str,
    Path(
        min_length=1,
        max_length=MAX_MACHINE_ID,
        pattern=MACHINE_ID_PATTERN,
        description="As `/v1/machines` lists it. Where the detector that answers knows `id_00` as `fan/id_00`, and "
        "nothing is remembered under `id_00`, either will do; the slash may be sent as it is, or as %2F.",
        examples=["fan-3"],
    ),
]


@router.get(
    "",
    summary="All machines",
    responses=error_responses(*V1_ERRORS, errors.MachinesUnavailable),
)
async def list_machines(services: ServicesDep) -> MachineList:
    """Every machine whose recordings were uploaded with a `machine_id`, and whether it is in alarm."""
    return await asyncio.to_thread(_list, services.settings)


@router.get(
    "/{machine_id:path}/health",
    summary="One machine",
    responses=error_responses(*V1_ERRORS, InvalidRequest, errors.MachineNotFound, errors.MachinesUnavailable),
)
async def show_machine(
    machine_id: MachineIdPath,
    services: ServicesDep,
    latest: Annotated[
        int, Query(ge=0, le=OBSERVATIONS_KEPT, description="At most so many of its last verdicts are told.")
    ] = 20,
) -> MachineHealth:
    """Its alarms, and of each version of a model its rate of anomalous verdicts, and whether its scores have moved.

    A verdict is told of within a second of its answer; what is being uploaded counts by when it is answered.
    """
    return await asyncio.to_thread(_health, services, machine_id, latest)


@router.post(
    "/{machine_id:path}/acknowledge",
    summary="Its alarm was seen",
    dependencies=[RequireAdmin],
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
    machine_id: MachineIdPath, seen: AlarmSeen, services: ServicesDep, key_name: KeyName
) -> MachineAlarm:
    """Silences the alarm that lasts until it clears; an alarm that is raised after that is a new one."""
    said = Acknowledgement(at=timestamp(), by=seen.by, key=key_name, note=seen.note)

    def note() -> MachineAlarm:
        with Ledger(services.settings.home) as ledger:
            remembered = _remembered(ledger, services, machine_id)
            return MachineAlarm.model_validate(ledger.acknowledge(remembered, said, seen.alarm_id))

    return await asyncio.to_thread(note)


def _list(settings: Settings) -> MachineList:
    with Ledger(settings.home, rule=settings.alarm_rule) as ledger:
        machines = [MachineSummary.model_validate(summary) for summary in ledger.summaries()]
    return MachineList(rule=AlarmRule.model_validate(settings.alarm_rule), machines=machines)


def _health(services: Services, machine_id: str, latest: int) -> MachineHealth:
    settings = services.settings
    with Ledger(settings.home, rule=settings.alarm_rule) as ledger:
        health = ledger.health(_remembered(ledger, services, machine_id), latest)
    return MachineHealth.from_health(health, settings.alarm_rule)


def _remembered(ledger: Ledger, services: Services, requested: str) -> str:
    """The name that a machine's record has: as it was said, or as the detector that answers calls that machine.

    The first before the second: two records of one machine, until the next upload joins them, can both be had.
    """
    model = services.live_model.current
    known = None if model is None else model.resolve_machine(requested)
    return requested if known is None or ledger.has_machine(requested) else known
