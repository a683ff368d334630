"""What `POST /v1/datasets` sends: multipart, its file written to the disk as it comes, with a limit while it does.

The framework would gather the whole file in a temporary folder first, and count it afterwards.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Annotated, Any, BinaryIO, Final

from fastapi import Depends, Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from api.context import DatasetsWrite, TenantContext
from api.http.errors import UnsupportedMediaTypeError
from gan.spec import SpecProblem
from jobs.errors import BadUploadError, InvalidKeyError, UnavailableError, UploadTooLargeError
from jobs.ids import looks_like, new_id
from jobs.runtime.settings import Settings
from jobs.storage import Storage, keys

_MEGABYTE: Final = 1_000_000
# For checkpoints, which matter more.
_LEFT_FREE_BYTES: Final = 200 * 1_000_000
_WRITTEN_AT_ONCE: Final = 1 << 20
_LONGEST_FIELD: Final = 1000
_MOST_PARTS: Final = 8
# Of the form around the file: boundaries, headers and the other fields.
_FORM_BYTES: Final = 16 * 1024
_NAME: Final = re.compile(r"[\w][\w .:-]{0,99}")
_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}")
_SIDES: Final = (16, 128)
_FIELDS: Final = ("name", "size", "sha256")
# Whoever sends less holds one of few places for nothing; at first there may be a proxy to wait for.
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
                            "description": "A zip of PNG, JPEG or WebP images: a folder a class, or all at the top.",
                        },
                        "name": {
                            "type": "string",
                            "pattern": r"^\w[\w .:-]{0,99}$",
                            "description": "What jobs call it; the file's own name where it is left out.",
                        },
                        "size": {
                            "type": "integer",
                            "minimum": _SIDES[0],
                            "maximum": _SIDES[1],
                            "description": "Pixels that every image is made wide and high: cropped to its central "
                            "square and scaled. Left out: the images' own, if they are squares of one size up to "
                            "128; else 64, or 32 where most are smaller.",
                        },
                        "sha256": {
                            "type": "string",
                            "pattern": f"^{_SHA256.pattern}$",
                            "description": "The file's digest: if what comes has another, it is refused.",
                        },
                    },
                }
            }
        },
    }
}


@dataclass(frozen=True)
class Upload:
    """What was sent: its archive is stored as the upload of the data set `dataset_id`."""

    dataset_id: str
    name: str
    side: int | None
    sha256: str
    bytes: int

    def content(self) -> dict[str, object]:
        """All that makes one request another."""
        return {"name": self.name, "size": self.side, "sha256": self.sha256}


async def _upload(request: Request, context: DatasetsWrite) -> Upload:
    """The request's body, its file on the disk; where this raises, nothing is left behind.

    Raises `UnsupportedMediaTypeError`, `UploadTooLargeError`, `BadUploadError`, `UnavailableError`, 408 for one that trickles, and
    `InvalidKeyError` where the key was revoked on the way.
    """
    boundary = _boundary(request.headers.get("content-type", ""))
    most = context.settings.upload_mb * _MEGABYTE
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most + _FORM_BYTES:
        raise UploadTooLargeError(context.settings.upload_mb)
    dataset_id = new_id("ds")
    files, key = context.dataset_files, keys.upload(dataset_id)
    try:
        # What does not say how long it is may be as long as any.
        size = int(announced) if announced.isdecimal() else most
        with request.app.state.upload_places.slot(), ExitStack() as block:
            path = await run_in_threadpool(block.enter_context, files.scratch_file(key))
            block.enter_context(_room.taken(files, path, size))
            upload = await _received(request, context, boundary, dataset_id, path)
            await run_in_threadpool(files.put_file, key, path, upload.sha256)
        # It may have come for an hour.
        if not await context.is_still_open():
            raise InvalidKeyError
        return upload
    except BaseException as error:
        files.delete_prefix(dataset_id)
        if isinstance(error, OSError):
            raise UnavailableError(f"The upload cannot be stored here: {error.strerror}.") from error
        raise


async def _received(request: Request, context: TenantContext, boundary: bytes, dataset_id: str, path: Path) -> Upload:
    with path.open("wb") as file:
        form = _Form(file, context.settings.upload_mb)
        parser = MultipartParser(boundary, form.callbacks())
        gathered = bytearray()
        try:
            async for piece in _pieces(request, context.settings):
                gathered += piece
                if len(gathered) >= _WRITTEN_AT_ONCE:
                    await run_in_threadpool(parser.write, bytes(gathered))
                    gathered.clear()
            await run_in_threadpool(parser.write, bytes(gathered))
            parser.finalize()
        except ClientDisconnect:
            raise _bad("/file", "cut-off", "The upload broke off; nothing of it is kept.") from None
        except FormParserError:
            raise _bad("", "bad-format", "The body is not the multipart form that its type says.") from None
        if not form.ended:
            raise _bad("/file", "cut-off", "The upload ends before its form does; nothing of it is kept.")
        if form.file_name is None:
            raise _bad("/file", "missing", "The form needs a field 'file': a zip of images.")
    return Upload(dataset_id, _name(form), _side(form), _digest(form), form.written)


async def _pieces(request: Request, settings: Settings) -> AsyncIterator[bytes]:
    """The body as it comes. Raises `UploadTooLargeError`, and 408 when it comes too slowly or takes too long."""
    clock = asyncio.get_running_loop().time
    began, got, most = clock(), 0, settings.upload_mb * _MEGABYTE + _FORM_BYTES
    stream = request.stream()
    while True:
        patience = min(settings.upload_seconds, _HEAD_START_SECONDS + got / _SLOWEST_BYTES_PER_SECOND)
        try:
            async with asyncio.timeout_at(began + patience):
                piece = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise HTTPException(408, headers={"Connection": "close"}) from None
        got += len(piece)
        if got > most:
            raise UploadTooLargeError(settings.upload_mb)
        yield piece


@dataclass
class _Form:
    """Hears the parser: the part `file` goes to the disk, the others are short and kept."""

    file: BinaryIO
    most_mb: int
    fields: dict[str, bytes] = field(default_factory=dict)
    file_name: str | None = None
    ended: bool = False
    digest: Any = field(default_factory=hashlib.sha256)
    written: int = 0
    _parts: int = 0
    _part: str = ""
    _header: tuple[bytes, bytes] = (b"", b"")
    _headers: dict[bytes, bytes] = field(default_factory=dict)

    def callbacks(self) -> Any:
        def piece(take: Callable[[bytes], None]) -> Callable[[bytes, int, int], None]:
            return lambda data, start, end: take(data[start:end])

        return {
            "on_part_begin": self._begin,
            "on_header_field": piece(self._more_of_name),
            "on_header_value": piece(self._more_of_value),
            "on_header_end": self._header_end,
            "on_headers_finished": self._know_part,
            "on_part_data": piece(self._take),
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._parts += 1
        self._headers, self._header = {}, (b"", b"")
        if self._parts > _MOST_PARTS:
            raise _bad("", "bad-format", f"The form has more than {_MOST_PARTS} fields.")

    def _more_of_name(self, data: bytes) -> None:
        self._header = (self._header[0] + data, self._header[1])

    def _more_of_value(self, data: bytes) -> None:
        self._header = (self._header[0], self._header[1] + data)

    def _header_end(self) -> None:
        self._headers[self._header[0].lower()] = self._header[1]
        self._header = (b"", b"")

    def _know_part(self) -> None:
        _, about = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._part = about.get(b"name", b"").decode(errors="replace")
        if self._part in self.fields or (self._part == "file" and self.file_name is not None):
            raise _bad(f"/{self._part}", "repeated-field", f"The field {self._part!r} may be given once only.")
        if self._part == "file":
            self.file_name = about.get(b"filename", b"").decode(errors="replace")
        elif self._part in _FIELDS:
            self.fields[self._part] = b""
        else:
            known = "file, name, size and sha256"
            detail = f"There is no field {self._part[:200]!r}; known here: {known}."
            raise _bad(f"/{self._part[:200]}", "unknown-field", detail)

    def _take(self, data: bytes) -> None:
        if self._part != "file":
            self.fields[self._part] = (self.fields[self._part] + data)[:_LONGEST_FIELD]
            return
        self.written += len(data)
        if self.written > self.most_mb * _MEGABYTE:
            raise UploadTooLargeError(self.most_mb)
        self.digest.update(data)
        self.file.write(data)

    def _end(self) -> None:
        self.ended = True


class _DiskRoom:
    """What the disk has left for uploads, when those under way in this process have come."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._promised: dict[Path, int] = {}

    @contextmanager
    def taken(self, files: Storage, path: Path, announced: int) -> Iterator[None]:
        """Room, during the block, for an upload to `path`, and for what is unpacked of it. Raises `UnavailableError` where
        the disk would hardly hold both.
        """
        with self._lock:
            # What has come already is no longer free.
            to_come = sum(max(0, size - _size_of(other)) for other, size in self._promised.items())
            free = max(0, files.free_bytes() - to_come)
            if free < 2 * announced + _LEFT_FREE_BYTES:
                size, room = announced / _MEGABYTE, free / _MEGABYTE
                detail = (
                    f"The disk has {room:,.0f} MB free for it, which is too little for an upload of {size:,.0f} MB."
                )
                raise UnavailableError(detail)
            self._promised[path] = 2 * announced
        try:
            yield
        finally:
            with self._lock:
                del self._promised[path]


