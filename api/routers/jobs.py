"""Routes of jobs: submit, list, watch and cancel long work, and get its result."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.convertors import Convertor, register_url_convertor

from api.api_keys import ApiKey
from api.dependencies import RejectUnknownParameters, ServicesDep
from api.errors import BODY_ERRORS, V1_ERRORS, Busy, InvalidRequest
from api.event_streams import EVENT_STREAM, NO_CACHE, encode_events
from api.idempotency_keys import idempotency_header
from api.problems import error_responses
from api.schemas.common import JobRows
from api.security import AuthFirstRoute, KeyDep, check_dataset_binding, require_admin, until_revoked
from api.services import Services
from ml.errors import AliasNotSet, DatasetNotFound, IdempotencyConflict, ModelNotCalibrated, ModelNotFound
from ml.system.audit import record_change
from ml.system.logs import current_request_id
from ml.system.validation import MAX_SHOWN_LENGTH
from worker.job_checks import check_parameters
from worker.jobs import (
    JOB_ID,
    JOB_KINDS,
    JOB_STATES,
    DiagnosticParameters,
    ExtractionParameters,
    Job,
    JobConflict,
    JobKind,
    JobKindUnknown,
    JobNotFound,
    JobPage,
    JobParameters,
    JobRecordDamaged,
    JobState,
    QueueFull,
    QueueUnavailable,
    RecalibrationParameters,
    ResultNotReady,
    RetrainingParameters,
    ScoringParameters,
)
from worker.results import JobFolder, as_csv, as_json, as_ndjson

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], dependencies=[RejectUnknownParameters], route_class=AuthFirstRoute)
SUBMIT_ERRORS = (*V1_ERRORS, *BODY_ERRORS, IdempotencyConflict, JobConflict, QueueFull, QueueUnavailable)
DATASET_JOB_ERRORS = (*SUBMIT_ERRORS, DatasetNotFound)
JOB_ERRORS = (*V1_ERRORS, InvalidRequest, JobNotFound, JobRecordDamaged, QueueUnavailable)
RETRY_AFTER_S = 1
ROWS_AT_ONCE = 500


class JobIds(Convertor[str]):
    """Path converter of job ids, which never match a kind of job."""

    regex = JOB_ID.pattern

    def convert(self, value: str) -> str:
        """Return the value unchanged."""
        return value

    def to_string(self, value: str) -> str:
        """Return the value unchanged."""
        return value


class InvalidJobPathConvertor(JobIds):
    """Path converter of values that are neither a job id nor a kind of job."""

    regex = rf"(?!(?:{JobIds.regex}|{'|'.join(JOB_KINDS)})(?:/|$))[^/]+"


register_url_convertor("job", JobIds())
register_url_convertor("mistaken", InvalidJobPathConvertor())
JobIdPath = Annotated[
    str,
    Path(
        pattern=f"^{JobIds.regex}$",
        description="Id of the job: 24 hexadecimal digits.",
        examples=["019ac7d2f1e84c7b9a3e51d0"],
    ),
]
IdempotencyKey = Annotated[
    str | None,
    idempotency_header("For a day, the same request with the same key returns the same job."),
]
ResultFormat = Literal["json", "ndjson", "csv"]
FORMATS: dict[ResultFormat, tuple[str, Callable[[Iterator[dict[str, Any]]], Iterator[bytes]]]] = {
    "json": ("application/json", as_json),
    "ndjson": ("application/x-ndjson", as_ndjson),
    "csv": ("text/csv; charset=utf-8", as_csv),
}
SUBMITTED: dict[int | str, dict[str, Any]] = {
    202: {
        "description": "The job is accepted, or the same work is already a job. `Location` is the address of the job.",
        "headers": {
            "Location": {"schema": {"type": "string"}, "description": "Address of the job."},
            "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait before showing the job."},
        },
    }
}
EVENTS: dict[str, Any] = {
    "description": "Events `state`, `progress` and `log` as they happen, and `end` as the last one. A client that "
    "connects again sends the id of its last event as `Last-Event-ID`; then it misses no event and repeats none.",
    "content": {
        EVENT_STREAM: {
            "schema": {"type": "string"},
            "example": 'id: 1764000000000-0\nevent: progress\ndata: {"step":"recordings","done":32,"total":1000}\n\n',
        }
    },
}


@router.post(
    "/feature-extraction",
    summary="Submit a feature extraction",
    status_code=202,
    responses=SUBMITTED | error_responses(*DATASET_JOB_ERRORS),
)
async def extract_features(
    parameters: ExtractionParameters, request: Request, services: ServicesDep, idempotency_key: IdempotencyKey = None
) -> Job:
    """Submit a job that computes the features of the labelled recordings of a dataset.

    Later trainings use these features.
    """
    return await submit_job(request, services, parameters, idempotency_key)


@router.post(
    "/scoring",
    summary="Submit a scoring",
    status_code=202,
    responses=SUBMITTED | error_responses(*DATASET_JOB_ERRORS, ModelNotFound, AliasNotSet),
)
async def score(
    parameters: ScoringParameters, request: Request, services: ServicesDep, idempotency_key: IdempotencyKey = None
) -> Job:
    """Submit a job that judges every recording of a dataset, labelled or not.

    The result has a row for each recording. A recording that cannot be judged has a row with its error.
    """
    return await submit_job(request, services, parameters, idempotency_key)


@router.post(
    "/retraining",
    summary="Submit a retraining",
    status_code=202,
    responses=SUBMITTED | error_responses(*DATASET_JOB_ERRORS),
)
async def retrain(
    parameters: RetrainingParameters, request: Request, services: ServicesDep, idempotency_key: IdempotencyKey = None
) -> Job:
    """Submit a job that trains a candidate on a dataset.

    `promote` decides whether the candidate answers uploads; `always` needs the scope `admin`. A dataset has at most one
    retraining at a time.
    """
    if parameters.promote == "always":
        require_admin(request, "a retraining with promote always")
    return await submit_job(request, services, parameters, idempotency_key)


@router.post(
    "/recalibration",
    summary="Submit a recalibration",
    status_code=202,
    responses=SUBMITTED | error_responses(*DATASET_JOB_ERRORS, ModelNotFound, AliasNotSet, ModelNotCalibrated),
)
async def recalibrate(
    parameters: RecalibrationParameters, request: Request, services: ServicesDep, idempotency_key: IdempotencyKey = None
) -> Job:
    """Submit a job that sets a model's threshold with the normal recordings of a dataset, without a training.

    Recordings that the model has learned from do not count. The result has a row for each normal recording.
    """
    return await submit_job(request, services, parameters, idempotency_key)


@router.post(
    "/diagnostic",
    summary="Submit a diagnostic job",
    status_code=202,
    responses=SUBMITTED | error_responses(*SUBMIT_ERRORS),
)
async def diagnose(
    parameters: DiagnosticParameters, request: Request, services: ServicesDep, idempotency_key: IdempotencyKey = None
) -> Job:
    """Submit a job that does nothing, to test a queue and its workers."""
    return await submit_job(request, services, parameters, idempotency_key)


@router.get(
    "",
    summary="List jobs",
    response_model_exclude_defaults=True,  # without damaged records, no list of them
    responses=error_responses(*V1_ERRORS, InvalidRequest, QueueUnavailable),
)
async def list_jobs(
    services: ServicesDep,
    api_key: KeyDep,
    kind: Annotated[list[JobKind] | None, Query(description="Only jobs of these kinds.")] = None,
    state: Annotated[list[JobState] | None, Query(description="Only jobs in these states.")] = None,
    dataset: Annotated[str | None, Query(max_length=64, description="Only jobs of this dataset.")] = None,
    limit: Annotated[int, Query(ge=1, le=500, description="Largest number of jobs on a page.")] = 50,
    cursor: Annotated[
        str | None, Query(pattern=f"^{JobIds.regex}$", description="`next` of the previous page.")
    ] = None,
) -> JobPage:
    """List jobs, the newest first. A key that is bound to datasets gets the jobs of these only."""
    return await services.job_queue.run(
        lambda queue: queue.store.list_jobs(
            kinds=kind or JOB_KINDS,
            states=state or JOB_STATES,
            dataset=dataset,
            cursor=cursor,
            limit=limit,
            visible=lambda job: api_key.reaches_dataset(job.parameters.get("dataset")),
        )
    )


@router.get(
    "/{job:job}",
    summary="Show a job",
    responses=error_responses(*JOB_ERRORS) | {304: {"description": "The job has not changed."}},
)
async def show_job(
    job: JobIdPath,
    services: ServicesDep,
    api_key: KeyDep,
    response: Response,
    if_none_match: Annotated[str | None, Header(description="ETag of an earlier answer.")] = None,
) -> Job:
    """Show a job. Its ETag changes with every change of the job."""
    found = await _visible_job(services, api_key, job)
    response.headers["ETag"] = tag = f'"{found.id}-{found.revision}"'
    if if_none_match is not None and tag in (each.strip().removeprefix("W/") for each in if_none_match.split(",")):
        return Response(status_code=304, headers={"ETag": tag})  # type: ignore[return-value]  # FastAPI sends it as it is
    if not found.has_ended:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return found


@router.delete(
    "/{job:job}",
    summary="Cancel a job",
    status_code=202,
    responses=error_responses(*JOB_ERRORS),
)
async def cancel_job(job: JobIdPath, services: ServicesDep, api_key: KeyDep) -> Job:
    """Cancel a job.

    A waiting job ends at once, a running job within seconds. A job that has ended does not change.
    """
    before = await _visible_job(services, api_key, job)
    after = await services.job_queue.run(lambda queue: queue.cancel(job))
    home = services.settings.home
    await asyncio.to_thread(record_change, home, "job.cancel", job, before=before.state, after=after.state)
    return after


@router.get(
    "/{job:job}/events",
    summary="Watch a job",
    response_class=StreamingResponse,
    responses=error_responses(*JOB_ERRORS, Busy)
    | {200: EVENTS, 204: {"description": "There are no events after `Last-Event-ID`, and the job has ended."}},
)
async def watch_job(
    job: JobIdPath,
    request: Request,
    services: ServicesDep,
    api_key: KeyDep,
    last_event_id: Annotated[
        str, Header(pattern=r"^(\d{1,19}-\d{1,19})?$", description="Id of the last event that was received.")
    ] = "",
) -> Response:
    """Watch a job as server-sent events, from its start or after `Last-Event-ID`.

    The stream ends when the key expires or is revoked, and with the session of a browser.
    """
    found = await _visible_job(services, api_key, job)
    if found.has_ended and last_event_id:
        # A browser does not connect again after 204, so it is sent only if the queue has no further event.
        left = await services.job_queue.run(lambda queue: queue.store.events(job, last_event_id, wait_ms=None))
        if not left:
            return Response(status_code=204)
    events = services.job_queue.events(job, last_event_id or "0")
    allowed = until_revoked(events, services, request)
    return StreamingResponse(encode_events(allowed), media_type=EVENT_STREAM, headers=NO_CACHE)


@router.get(
    "/{job:job}/result",
    summary="Get the result of a job",
    response_model=JobRows,
    responses=error_responses(*JOB_ERRORS, ResultNotReady)
    | {
        200: {
            "description": "All rows, in the order of the recordings: a JSON array, JSON objects one per line, or CSV.",
            "content": {
                "application/x-ndjson": {"schema": {"type": "string"}},
                "text/csv": {"schema": {"type": "string"}},
            },
        }
    },
)
async def show_result(
    job: JobIdPath,
    request: Request,
    services: ServicesDep,
    api_key: KeyDep,
    format_: Annotated[
        ResultFormat | None, Query(alias="format", description="Format of the rows; by default from `Accept`, or json.")
    ] = None,
) -> Response:
    """Get the result of a job that succeeded: a row for each recording or, for a retraining, one row."""
    found = await _visible_job(services, api_key, job)
    file = await services.job_queue.run(lambda queue: queue.store.result_file(job))
    if found.state != "succeeded":
        raise ResultNotReady(f"The job {job} is {found.state}; a job that succeeded was expected.")
    media_type, written = FORMATS[format_ or _accepted(request.headers.get("accept", ""))]
    rows = await asyncio.to_thread(_rows, services, found, file or "")
    return StreamingResponse(_in_blocks(written(rows)), media_type=media_type)


@router.get("/{job:mistaken}", include_in_schema=False)
@router.get("/{job:mistaken}/events", include_in_schema=False)
@router.get("/{job:mistaken}/result", include_in_schema=False)
@router.delete("/{job:mistaken}", include_in_schema=False)
async def no_such_job(job: str) -> None:
    """Refuse an id that no job can have, like the id of an unknown job."""
    raise JobNotFound(
        f"There is no job {job[:MAX_SHOWN_LENGTH]!r}; an id of 24 digits, 0 to 9 and a to f, was expected."
    )


@router.post("/{kind:mistaken}", include_in_schema=False)
async def no_such_kind(kind: str) -> None:
    """Refuse an unknown kind of job."""
    raise JobKindUnknown(f"There is no kind of job {kind[:MAX_SHOWN_LENGTH]!r}; the kinds are {', '.join(JOB_KINDS)}.")


async def submit_job(
    request: Request, services: Services, parameters: JobParameters, idempotency_key: str | None
) -> Job:
    """Submit a job after its checks. A repeated request skips them: it gets its job in any case."""
    check_dataset_binding(request, getattr(parameters, "dataset", None))
    key, request_id = idempotency_key or "", current_request_id()
    repeated = False
    if key:
        repeated = await services.job_queue.run(lambda queue: queue.store.has_idempotency_key(key))
    if not repeated:
        await asyncio.to_thread(_check_parameters, request.state.key, services, parameters)
    submitted = await services.job_queue.run(
        lambda queue: queue.submit(parameters, request_id=request_id, idempotency_key=key)
    )
    job = submitted.job
    if submitted.created:
        after = {"kind": job.kind} | job.parameters
        await asyncio.to_thread(record_change, services.settings.home, "job.submit", job.id, after=after)
    headers = {"Location": f"/v1/jobs/{job.id}", "Retry-After": str(RETRY_AFTER_S)}
    return JSONResponse(job.model_dump(), 202, headers)  # type: ignore[return-value]  # FastAPI sends it as it is


def _check_parameters(key: ApiKey, services: Services, parameters: JobParameters) -> None:
    try:
        check_parameters(services.settings.home, parameters)
    except DatasetNotFound:
        if key.is_bound:  # the original message lists other datasets
            raise DatasetNotFound(f"There is no dataset {getattr(parameters, 'dataset', '')!r}.") from None
        raise


async def _visible_job(services: Services, key: ApiKey, job: str) -> Job:
    """Return a job if the key reaches its dataset; otherwise the answer is that of an unknown job."""
    found = await services.job_queue.run(lambda queue: queue.store.get(job))
    if not key.reaches_dataset(found.parameters.get("dataset")):
        raise JobNotFound(f"There is no job {job!r} that this API key can reach.")
    return found


def _accepted(accept: str) -> ResultFormat:
    for name, (media_type, _) in FORMATS.items():
        if media_type.partition(";")[0] in accept:
            return name
    return "json"


def _rows(services: Services, job: Job, file: str) -> Iterator[dict[str, Any]]:
    if not file:
        return iter([job.summary or {}])
    folder = JobFolder(services.settings.home, job.id)
    if not folder.has(file):
        raise ResultNotReady(f"The result of {job.id} is not on this disk; {file} was expected in the job's folder.")
    return folder.rows(file)


def _in_blocks(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Join lines to blocks, because each block needs a switch between threads."""
    block: list[bytes] = []
    for line in lines:
        block.append(line)
        if len(block) == ROWS_AT_ONCE:
            yield b"".join(block)
            block.clear()
    yield b"".join(block)
