"""What routes are handed: the services, and uploads as bytes with a name.

All of these are coroutines, because FastAPI would send a plain function through a thread of its own.
"""

import asyncio
from typing import Annotated

from fastapi import Depends, Path, Request

from api.route_inputs import reject_repeated_parameters, reject_unknown_parameters
from api.security import RequireScope
from api.services import Services, services_of
from api.uploads import UploadForm, read_form, read_single_file
from ml.dataset.collection.store import Collection
from ml.dataset.paths import NAME_PATTERN

# Of every router under /v1, in this order: whoever has no key is told nothing of what a route takes (KeyFirst).
RequirePredict, RejectUnknownParameters = Depends(RequireScope("predict")), Depends(reject_unknown_parameters)
# Of one that passes over what it does not take.
RejectRepeatedParameters = Depends(reject_repeated_parameters)
# Of single routes, beside those.
RequireAdmin = Depends(RequireScope("admin"))


async def services(request: Request) -> Services:
    """The services of the application."""
    return services_of(request)


ServicesDep = Annotated[Services, Depends(services)]


async def require_capacity(services: ServicesDep) -> Services:
    """The services, if the executor has a place now: refusing before the body is read spares both sides the upload.

    Raises:
        Busy
    """
    services.executor.refuse_if_full()
    return services


CapacityDep = Annotated[Services, Depends(require_capacity)]


async def multipart_upload(request: Request, services: CapacityDep) -> UploadForm:
    """A multipart form with one file; other parts of it are passed over, as the original service did."""
    with services.metrics.time_stage("receive"):
        return await read_single_file(request, raw=False, strict=False)


async def any_upload(request: Request, services: CapacityDep) -> UploadForm:
    """A multipart form with one file, or the body as one."""
    with services.metrics.time_stage("receive"):
        return await read_single_file(request, raw=True)


async def batch_upload(request: Request, services: CapacityDep) -> UploadForm:
    """A multipart form with several files."""
    with services.metrics.time_stage("receive"):
        return await read_form(request, most=services.settings.max_batch_files)


DatasetNamePath = Annotated[
    str,
    Path(
        description="1 to 64 lower-case letters, digits, dots, hyphens and underscores.",
        json_schema_extra={"pattern": f"^{NAME_PATTERN.pattern}$"},
        examples=["hall-3"],
    ),
]


async def collection(name: DatasetNamePath, services: ServicesDep) -> Collection:
    """The dataset that a path names, whether or not it is there.

    Raises:
        InvalidName
    """
    return services.collection(name)


CollectionDep = Annotated[Collection, Depends(collection)]


async def recordings_form(request: Request, collection: CollectionDep, services: CapacityDep) -> UploadForm:
    """Recordings and what is said of them; the dataset is looked at first, which may spare both sides the upload.

    Raises:
        DatasetReadOnly
    """
    await asyncio.to_thread(collection.require_writable)
    with services.metrics.time_stage("receive"):
        return await read_form(request, most=services.settings.max_batch_files)


MultipartUpload = Annotated[UploadForm, Depends(multipart_upload)]
AnyUpload = Annotated[UploadForm, Depends(any_upload)]
BatchUpload = Annotated[UploadForm, Depends(batch_upload)]
RecordingsForm = Annotated[UploadForm, Depends(recordings_form)]
