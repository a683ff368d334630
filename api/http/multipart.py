"""The multipart body of `POST /v1/datasets`: its file goes to the disk while it arrives, and its size is limited.

FastAPI would first store the whole file in a temporary folder, and check its size afterwards.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final

from fastapi import Depends, Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from api.context import DatasetsWrite, TenantContext
from api.http import upload_names
from api.http.errors import UnsupportedMediaTypeError
from api.idempotency import Idempotent, IdempotentRequest
from gan.spec import SpecProblem, nfc, pointer_to
from jobs.errors import BadUploadError, InvalidKeyError, UnavailableError, UploadTooLargeError
from jobs.ids import new_id
from jobs.runtime.settings import Settings
from jobs.storage import Storage, keys
from jobs.store import datasets

_MEGABYTE: Final = 1_000_000
# Reserved for checkpoints, which matter more than uploads.
_RESERVED_BYTES: Final = 200 * 1_000_000
_CHUNK_BYTES: Final = 1 << 20
_MOST_FIELD_BYTES: Final = 1000
_MOST_PARTS: Final = 8
# The form around the file: boundaries, headers and the other fields.
_FORM_BYTES: Final = 16 * 1024
_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}")
_SIDES: Final = (16, 128)
_FIELDS: Final = ("name", "size", "sha256")
# A slower client would block one of the few concurrent uploads. The extra time at the start is for a slow proxy.
_SLOWEST_BYTES_PER_SECOND: Final = 16 * 1024
_HEAD_START_SECONDS: Final = 30.0

BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "additionalProperties": False,
                    "properties": {
                        "file": {
                            "type": "string",
                            "format": "binary",
                            "description": "A zip of PNG, JPEG or WebP images: one folder per class, or all images "
                            "at the top level, without classes.",
                        },
                        "name": {
                            "type": "string",
                            "pattern": upload_names.PATTERN,
                            "description": "The name of the data set, which jobs use. Default: the name of the file, "
                            "without its extension. If it is sent before the file, a name that is not valid or is "
                            "taken is refused before the file is read.",
                        },
                        "size": {
                            "type": "integer",
                            "minimum": _SIDES[0],
                            "maximum": _SIDES[1],
                            "description": "Width and height of every image in pixels: each image is cropped to its "
                            "central square and scaled. Default: the size of the images, if all are squares of one "
                            "size up to 128; otherwise 64, or 32 if most images are smaller than 64.",
                        },
                        "sha256": {
                            "type": "string",
                            "pattern": f"^{_SHA256.pattern}$",
                            "description": "The SHA-256 digest of the file. A file with another digest is refused.",
                        },
                    },
                }
            }
        },
    }
}


@dataclass(frozen=True)
class Upload:
    """A received upload, whose archive is stored as the upload of the data set `dataset_id`."""

    dataset_id: str
    name: str
    side: int | None
    sha256: str
    bytes: int

    def content(self) -> dict[str, object]:
        """Return what identifies the request, for `Idempotency-Key`."""
        return {"name": self.name, "size": self.side, "sha256": self.sha256}


async def _upload(request: Request, context: DatasetsWrite, idempotent: Idempotent) -> Upload:
    """Receive the body and store its file. Leave nothing in the storage after an error.

    Raises `UnsupportedMediaTypeError`, `UploadTooLargeError`, `UploadsBusyError`, `BadUploadError`,
    `DatasetExistsError` and `UnavailableError`; 408 for a body that is too slow; and `InvalidKeyError` if the key was
    revoked meanwhile.
    """
    boundary = _boundary(request.headers.get("content-type", ""))
    most_bytes = context.settings.upload_mb * _MEGABYTE
    content_length = request.headers.get("content-length", "")
    if content_length.isdecimal() and int(content_length) > most_bytes + _FORM_BYTES:
        raise UploadTooLargeError(context.settings.upload_mb)
    dataset_id = new_id("ds")
    files, key = context.dataset_files, keys.upload(dataset_id)
    try:
        # A body without Content-Length may be as large as the limit.
        size = int(content_length) if content_length.isdecimal() else most_bytes
        with request.app.state.upload_limiter.slot(), ExitStack() as stack:
            path = await run_in_threadpool(stack.enter_context, files.scratch_file(key))
            stack.enter_context(_disk_reservations.reserve(files, path, size))
            upload = await _receive(request, context, idempotent, boundary, dataset_id, path)
            await run_in_threadpool(files.put_file, key, path, upload.sha256)
        # The upload may have taken an hour, and the key may be revoked by now.
        if not await context.is_still_open():
            raise InvalidKeyError
        return upload
    except BaseException as error:
        files.delete_prefix(dataset_id)
        if isinstance(error, OSError):
            raise UnavailableError(f"The service cannot store the upload: {error.strerror}.") from error
        raise


async def _receive(
    request: Request,
    context: TenantContext,
    idempotent: IdempotentRequest,
    boundary: bytes,
    dataset_id: str,
    path: Path,
) -> Upload:
    def require_free(name: str) -> None:
        with context.read() as s:
            # A request that is repeated with its key gets its first response, although its name is taken by now.
            if not idempotent.is_known(s):
                datasets.require_free(s, name)

    with path.open("wb") as file:
        form = _FormReader(file, context.settings.upload_mb, require_free)
        parser = MultipartParser(boundary, form.callbacks())
        buffer = bytearray()
        try:
            async for chunk in _chunks(request, context.settings):
                buffer += chunk
                if len(buffer) >= _CHUNK_BYTES:
                    await run_in_threadpool(parser.write, bytes(buffer))
                    buffer.clear()
            await run_in_threadpool(parser.write, bytes(buffer))
            parser.finalize()
        except ClientDisconnect:
            detail = "The connection was lost during the upload; the service has kept nothing of it."
            raise _bad_upload(["file"], "cut-off", detail) from None
        except FormParserError:
            detail = "The body is not a valid multipart form with the boundary in its Content-Type."
            raise _bad_upload([], "bad-format", detail) from None
        if not form.ended:
            detail = "The body ends before the end of its form; the service has kept nothing of it."
            raise _bad_upload(["file"], "cut-off", detail)
        if form.file_name is None:
            raise _bad_upload(["file"], "missing", "The form must have a field 'file' with a zip of images.")
    return Upload(dataset_id, _name(form), _side(form), _digest(form), form.written)


async def _chunks(request: Request, settings: Settings) -> AsyncIterator[bytes]:
    """Yield the body as it arrives. Raises `UploadTooLargeError`, and 408 if it is too slow or takes too long."""
    clock = asyncio.get_running_loop().time
    started, received, most_bytes = clock(), 0, settings.upload_mb * _MEGABYTE + _FORM_BYTES
    stream = request.stream()
    while True:
        allowed = min(settings.upload_seconds, _HEAD_START_SECONDS + received / _SLOWEST_BYTES_PER_SECOND)
        try:
            async with asyncio.timeout_at(started + allowed):
                chunk = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise HTTPException(408, headers={"Connection": "close"}) from None
        received += len(chunk)
        if received > most_bytes:
            raise UploadTooLargeError(settings.upload_mb)
        yield chunk


@dataclass
class _FormReader:
    """The handler of the parser's events: it writes the part `file` to the disk, and keeps the other, short parts."""

    file: BinaryIO
    most_mb: int
    require_free: Callable[[str], None]
    """Raises an error if a data set of this name exists."""
    fields: dict[str, bytes] = field(default_factory=dict)
    file_name: str | None = None
    ended: bool = False
    digest: Any = field(default_factory=hashlib.sha256)
    written: int = 0
    _beginning: bytes = b""
    _parts: int = 0
    _part: str = ""
    _header: tuple[bytes, bytes] = (b"", b"")
    _headers: dict[bytes, bytes] = field(default_factory=dict)

    def callbacks(self) -> Any:
        """Return the callbacks for `MultipartParser`."""

        def sliced(handle: Callable[[bytes], None]) -> Callable[[bytes, int, int], None]:
            return lambda data, start, end: handle(data[start:end])

        return {
            "on_part_begin": self._on_part_begin,
            "on_header_field": sliced(self._on_header_field),
            "on_header_value": sliced(self._on_header_value),
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": sliced(self._on_part_data),
            "on_end": self._on_end,
        }

    def _on_part_begin(self) -> None:
        self._parts += 1
        self._headers, self._header = {}, (b"", b"")
        if self._parts > _MOST_PARTS:
            raise _bad_upload([], "bad-format", f"The form has more than {_MOST_PARTS} fields.")

    def _on_header_field(self, data: bytes) -> None:
        self._header = (self._header[0] + data, self._header[1])

    def _on_header_value(self, data: bytes) -> None:
        self._header = (self._header[0], self._header[1] + data)

    def _on_header_end(self) -> None:
        self._headers[self._header[0].lower()] = self._header[1]
        self._header = (b"", b"")

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._part = options.get(b"name", b"").decode(errors="replace")
        if self._part in self.fields or (self._part == "file" and self.file_name is not None):
            raise _bad_upload([self._part], "repeated-field", f"The field {self._part!r} may be given only once.")
        if self._part == "file":
            self.file_name = options.get(b"filename", b"").decode(errors="replace")
            self._judge_fields()
        elif self._part in _FIELDS:
            self.fields[self._part] = b""
        else:
            detail = f"There is no field {self._part[:200]!r}; the fields are file, name, size and sha256."
            raise _bad_upload([self._part[:200]], "unknown-field", detail)

    def _judge_fields(self) -> None:
        """Refuse what is wrong with the fields in front of the file, before the file is read."""
        if "name" in self.fields:
            self.require_free(_name(self))
        _side(self)

    def _judge_beginning(self, data: bytes) -> None:
        missing = upload_names.BEGINNING - len(self._beginning)
        self._beginning += data[:missing]
        if len(self._beginning) == upload_names.BEGINNING and (detail := upload_names.file_problem(self._beginning)):
            raise _bad_upload(["file"], "corrupt-archive", detail)

    def _on_part_data(self, data: bytes) -> None:
        if self._part != "file":
            self.fields[self._part] = (self.fields[self._part] + data)[:_MOST_FIELD_BYTES]
            return
        if len(self._beginning) < upload_names.BEGINNING:
            self._judge_beginning(data)
        self.written += len(data)
        if self.written > self.most_mb * _MEGABYTE:
            raise UploadTooLargeError(self.most_mb)
        self.digest.update(data)
        self.file.write(data)

    def _on_end(self) -> None:
        self.ended = True


