"""Long work: asked for, watched, ended, and what came of it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.convertors import Convertor, register_url_convertor

from api.dependencies import RejectUnknownParameters, RequireAdmin, RequirePredict, ServicesDep
from api.errors import BODY_ERRORS, V1_ERRORS, Busy, InvalidRequest
from api.job_queue import JobEvent
from api.problems import error_responses
from api.schemas.common import JobRows
from api.security import AuthFirstRoute
from api.services import Services
from ml.dataset.catalog import require_dataset
from ml.errors import AliasNotSet, DatasetNotFound, ModelNotFound
from ml.system.logs import current_request_id
from worker.jobs import (
    JOB_KINDS,
    JOB_STATES,
    DiagnosticParameters,
    ExtractionParameters,
    IdempotencyConflict,
    Job,
    JobConflict,
    JobKind,
    JobKindUnknown,
    JobNotFound,
    JobPage,
    JobParameters,
    JobState,
    QueueFull,
    QueueUnavailable,
    ResultNotReady,
    RetrainingParameters,
    ScoringParameters,
)
from worker.results import JobFolder, as_csv, as_json, as_ndjson

router = APIRouter(
    prefix="/v1/jobs", tags=["jobs"], dependencies=[RequirePredict, RejectUnknownParameters], route_class=AuthFirstRoute
)
SUBMIT_ERRORS = (*V1_ERRORS, *BODY_ERRORS, IdempotencyConflict, JobConflict, QueueFull, QueueUnavailable)
DATASET_JOB_ERRORS = (*SUBMIT_ERRORS, DatasetNotFound)
JOB_ERRORS = (*V1_ERRORS, InvalidRequest, JobNotFound, QueueUnavailable)
RETRY_AFTER_S = 1
EVENT_STREAM = "text/event-stream"
# A stream's client that lost its connection waits this long before it comes back.
RECONNECT_MS = 1000
ROWS_AT_ONCE = 500
MAX_SHOWN_LENGTH = 64


class JobIds(Convertor[str]):
    """In a path, what can be a job's id, so that it is never taken for a kind of job."""

    regex = "[0-9a-f]{24}"

    def convert(self, value: str) -> str:
        """As it is."""
        return value

    def to_string(self, value: str) -> str:
        """As it is."""
        return value


class InvalidJobPathConvertor(JobIds):
    """In a path, what is there in place of a job's id or a kind of job."""

    regex = rf"(?!(?:{JobIds.regex}|{'|'.join(JOB_KINDS)})(?:/|$))[^/]+"


register_url_convertor("job", JobIds())
register_url_convertor("mistaken", InvalidJobPathConvertor())
JobIdPath = Annotated[str, Path(pattern=f"^{JobIds.regex}$", examples=["019ac7d2f1e84c7b9a3e51d0"])]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[\x21-\x7e]{1,128}$",
        description="The same request with the same key is answered with the same job, for a day.",
    ),
]
ResultFormat = Literal["json", "ndjson", "csv"]
FORMATS: dict[ResultFormat, tuple[str, Callable[[Iterator[dict[str, Any]]], Iterator[bytes]]]] = {
    "json": ("application/json", as_json),
    "ndjson": ("application/x-ndjson", as_ndjson),
    "csv": ("text/csv; charset=utf-8", as_csv),
}
SUBMITTED: dict[int | str, dict[str, Any]] = {
    202: {
        "description": "Taken on, or under way already; `Location` is where to look.",
        "headers": {
            "Location": {"schema": {"type": "string"}, "description": "Of the job."},
            "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds until a look is worth it."},
        },
    }
}
EVENTS: dict[str, Any] = {
    "description": "`state`, `progress` and `log` events as they come, and `end` as the last. Their ids serve as "
    "`Last-Event-ID`: a stream that is taken up again misses none and repeats none.",
    "content": {
        EVENT_STREAM: {
            "schema": {"type": "string"},
            "example": 'id: 1764000000000-0\nevent: progress\ndata: {"step":"recordings","done":32,"total":1000}\n\n',
        }
    },
}


@router.post(
    "/feature-extraction",
    status_code=202,
    dependencies=[RequireAdmin],
    responses=SUBMITTED | error_responses(*DATASET_JOB_ERRORS),
)
async def extract_features(
    parameters: ExtractionParameters, services: ServicesDep, idempotency_key: IdempotencyKey = None
) -> Job:
    """Compute the features of a dataset's labelled recordings, so that trainings find them."""
    return await _submit(services, parameters, idempotency_key, _has_dataset(services, parameters.dataset))