_room: Final = _DiskRoom()


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # it has not begun
        return 0


def _boundary(content_type: str) -> bytes:
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not boundary or len(boundary) > 200:
        raise UnsupportedMediaTypeError(content_type, "multipart/form-data, with a zip of images as its field 'file'")
    return boundary


def _name(form: _Form) -> str:
    """The name that was sent, or the file's. Raises `BadUploadError`."""
    sent = form.fields.get("name")
    name = PureWindowsPath(form.file_name or "").stem if sent is None else sent.decode(errors="replace")
    if not _NAME.fullmatch(name) or looks_like("ds", name):
        detail = "A data set's name has 1 to 100 letters, digits, spaces and any of . : - _, and begins with one of "
        raise _bad("/name", "bad-format", f"{detail}the first two; {name[:100]!r} has not. Send another as 'name'.")
    return name


def _side(form: _Form) -> int | None:
    text = form.fields.get("size", b"").decode(errors="replace").strip()
    if not text:
        return None
    low, high = _SIDES
    if not (text.isascii() and text.isdecimal() and len(text) < 4 and low <= int(text) <= high):
        raise _bad("/size", "out-of-range", f"size is a number of pixels from {low} to {high}, not {text[:100]!r}.")
    return int(text)


def _digest(form: _Form) -> str:
    """The file's. Raises `BadUploadError` where another was announced."""
    said, found = form.fields.get("sha256", b"").decode(errors="replace").strip(), str(form.digest.hexdigest())
    if not said:
        return found
    if not _SHA256.fullmatch(said):
        raise _bad("/sha256", "bad-format", f"sha256 is 64 hexadecimal digits, not {said[:100]!r}.")
    if said.lower() != found:
        raise _bad("/sha256", "checksum-mismatch", f"What came has the sha256 {found}, and not the one announced.")
    return found


def _bad(pointer: str, code: str, detail: str) -> BadUploadError:
    return BadUploadError([SpecProblem(pointer=pointer, code=code, detail=detail)])


def refusal(problems: Iterable[Mapping[str, Any]]) -> BadUploadError:
    """An archive that cannot be taken, in the form of every other 422."""
    return BadUploadError([SpecProblem(pointer="/file", code=p["code"], detail=p["detail"]) for p in problems])


ReceivedUpload = Annotated[Upload, Depends(_upload)]
