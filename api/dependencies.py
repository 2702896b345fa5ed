"""What routes are handed: the services, and uploads as bytes with a name.

All of these are coroutines, because FastAPI would send a plain function through a thread of its own.
"""

import asyncio
from typing import Annotated

from fastapi import Depends, Path, Request

from api.forms import BATCH_FORM, ONE_FILE_FORM, ORIGINAL_FORM, RECORDINGS_FORM, Form
from api.route_inputs import reject_repeated_parameters, reject_unknown_parameters
from api.security import RequireScope
from api.services import Services, services_of
from api.uploads import UploadForm, read_upload
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


class UploadReader:
    """A dependency that reads the body of a route: its form, or the recording itself.

    Args:
        form: what the route takes.
    """

    def __init__(self, form: Form) -> None:
        self.form = form

    async def __call__(self, request: Request, services: CapacityDep) -> UploadForm:
        """Read it.

        Raises:
            UnsupportedMediaType, MalformedMultipart, MissingPart, TooManyParts, UnknownParameter, InvalidRequest
        """
        with services.metrics.time_stage("receive"):
            most = services.settings.max_batch_files if self.form.takes_several else 1
            return await read_upload(request, self.form, most)


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


class RecordingsReader:
    """A dependency that reads recordings and their annotation, once the dataset can take them.

    Looking at the dataset before the body may spare both sides the upload.
    """

    form = RECORDINGS_FORM

    async def __call__(self, request: Request, collection: CollectionDep, services: CapacityDep) -> UploadForm:
        """Read them.

        Raises:
            DatasetReadOnly, UnsupportedMediaType, MalformedMultipart, MissingPart, TooManyParts, InvalidRequest
        """
        await asyncio.to_thread(collection.require_writable)
        with services.metrics.time_stage("receive"):
            return await read_upload(request, self.form, services.settings.max_batch_files)


OriginalUpload = Annotated[UploadForm, Depends(UploadReader(ORIGINAL_FORM))]
AnyUpload = Annotated[UploadForm, Depends(UploadReader(ONE_FILE_FORM))]
BatchUpload = Annotated[UploadForm, Depends(UploadReader(BATCH_FORM))]
RecordingsUpload = Annotated[UploadForm, Depends(RecordingsReader())]