@router.post(
    "/scoring",
    status_code=202,
    dependencies=[RequireAdmin],
    responses=SUBMITTED | error_responses(*DATASET_JOB_ERRORS, ModelNotFound, AliasNotSet),
)
async def score(asked: ScoringParameters, services: ServicesDep, idempotency_key: IdempotencyKey = None) -> Job:
    """Judge every recording of a dataset, labelled or not. One that cannot be judged is a row with its error."""
    there = (_has_dataset(services, asked.dataset), partial(services.registry.resolve, asked.model))
    return await _submit(services, asked, idempotency_key, *there)


@router.post(
    "/retraining",
    status_code=202,
    dependencies=[RequireAdmin],
    responses=SUBMITTED | error_responses(*DATASET_JOB_ERRORS),
)
async def retrain(asked: RetrainingParameters, services: ServicesDep, idempotency_key: IdempotencyKey = None) -> Job:
    """Train a candidate on a dataset and, if asked, let it answer uploads. One at a time for each dataset."""
    return await _submit(services, asked, idempotency_key, _has_dataset(services, asked.dataset))


@router.post(
    "/diagnostic", status_code=202, dependencies=[RequireAdmin], responses=SUBMITTED | error_responses(*SUBMIT_ERRORS)
)
async def diagnose(asked: DiagnosticParameters, services: ServicesDep, idempotency_key: IdempotencyKey = None) -> Job:
    """Do nothing, by way of a queue and a worker: whether that way is whole."""
    return await _submit(services, asked, idempotency_key)


