"""Request bodies as files in memory: a multipart form, or the recording itself.

python-multipart parses the form. Starlette's wrapper around it writes every file over 1 MB to the disk, which can be
full, and copies each byte twice more.
"""

import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote_to_bytes

from fastapi import Request
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from api.errors import InvalidRequest, MalformedMultipart, MissingPart, TooManyParts, UnsupportedMediaType
from api.forms import FILE_PART, MULTIPART, OTHER_RAW_TYPES, Form
from api.route_inputs import RouteInputs
from ml.system.validation import MAX_SHOWN_LENGTH

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_PART_HEADER_BYTES = 8192
# Parts are parsed on the event loop: 32 MiB of empty ones would block it for ten seconds.
MAX_OTHER_PARTS = 100
MAX_NAMES_SHOWN = 10  # names of other parts in an error message
# The parser ignores this form of a file name, of RFC 8187: a character set, perhaps a language, percent-encoded text.
EXTENDED_FILE_NAME = re.compile(rb";\s*filename\*\s*=\s*([A-Za-z0-9-]+)'[A-Za-z0-9-]*'([^;\s]+)", re.IGNORECASE)
# A quoted value; some clients quote the extended file name, too, which RFC 8187 does not allow.
QUOTED = re.compile(rb'(;\s*filename\*\s*=\s*)?"((?:\\.|[^"\\])*)"', re.IGNORECASE)
ENCODED_WORD = "=?"  # RFC 2047: .NET writes a name that is not ASCII so, and plainly in its extended form
TYPE_HINT = "Let the HTTP client write the header Content-Type: it chooses the boundary."
FORM_EXAMPLE = "curl -F file=@recording.wav"
RAW_EXAMPLE = "curl -H Content-Type:audio/wav --data-binary @recording.wav"


class Upload(NamedTuple):
    """Uploaded file, and the name of its part. Its own name is stored and shown, but never used as a path."""

    name: str
    content: bytearray
    part: str = FILE_PART


class UploadForm(NamedTuple):
    """Files of a multipart form, and its text parts by name: those that are sent once, and lists."""

    files: list[Upload]
    fields: dict[str, str]
    lists: dict[str, list[str]]


async def read_upload(request: Request, form: Form, max_files: int = 1) -> UploadForm:
    """Read the parts ``file`` and the text parts of a multipart form, or the body as one recording.

    Args:
        request: request with the body.
        form: form of the route.
        max_files: largest number of files; at least one is expected.

    Raises:
        UnsupportedMediaType, MalformedMultipart, MissingPart, TooManyParts, UnknownParameter
        InvalidRequest: a text part is given twice, is too long or is not UTF-8.
    """
    kind = _media_type(request)
    if form.raw_types and (kind.startswith("audio/") or kind in OTHER_RAW_TYPES):
        content = bytearray()
        async for chunk in request.stream():
            content += chunk
        return UploadForm([Upload("body", content)], {}, {})
    if kind != MULTIPART:
        found = f"The body is of type {kind[:MAX_SHOWN_LENGTH]!r}" if kind else "The request has no Content-Type"
        expected = ", ".join(("audio/*", *OTHER_RAW_TYPES))
        raise UnsupportedMediaType(
            f"{found}; a form of type {MULTIPART} was expected ({FORM_EXAMPLE})"
            f"{f', or a recording of type {expected} ({RAW_EXAMPLE})' if form.raw_types else ''}."
        )
    boundary = parse_options_header(request.headers["content-type"])[1].get(b"boundary")
    if not boundary:
        raise MalformedMultipart(
            f"The Content-Type has no boundary, which separates the parts of the form. {TYPE_HINT}"
        )
    builder = _UploadFormBuilder(max_files, RouteInputs.of(request), form)
    try:
        parser = MultipartParser(boundary, builder.callbacks())
        async for chunk in request.stream():
            parser.write(chunk)
        parser.finalize()
    except FormParserError as error:
        if not builder.has_begun:
            raise MalformedMultipart(
                f"The body does not begin with the boundary that its Content-Type names, "
                f"'--{boundary.decode('latin-1')[:MAX_SHOWN_LENGTH]}'. {TYPE_HINT}"
            ) from error
        raise MalformedMultipart(f"The multipart form cannot be read: {error}") from error
    return builder.build()


