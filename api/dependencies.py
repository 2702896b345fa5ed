"""What routes are handed: the services, and uploads as bytes with a name.

All of these are coroutines, because FastAPI would send a plain function through a thread of its own.
"""

from typing import Annotated

from fastapi import Depends, Request

from api.services import Services, services_of
from api.uploads import Upload, read_form, read_one


async def services(request: Request) -> Services:
    """The services of the application."""
    return services_of(request)


ServicesDep = Annotated[Services, Depends(services)]


async def place(services: ServicesDep) -> Services:
    """The services, if the executor has a place now: refusing before the body is read spares both sides the upload.

    Raises:
        Busy
    """
    services.executor.refuse_if_full()
    return services


PlaceDep = Annotated[Services, Depends(place)]


async def multipart_upload(request: Request, services: PlaceDep) -> Upload:
    """The one file of a multipart form."""
    with services.metrics.stage("receive"):
        return await read_one(request, raw=False)


async def any_upload(request: Request, services: PlaceDep) -> Upload:
    """The one file of a multipart form, or the body itself."""
    with services.metrics.stage("receive"):
        return await read_one(request, raw=True)


async def batch_upload(request: Request, services: PlaceDep) -> list[Upload]:
    """All files of a multipart form."""
    with services.metrics.stage("receive"):
        return await read_form(request, most=services.settings.max_batch_files)


MultipartUpload = Annotated[Upload, Depends(multipart_upload)]
AnyUpload = Annotated[Upload, Depends(any_upload)]
BatchUpload = Annotated[list[Upload], Depends(batch_upload)]