@router.get("", responses=error_responses(*V1_ERRORS, InvalidRequest, QueueUnavailable))
async def list_jobs(
    services: ServicesDep,
    kind: Annotated[list[JobKind] | None, Query(description="Only of these kinds.")] = None,
    state: Annotated[list[JobState] | None, Query(description="Only in these states.")] = None,
    dataset: Annotated[str | None, Query(max_length=64, description="Only of this dataset.")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: Annotated[str | None, Query(pattern="^[0-9a-f]{24}$", description="`next` of the page before.")] = None,
) -> JobPage:
    """Jobs, the newest first."""
    return await services.job_queue.run(
        lambda queue: queue.store.list_jobs(
            kinds=kind or JOB_KINDS, states=state or JOB_STATES, dataset=dataset, cursor=cursor, limit=limit
        )
    )


@router.get(
    "/{job:job}",
    responses=error_responses(*JOB_ERRORS) | {304: {"description": "It is as it was."}},
)
async def show_job(
    job: JobIdPath,
    services: ServicesDep,
    response: Response,
    if_none_match: Annotated[str | None, Header(description="The ETag that is known.")] = None,
) -> Job:
    """One job, with an ETag that changes with anything in it."""
    found = await services.job_queue.run(lambda queue: queue.store.get(job))
    response.headers["ETag"] = tag = f'"{found.id}-{found.revision}"'
    if if_none_match is not None and tag in (each.strip().removeprefix("W/") for each in if_none_match.split(",")):
        return Response(status_code=304, headers={"ETag": tag})  # type: ignore[return-value]  # FastAPI sends it as it is
    if not found.has_ended:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return found


@router.delete(
    "/{job:job}",
    status_code=202,
    dependencies=[RequireAdmin],
    responses=error_responses(*JOB_ERRORS),
)
async def cancel_job(job: JobIdPath, services: ServicesDep) -> Job:
    """Asks for its end: what waits ends at once, what is under way within seconds; what has ended stays as it is."""
    return await services.job_queue.run(lambda queue: queue.cancel(job))


@router.get(
    "/{job:job}/events",
    response_class=StreamingResponse,
    responses=error_responses(*JOB_ERRORS, Busy)
    | {200: EVENTS, 204: {"description": "Everything was told: the last event was `Last-Event-ID`."}},
)
async def watch_job(
    job: JobIdPath,
    services: ServicesDep,
    last_event_id: Annotated[
        str, Header(pattern=r"^(\d{1,19}-\d{1,19})?$", description="The id of the last event that was received.")
    ] = "",
) -> Response:
    """What happens to a job, as server-sent events, from its beginning or from after `Last-Event-ID`."""
    found = await services.job_queue.run(lambda queue: queue.store.get(job))
    if found.has_ended and last_event_id:
        # A browser that gets 204 does not come back: it is not said for want of an answer.
        left = await services.job_queue.run(lambda queue: queue.store.events(job, last_event_id, wait_ms=None))
        if not left:
            return Response(status_code=204)
    told = services.job_queue.events(job, last_event_id or "0")
    return StreamingResponse(_encode_events(told), media_type=EVENT_STREAM, headers={"Cache-Control": "no-cache"})


@router.get(
    "/{job:job}/result",
    response_model=JobRows,
    responses=error_responses(*JOB_ERRORS, ResultNotReady)
    | {
        200: {
            "description": "All rows, in the order of the recordings: an array, an object a line, or a table.",
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
    format_: Annotated[
        ResultFormat | None, Query(alias="format", description="Else as `Accept` says, else json.")
    ] = None,
) -> Response:
    """What came of a job that succeeded: a row for each recording or, of a retraining, one row."""
    found, file = await services.job_queue.run(lambda queue: (queue.store.get(job), queue.store.result_file(job)))
    if found.state != "succeeded":
        raise ResultNotReady(f"The job {job} is {found.state}; a job that succeeded was expected.")
    media_type, written = FORMATS[format_ or _accepted(request.headers.get("accept", ""))]
    rows = await asyncio.to_thread(_rows, services, found, file or "")
    return StreamingResponse(_in_blocks(written(rows)), media_type=media_type)


@router.get("/{job:mistaken}", include_in_schema=False)
@router.get("/{job:mistaken}/events", include_in_schema=False)
@router.get("/{job:mistaken}/result", include_in_schema=False)
@router.delete("/{job:mistaken}", include_in_schema=False, dependencies=[RequireAdmin])
async def no_such_job(job: str) -> None:
    """An id that none can be: the job is as missing as one of which nothing is known."""
    raise JobNotFound(
        f"There is no job {job[:MAX_SHOWN_LENGTH]!r}; an id of 24 digits, 0 to 9 and a to f, was expected."
    )


@router.post("/{kind:mistaken}", include_in_schema=False, dependencies=[RequireAdmin])
async def no_such_kind(kind: str) -> None:
    """Says which there are."""
    raise JobKindUnknown(f"There is no kind of job {kind[:MAX_SHOWN_LENGTH]!r}; there are: {', '.join(JOB_KINDS)}.")


def _has_dataset(services: Services, name: str) -> Callable[[], object]:
    return partial(require_dataset, services.settings.home, name)


async def _submit(
    services: Services, parameters: JobParameters, idempotency_key: str | None, *checks: Callable[[], object]
) -> Job:
    """The job, once all that it names is ``checks``; a request that made one before has that, whatever is gone since."""
    key, request_id = idempotency_key or "", current_request_id()
    made_before = False
    if checks and key:
        made_before = await services.job_queue.run(lambda queue: queue.store.has_idempotency_key(key))
    for check in () if made_before else checks:
        await asyncio.to_thread(check)
    submitted = await services.job_queue.run(
        lambda queue: queue.submit(parameters, request_id=request_id, idempotency_key=key)
    )
    job = submitted.job
    headers = {"Location": f"/v1/jobs/{job.id}", "Retry-After": str(RETRY_AFTER_S)}
    return JSONResponse(job.model_dump(), 202, headers)  # type: ignore[return-value]  # FastAPI sends it as it is


async def _encode_events(events: AsyncIterator[JobEvent | None]) -> AsyncIterator[bytes]:
    """Events in the form of the HTML standard (9.2.5); a comment now and then keeps proxies from hanging up."""
    yield f"retry: {RECONNECT_MS}\n\n".encode()
    async for event in events:
        yield f"id: {event.id}\nevent: {event.kind}\ndata: {event.data}\n\n".encode() if event else b": waiting\n\n"


def _accepted(accept: str) -> ResultFormat:
    for name, (media_type, _) in FORMATS.items():
        if media_type.partition(";")[0] in accept:
            return name
    return "json"


def _rows(services: Services, job: Job, file: str) -> Iterator[dict[str, Any]]:
    if not file:
        return iter([job.summary or {}])
    folder = JobFolder(services.settings.home, job.id)
    if not (folder.path / file).is_file():
        raise ResultNotReady(f"The result of {job.id} is not on disk here: {file} in its folder was expected.")
    return folder.rows(file)


def _in_blocks(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Many lines at a time: each block is a hop between threads."""
    block: list[bytes] = []
    for line in lines:
        block.append(line)
        if len(block) == ROWS_AT_ONCE:
            yield b"".join(block)
            block.clear()
    yield b"".join(block)
