"""Rows of the matrix about uploads: multipart bodies, archives and images."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

from tests.gan.uploads.zips import broken, files, zipped
from tests.hostile import payloads
from tests.hostile.row import (
    END_OF_FORM,
    FILE_PART,
    HostileRow,
    begin_upload,
    many_headers,
    raw_request,
    send_aborted_upload,
    send_slowly,
    small_picture,
)
from tests.hostile.target import FORM, Target, part


def _zip(name: str, wanted: str, make: Callable[[], bytes], **fields: str) -> HostileRow:
    return HostileRow("archive", name, (wanted,), lambda target: target.upload(make(), **fields))


def _image(name: str, code: str, make: Callable[[], bytes], suffix: str = "png") -> HostileRow:
    wanted = f"201 failed {code}"
    return HostileRow("image", name, (wanted,), lambda t: t.upload(payloads.with_images(make(), suffix=suffix)))


def _form(name: str, wanted: str, data: bytes, content_type: str = FORM["Content-Type"]) -> HostileRow:
    headers = {"Content-Type": content_type}
    return HostileRow(
        "upload", name, (wanted,), lambda t: t.ask("POST", "/v1/datasets", content=data, headers=headers)
    )


def uploads() -> Iterator[HostileRow]:
    good = part("file", zipped(payloads.GOOD), "a.zip")
    yield _form("not a form", "415 unsupported-media-type", b"PK", "application/zip")
    yield _form("no boundary", "415 unsupported-media-type", FILE_PART + END_OF_FORM, "multipart/form-data")
    yield _form("another boundary", "422 bad-format", b"--other\r\n\r\n")
    yield _form("cut off inside a part", "422 cut-off", FILE_PART)
    yield _form("no file", "422 missing", part("name", b"x") + END_OF_FORM)
    yield _form("an unknown field", "422 unknown-field", part("path", b"/etc") + END_OF_FORM)
    yield _form("the file twice", "422 repeated-field", FILE_PART + FILE_PART + END_OF_FORM)
    yield _form("a header of 1 MB", "422 bad-format", part("x" * 1_000_000, b"x") + END_OF_FORM)
    yield _form("1,000 headers", "422 bad-format", many_headers(1_000))
    yield _form(
        "another digest than announced", "422 checksum-mismatch", part("sha256", b"0" * 64) + good + END_OF_FORM
    )
    yield _form("a name that is a path", "422 bad-format", part("name", b"../x") + good + END_OF_FORM)
    yield _form(
        "a name with a right-to-left override",
        "422 bad-format",
        part("name", "a\u202eb".encode()) + good + END_OF_FORM,
    )
    yield _form("a size of 10^9", "422 out-of-range", part("size", b"1000000000") + good + END_OF_FORM)
    yield raw_request(
        "upload", "1 TB announced", ("413 body-too-large",), lambda t: [begin_upload(t, 10**12), FILE_PART]
    )
    yield raw_request(
        "upload",
        "more than announced",
        ("422 cut-off", "422 bad-format"),
        lambda t: [begin_upload(t, 20), FILE_PART + END_OF_FORM],
    )
    yield HostileRow("upload", "aborted", ("nothing kept",), send_aborted_upload)
    yield HostileRow("upload", "a slow upload", ("408 request-timeout",), send_slowly, slow=True)


def archives() -> Iterator[HostileRow]:
    unsafe = "422 unsafe-archive"
    yield _zip("not a zip", "422 corrupt-archive", lambda: b"no zip at all")
    yield _zip("half a zip", "422 corrupt-archive", lambda: zipped(payloads.GOOD)[:5000])
    for name in (
        "../../evil.png",
        "/etc/evil.png",
        "C:/evil.png",
        "bag\\evil.png",
        "bag/\u202egnp.png",
        "bag/a\npng.png",
    ):
        yield _zip(f"an entry {name!a}", unsafe, functools.partial(payloads.with_entry, name))
    yield _zip("NUL in a name", unsafe, payloads.with_nul_in_name)
    yield _zip("a symbolic link", unsafe, payloads.link)
    yield _zip("a device", unsafe, payloads.device)
    yield _zip("encrypted", unsafe, payloads.encrypted)
    yield _zip("a nested archive", unsafe, lambda: payloads.with_entry("bag/in.zip", zipped(payloads.GOOD)))
    yield _zip("a name twice", unsafe, payloads.with_duplicate_entry)
    yield _zip("names that differ in case", unsafe, lambda: payloads.with_entry("BAG/0000.PNG"))
    yield _zip("200,001 entries", unsafe, payloads.many_entries)
    yield _zip("overlapping entries", unsafe, payloads.overlapping)
    yield _zip("LZMA", unsafe, payloads.lzma)
    yield _zip("200 MB in 200 KB", "422 archive-too-large", payloads.bomb)
    yield _zip("a claimed size of 4 GB", "422 archive-too-large", lambda: payloads.with_claimed_size(2**32 - 2))
    yield _zip("100 MB with a claimed size of 100 bytes", "201 failed corrupt-image", payloads.understated_entry)
    yield _zip("weights of torch, a pickle", "422 pickle-not-accepted", payloads.weights)
    yield _zip("a script", "422 unsupported-image", lambda: payloads.with_entry("bag/run.sh", b"#!/bin/sh"))
    yield _zip("SVG", "422 unsupported-image", lambda: payloads.with_entry("bag/a.svg", b"<svg/>"))
    yield _zip("3 images", "422 dataset-too-small", lambda: zipped(files(each=3)))
    yield _zip("an empty archive", "422 dataset-too-small", lambda: zipped({}))


def images() -> Iterator[HostileRow]:
    yield _image("20,000 x 20,000 pixels", "image-too-large", payloads.huge)
    yield HostileRow(
        "image",
        "a comment of 200 MB",
        ("201 ready",),
        lambda t: t.upload(payloads.with_images(payloads.with_a_long_text())),
    )
    yield HostileRow(
        "image", "more pixels than its header says", ("201 failed corrupt-image", "201 ready"), _too_many_pixels
    )
    yield _image("a script by another name", "unsupported-image", lambda: b"#!/bin/sh\nrm -rf /")
    yield _image("SVG by another name", "unsupported-image", lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    yield _image("PDF by another name", "unsupported-image", lambda: b"%PDF-1.7\n")
    yield _image("TIFF by another name", "unsupported-image", lambda: payloads.saved(small_picture(), "TIFF"))
    yield _image("GIF by another name", "unsupported-image", lambda: payloads.saved(small_picture(), "GIF"))
    yield _image("a PNG cut off", "corrupt-image", lambda: payloads.noise("PNG")[:4000])
    yield _image("a JPEG cut off", "corrupt-image", lambda: payloads.noise("JPEG")[:2000], "jpg")
    yield _image("a wrong checksum", "corrupt-image", broken)
    yield _image("an animation", "unsupported-image", payloads.animated)
    yield HostileRow(
        "image", "CMYK, 16 bits, EXIF, a palette", ("201 ready",), lambda t: t.upload(payloads.unusual_but_valid())
    )


def _too_many_pixels(target: Target) -> str:
    return target.upload(payloads.with_images(payloads.with_too_many_pixels()))