class _UploadFormBuilder:
    """Builder of an upload form from the events of the parser."""

    def __init__(self, max_files: int, declared: RouteInputs, form: Form) -> None:
        self._max_files = max_files
        self._form = form
        self._declared = declared
        self._uploads: list[Upload] = []
        self._fields: dict[str, list[bytearray]] = {}
        self._others: set[str] = set()
        self._ignored = 0
        self._open = False
        self.has_begun = False
        self._disposition = bytearray()
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._content: bytearray | None = None  # content of the current part; None if the part is ignored

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

    def build(self) -> UploadForm:
        """Return the form after its end."""
        if self._open:
            raise MalformedMultipart("The multipart form ends inside a part: its closing boundary is missing.")
        required, names = self._form.required, {*self._fields, *(upload.part for upload in self._uploads)}
        if required not in names:
            hint = " That part has no file name: send it as a file." if required in self._others else ""
            shown = sorted({*self._others, *names})[:MAX_NAMES_SHOWN]
            found, kind = f"the parts {shown}" if shown else "no part", "file" if required == FILE_PART else "text"
            raise MissingPart(f"The form has {found}; a {kind} in a part called {required!r} was expected.{hint}")
        texts = {name: [_text(name, each) for each in contents] for name, contents in self._fields.items()}
        lists = {name: found for name, found in texts.items() if name in self._form.lists}
        return UploadForm(self._uploads, {name: found[0] for name, found in texts.items() if name not in lists}, lists)

    def _on_part_begin(self) -> None:
        self._open = self.has_begun = True
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
        file_name = _file_name(options.get(b"filename", b"").decode("utf-8", "replace"), bytes(self._disposition))
        is_file = name in self._form.files
        if not is_file and name in self._declared.form_parts:
            self._begin_field(name)
            return
        if not is_file or not file_name:
            if self._form.closed:
                self._declared.check_part(name)
            self._content = None
            self._ignored += 1
            if self._ignored > MAX_OTHER_PARTS:
                raise TooManyParts(f"The form has more than {MAX_OTHER_PARTS} parts that are not files.")
            self._others.add(name)
            return
        if sum(upload.part == name for upload in self._uploads) == self._max_files:
            hint = "; POST /v1/predict/batch takes several" if self._max_files == 1 else ""
            raise TooManyParts(f"The form has too many files; this route takes at most {self._max_files}{hint}.")
        self._content = bytearray()
        self._uploads.append(Upload(file_name, self._content, name))

    def _begin_field(self, name: str) -> None:
        known = self._fields.setdefault(name, [])
        if known and name not in self._form.lists:
            raise InvalidRequest(f"The form has the part {name!r} twice; one was expected, for all files together.")
        if len(known) == self._max_files:
            raise TooManyParts(
                f"The form has more than {self._max_files} parts {name!r}; one for each file was expected."
            )
        self._content = bytearray()
        known.append(self._content)

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._content is not None:
            self._content += memoryview(data)[start:end]
            self._check_field(self._content)

    def _check_field(self, content: bytearray) -> None:
        is_text = any(content is field for fields in self._fields.values() for field in fields[-1:])
        if len(content) > self._form.max_text_bytes and is_text:
            raise InvalidRequest(f"A text part of the form is longer than {self._form.max_text_bytes} bytes.")

    def _on_part_end(self) -> None:
        self._open = False


def _file_name(plain: str, disposition: bytes) -> str:
    """Return the file name of a part: the plain one, or else the extended one; empty without any."""
    return plain if plain and not plain.startswith(ENCODED_WORD) else _extended_name(disposition) or plain


def _extended_name(disposition: bytes) -> str:
    """Return the file name of ``filename*=UTF-8''fan%203.wav``; empty without one."""
    found = EXTENDED_FILE_NAME.search(QUOTED.sub(lambda value: value[1] + value[2] if value[1] else b'""', disposition))
    if found is None:
        return ""
    return unquote_to_bytes(found[2]).decode("utf-8" if found[1].lower() == b"utf-8" else "latin-1", "replace")


def _text(name: str, content: bytearray) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The part {name!r} of the form is not UTF-8 text: {error.reason}.") from error


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").split(";")[0].strip().lower()
