"""Dependencies of routes: the services, and uploads as bytes with a name.

All are coroutines, because FastAPI runs plain functions in a thread.
"""

import asyncio
from typing import Annotated

from fastapi import Depends, Path, Request

from api.forms import BATCH_FORM, FEATURES_FORM, ONE_FILE_FORM, ORIGINAL_FORM, RECORDINGS_FORM, Form
from api.route_inputs import reject_repeated_parameters, reject_unknown_parameters
from api.services import Services, services_of
from api.uploads import UploadForm, read_upload
from ml.dataset.collection.store import Collection
from ml.dataset.paths import NAME_PATTERN

# For every router under /v1; AuthFirstRoute checks the key before.
RejectUnknownParameters = Depends(reject_unknown_parameters)
# For /inference, which ignores unknown parameters.
RejectRepeatedParameters = Depends(reject_repeated_parameters)


async def services(request: Request) -> Services:
    """Return the services of the application."""
    return services_of(request)


ServicesDep = Annotated[Services, Depends(services)]


async def require_capacity(services: ServicesDep) -> Services:
    """Return the services if the executor has a free place.

    A refusal before the body is read saves the upload.

    Raises:
        Busy
    """
    services.executor.refuse_if_full()
    return services


CapacityDep = Annotated[Services, Depends(require_capacity)]


class UploadReader:
    """Dependency that reads the body of a request: a form, or the recording itself.

    Args:
        form: form of the route.
    """

    def __init__(self, form: Form) -> None:
        self.form = form

    async def __call__(self, request: Request, services: CapacityDep) -> UploadForm:
        """Read the body.

        Raises:
            UnsupportedMediaType, MalformedMultipart, MissingPart, TooManyParts, UnknownParameter, InvalidRequest
        """
        with services.metrics.time_stage("receive"):
            max_files = services.settings.max_batch_files if self.form.takes_several else 1
            return await read_upload(request, self.form, max_files)


DatasetNamePath = Annotated[
    str,
    Path(
        description="Name of the dataset: 1 to 64 lower-case letters, digits, dots, hyphens and underscores. The first "
        "one is a letter or a digit.",
        json_schema_extra={"pattern": f"^{NAME_PATTERN.pattern}$"},
        examples=["hall-3"],
    ),
]


async def collection(name: DatasetNamePath, services: ServicesDep) -> Collection:
    """Return the dataset of the path, whether or not it exists.

    Raises:
        InvalidName
    """
    return services.collection(name)


CollectionDep = Annotated[Collection, Depends(collection)]


class RecordingsReader:
    """Dependency that reads recordings and their annotation, if the dataset accepts uploads.

    The dataset is checked before the body is read: a refusal then saves the upload.
    """

    form = RECORDINGS_FORM

    async def __call__(self, request: Request, collection: CollectionDep, services: CapacityDep) -> UploadForm:
        """Read the recordings.

        Raises:
            DatasetReadOnly, UnsupportedMediaType, MalformedMultipart, MissingPart, TooManyParts, InvalidRequest
        """
        await asyncio.to_thread(collection.require_writable)
        with services.metrics.time_stage("receive"):
            return await read_upload(request, self.form, services.settings.max_batch_files)


OriginalUpload = Annotated[UploadForm, Depends(UploadReader(ORIGINAL_FORM))]
AnyUpload = Annotated[UploadForm, Depends(UploadReader(ONE_FILE_FORM))]
FeaturesUpload = Annotated[UploadForm, Depends(UploadReader(FEATURES_FORM))]
BatchUpload = Annotated[UploadForm, Depends(UploadReader(BATCH_FORM))]
RecordingsUpload = Annotated[UploadForm, Depends(RecordingsReader())]