class _DiskReservations:
    """The bytes of disk that the uploads in progress in this process will still need."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reserved: dict[Path, int] = {}

    @contextmanager
    def reserve(self, files: Storage, path: Path, upload_bytes: int) -> Iterator[None]:
        """Reserve disk space during the block: for an upload to `path`, and as much again for its unpacked images.

        Raises `UnavailableError` if the disk has too little space for both.
        """
        with self._lock:
            # The part of an upload that is on the disk already does not count as free any more.
            outstanding = sum(max(0, size - _size_of(other)) for other, size in self._reserved.items())
            free = max(0, files.free_bytes() - outstanding)
            needed = 2 * upload_bytes + _RESERVED_BYTES
            if free < needed:
                raise UnavailableError(
                    f"The disk of the service has {_size(free)} free, and needs {_size(needed)}: "
                    f"{_size(upload_bytes)} for this upload, as much for its images, and {_size(_RESERVED_BYTES)} "
                    "for checkpoints."
                )
            self._reserved[path] = 2 * upload_bytes
        try:
            yield
        finally:
            with self._lock:
                del self._reserved[path]


_disk_reservations: Final = _DiskReservations()


def _size(count: int) -> str:
    """Return a number of bytes for people, in MB or in kB."""
    return f"{count / _MEGABYTE:,.0f} MB" if count >= _MEGABYTE else f"{count / 1000:,.1f} kB"


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # nothing has arrived yet
        return 0


def _boundary(content_type: str) -> bytes:
    media_type, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if media_type != b"multipart/form-data" or not boundary or len(boundary) > 200:
        raise UnsupportedMediaTypeError(content_type, "multipart/form-data, with a zip of images as its field 'file'")
    return boundary


def _name(form: _FormReader) -> str:
    """Return the field `name`, or the name of the file. Raises `BadUploadError`."""
    sent = form.fields.get("name")
    name = upload_names.name_of_file(form.file_name or "") if sent is None else nfc(sent.decode(errors="replace"))
    if detail := upload_names.name_problem(name):
        raise _bad_upload(["name"], "bad-format", detail)
    return name


def _side(form: _FormReader) -> int | None:
    """Return the field `size` in pixels; None if it was not sent. Raises `BadUploadError`."""
    text = form.fields.get("size", b"").decode(errors="replace").strip()
    if not text:
        return None
    low, high = _SIDES
    if not (text.isascii() and text.isdecimal() and len(text) < 4 and low <= int(text) <= high):
        detail = f"size must be a number of pixels from {low} to {high}, not {text[:100]!r}."
        raise _bad_upload(["size"], "out-of-range", detail)
    return int(text)


def _digest(form: _FormReader) -> str:
    """Return the SHA-256 of the file. Raises `BadUploadError` if the field `sha256` has another one."""
    expected = form.fields.get("sha256", b"").decode(errors="replace").strip()
    actual = str(form.digest.hexdigest())
    if not expected:
        return actual
    if not _SHA256.fullmatch(expected):
        detail = f"sha256 must be 64 hexadecimal digits, not {expected[:100]!r}."
        raise _bad_upload(["sha256"], "bad-format", detail)
    if expected.lower() != actual:
        detail = f"The sha256 of the received file is {actual}, not the one in the field 'sha256'."
        raise _bad_upload(["sha256"], "checksum-mismatch", detail)
    return actual


def _bad_upload(path: Sequence[str], code: str, detail: str) -> BadUploadError:
    return BadUploadError([SpecProblem(pointer=pointer_to(path), code=code, detail=detail)])


def refusal(problems: Iterable[Mapping[str, Any]]) -> BadUploadError:
    """Return the error for an archive with these problems, which `jobs.uploads.inspect` has found."""
    return BadUploadError([SpecProblem(pointer="/file", code=p["code"], detail=p["detail"]) for p in problems])


ReceivedUpload = Annotated[Upload, Depends(_upload)]
