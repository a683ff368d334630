"""Rows of the matrix about uploads: multipart bodies, archives and images."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

from tests.gan.uploads.zips import broken, files, zipped
from tests.hostile import makings
from tests.hostile.row import (
    END_OF_FORM,
    FILE_PART,
    HostileRow,
    begin_upload,
    many_headers,
    raw_request,
    send_broken_off,
    send_slowly,
    small_picture,
)
from tests.hostile.target import FORM, Target, part


def _zip(name: str, wanted: str, make: Callable[[], bytes], **fields: str) -> HostileRow:
    return HostileRow("archive", name, (wanted,), lambda target: target.upload(make(), **fields))


def _image(name: str, code: str, make: Callable[[], bytes], suffix: str = "png") -> HostileRow:
    wanted = f"201 failed {code}"
    return HostileRow("image", name, (wanted,), lambda t: t.upload(makings.holding(make(), suffix=suffix)))


def _form(name: str, wanted: str, data: bytes, content_type: str = FORM["Content-Type"]) -> HostileRow:
    headers = {"Content-Type": content_type}
    return HostileRow(
        "upload", name, (wanted,), lambda t: t.ask("POST", "/v1/datasets", content=data, headers=headers)
    )


def uploads() -> Iterator[HostileRow]:
    good = part("file", zipped(makings.GOOD), "a.zip")
    yield _form("not a form", "415 unsupported-media-type", b"PK", "application/zip")
    yield _form("no boundary", "415 unsupported-media-type", FILE_PART + END_OF_FORM, "multipart/form-data")
    yield _form("another boundary", "422 bad-format", b"--other\r\n\r\n")
    yield _form("cut off within", "422 cut-off", FILE_PART)
    yield _form("no file", "422 missing", part("name", b"x") + END_OF_FORM)
    yield _form("a field that is none", "422 unknown-field", part("path", b"/etc") + END_OF_FORM)
    yield _form("the file twice", "422 repeated-field", FILE_PART + FILE_PART + END_OF_FORM)
    yield _form("a header of 1 MB", "422 bad-format", part("x" * 1_000_000, b"x") + END_OF_FORM)
    yield _form("1,000 headers", "422 bad-format", many_headers(1_000))
    yield _form(
        "another digest than announced", "422 checksum-mismatch", part("sha256", b"0" * 64) + good + END_OF_FORM
    )
    yield _form("a name that is a path", "422 bad-format", part("name", b"../x") + good + END_OF_FORM)
    yield _form("a name that turns round", "422 bad-format", part("name", "a\u202eb".encode()) + good + END_OF_FORM)
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
    yield HostileRow("upload", "broken off", ("nothing kept",), send_broken_off)
    yield HostileRow("upload", "one that trickles", ("408 request-timeout",), send_slowly, slow=True)


def archives() -> Iterator[HostileRow]:
    unsafe = "422 unsafe-archive"
    yield _zip("no zip", "422 corrupt-archive", lambda: b"no zip at all")
    yield _zip("half a zip", "422 corrupt-archive", lambda: zipped(makings.GOOD)[:5000])
    for name in (
        "../../evil.png",
        "/etc/evil.png",
        "C:/evil.png",
        "bag\\evil.png",
        "bag/\u202egnp.png",
        "bag/a\npng.png",
    ):
        yield _zip(f"an entry {name!a}", unsafe, functools.partial(makings.with_entry, name))
    yield _zip("NUL in a name", unsafe, makings.nul)
    yield _zip("a symbolic link", unsafe, makings.link)
    yield _zip("a device", unsafe, makings.device)
    yield _zip("encrypted", unsafe, makings.encrypted)
    yield _zip("an archive in it", unsafe, lambda: makings.with_entry("bag/in.zip", zipped(makings.GOOD)))
    yield _zip("a name twice", unsafe, makings.doubled)
    yield _zip("names that differ in case", unsafe, lambda: makings.with_entry("BAG/0000.PNG"))
    yield _zip("200,001 entries", unsafe, makings.many_entries)
    yield _zip("entries over each other", unsafe, makings.overlapping)
    yield _zip("LZMA", unsafe, makings.lzma)
    yield _zip("200 MB in 200 KB", "422 archive-too-large", makings.bomb)
    yield _zip("4 GB by its own word", "422 archive-too-large", lambda: makings.claims(2**32 - 2))
    yield _zip("100 MB that say they are 100 bytes", "201 failed corrupt-image", makings.lying)
    yield _zip("weights of torch, a pickle", "422 pickle-not-accepted", makings.weights)
    yield _zip("a script", "422 unsupported-image", lambda: makings.with_entry("bag/run.sh", b"#!/bin/sh"))
    yield _zip("SVG", "422 unsupported-image", lambda: makings.with_entry("bag/a.svg", b"<svg/>"))
    yield _zip("3 images", "422 dataset-too-small", lambda: zipped(files(each=3)))
    yield _zip("nothing", "422 dataset-too-small", lambda: zipped({}))


def images() -> Iterator[HostileRow]:
    yield _image("20,000 x 20,000 pixels", "image-too-large", makings.huge)
    yield HostileRow(
        "image",
        "a comment of 200 MB",
        ("201 ready",),
        lambda t: t.upload(makings.holding(makings.with_a_long_text())),
    )
    yield HostileRow("image", "pixels without end", ("201 failed corrupt-image", "201 ready"), _endless_pixels)
    yield _image("no image by its content", "unsupported-image", lambda: b"#!/bin/sh\nrm -rf /")
    yield _image("SVG by another name", "unsupported-image", lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    yield _image("PDF by another name", "unsupported-image", lambda: b"%PDF-1.7\n")
    yield _image("TIFF by another name", "unsupported-image", lambda: makings.saved(small_picture(), "TIFF"))
    yield _image("GIF by another name", "unsupported-image", lambda: makings.saved(small_picture(), "GIF"))
    yield _image("a PNG cut off", "corrupt-image", lambda: makings.noise("PNG")[:4000])
    yield _image("a JPEG cut off", "corrupt-image", lambda: makings.noise("JPEG")[:2000], "jpg")
    yield _image("a checksum that is wrong", "corrupt-image", broken)
    yield _image("an animation", "unsupported-image", makings.animated)
    yield HostileRow(
        "image", "CMYK, 16 bits, EXIF, a palette", ("201 ready",), lambda t: t.upload(makings.odd_but_good())
    )


def _endless_pixels(target: Target) -> str:
    return target.upload(makings.holding(makings.with_pixels_without_end()))
