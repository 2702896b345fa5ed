"""Request bodies as files in memory: a multipart form, or the recording itself.

The form is parsed by python-multipart. Starlette's wrapper around it would put every file over 1 MB on disk, which can
be full, and copies each byte twice more.
"""

from typing import TYPE_CHECKING, NamedTuple

from fastapi import Request
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from api.errors import InvalidRequest, MalformedMultipart, MissingPart, TooManyParts, UnsupportedMediaType
from api.forms import FILE_PART, FLAC_TYPES, MULTIPART, WAV_TYPES, Form
from api.route_inputs import RouteInputs

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

RAW_TYPES = (*WAV_TYPES, *FLAC_TYPES, "application/octet-stream")
MAX_PART_HEADER_BYTES = 8192
# Parts are parsed on the event loop: 32 MiB of empty ones would hold it for ten seconds.
MAX_OTHER_PARTS = 100
MAX_NAMES_SHOWN = 10  # of other parts, in the sentence that says which were there
MAX_FIELD_BYTES = 4096  # of one part that is text


class Upload(NamedTuple):
    """A file as a client sent it. The name is only ever echoed, never used as a path."""

    name: str
    content: bytearray


class UploadForm(NamedTuple):
    """The files of a multipart form, and the parts of it that are text, by their names."""

    files: list[Upload]
    fields: dict[str, str]


async def read_upload(request: Request, form: Form, most: int = 1) -> UploadForm:
    """The files called ``file`` of a multipart form and its parts that are text; or the body as one recording.

    Args:
        request: whose body it is.
        form: the form of the route.
        most: files; there must be one at least.

    Raises:
        UnsupportedMediaType, MalformedMultipart, MissingPart, TooManyParts, UnknownParameter
        InvalidRequest: a part that is text is there twice, is too long or is no text.
    """
    kind = _media_type(request)
    raw_types = RAW_TYPES if form.raw_types else ()
    if kind in raw_types:
        content = bytearray()
        async for chunk in request.stream():
            content += chunk
        return UploadForm([Upload("body", content)], {})
    if kind != MULTIPART:
        expected = " or ".join((MULTIPART, *raw_types))
        raise UnsupportedMediaType(f"The body is of type {kind!r}; {expected} was expected.")
    boundary = parse_options_header(request.headers["content-type"])[1].get(b"boundary")
    if not boundary:
        raise MalformedMultipart("The Content-Type names no boundary between the parts of the form.")
    builder = _UploadFormBuilder(most, RouteInputs.of(request), form.closed)
    try:
        parser = MultipartParser(boundary, builder.callbacks())
        async for chunk in request.stream():
            parser.write(chunk)
        parser.finalize()
    except FormParserError as error:
        raise MalformedMultipart(f"The multipart form cannot be read: {error}") from error
    return builder.whole()


class _UploadFormBuilder:
    """Collects the parts as the parser comes upon them."""

    def __init__(self, most: int, declared: RouteInputs, strict: bool) -> None:
        self._most = most
        self._strict = strict
        self._declared = declared
        self._uploads: list[Upload] = []
        self._fields: dict[str, bytearray] = {}
        self._others: set[str] = set()
        self._passed_over = 0
        self._open = False
        self._disposition = bytearray()
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._content: bytearray | None = None  # of the part that is being read; None where it is passed over

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._on_part_begin,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_part_end": self._on_part_end,
        }

    def whole(self) -> UploadForm:
        """What was in it, once all of it is read."""
        if self._open:
            raise MalformedMultipart("The multipart form ends inside a part: its closing boundary is missing.")
        if not self._uploads:
            hint = " It came without a file name: send it as a file." if FILE_PART in self._others else ""
            names = sorted(self._others)[:MAX_NAMES_SHOWN]
            raise MissingPart(
                f"The form has the parts {names}; a file in a part called {FILE_PART!r} was expected.{hint}"
            )
        return UploadForm(self._uploads, {name: _text(name, content) for name, content in self._fields.items()})

    def _on_part_begin(self) -> None:
        self._open = True
        self._disposition.clear()

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]
        self._check_header()

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]
        self._check_header()

    def _check_header(self) -> None:
        if len(self._header_name) + len(self._header_value) > MAX_PART_HEADER_BYTES:
            raise MalformedMultipart(f"A header of a part is longer than {MAX_PART_HEADER_BYTES} bytes.")

    def _on_header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition[:] = self._header_value
        self._header_name.clear()
        self._header_value.clear()

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(bytes(self._disposition))
        if b"name" not in options:
            raise MalformedMultipart("A part of the form has no name in its Content-Disposition.")
        name = options[b"name"].decode("utf-8", "replace")
        file_name = options.get(b"filename", b"").decode("utf-8", "replace")
        if name != FILE_PART and name in self._declared.form_parts:
            self._begin_field(name)
            return
        if name != FILE_PART or not file_name:
            if self._strict:
                self._declared.check_part(name)
            self._content = None
            self._passed_over += 1
            if self._passed_over > MAX_OTHER_PARTS:
                raise TooManyParts(f"The form has more than {MAX_OTHER_PARTS} parts that are no {FILE_PART!r}.")
            self._others.add(name)
            return
        if len(self._uploads) == self._most:
            hint = "; POST /v1/predict/batch takes several" if self._most == 1 else ""
            raise TooManyParts(f"The form has more files than the {self._most} that are taken here{hint}.")
        self._content = bytearray()
        self._uploads.append(Upload(file_name, self._content))

    def _begin_field(self, name: str) -> None:
        if name in self._fields:
            raise InvalidRequest(f"The form has the part {name!r} twice; it holds for every file, so one was expected.")
        self._content = self._fields[name] = bytearray()

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._content is not None:
            self._content += memoryview(data)[start:end]
            self._check_field(self._content)

    def _check_field(self, content: bytearray) -> None:
        if len(content) > MAX_FIELD_BYTES and any(content is field for field in self._fields.values()):
            raise InvalidRequest(f"A part of the form that is text is longer than {MAX_FIELD_BYTES} bytes.")

    def _on_part_end(self) -> None:
        self._open = False


def _text(name: str, content: bytearray) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The part {name!r} of the form is no text in UTF-8: {error.reason}.") from error


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").split(";")[0].strip().lower()
