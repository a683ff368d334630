"""`make curves`: jobs that fail on purpose, through a service; leaves the pictures that docs/curves.md teaches with.

Each is a job of `benchmarks.failures` as anybody would submit it, its losses and its last preview fetched over HTTP.
`seen.json` beside the pictures holds what was submitted and what was found: the page quotes it, and a test compares.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from PIL import Image

from benchmarks import clothes
from benchmarks.failures import JOBS, body_of
from benchmarks.served import service
from gan.spec import merged
from gantry.client import Client

PAGE: Final = Path(__file__).parent.parent / "docs" / "curves"
# What the page shows besides: too few images, so that D knows them by heart.
FEW: Final = "too few images"
ALL: Final = (*JOBS, FEW)
_FEW_EACH: Final = 20
_MISLABELLED_EACH: Final = 100
# Figures that the page may quote of a job's end.
_FIGURES: Final = ("loss_d", "loss_g", "d_accuracy", "fcd", "coverage", "label_accuracy")
_COLOURS: Final = 64

Seen = dict[str, Any]


def slug(name: str) -> str:
    """Return the name of a job as part of a file name."""
    return name.lower().replace(" ", "-")


def run(client: Client, names: Sequence[str], steps: int, out: Path) -> None:
    """Train these jobs, and save the pictures and results of each beside those of other jobs."""
    submitted = {name: client.submit(_body(client, name, steps, out)) for name in names}
    for name, job in submitted.items():
        ended = client.wait(job["id"])
        print(f"{name}: {ended['status']}, {ended['health']['verdict']}", flush=True)
        _keep(out / f"{slug(name)}-losses.png", client.curves(job["id"]), 1.0)
        _keep(out / f"{slug(name)}.png", client.preview(job["id"], client.previews(job["id"])[-1]["step"]), 0.5)
        _add(out / "seen.json", _seen(client, name, ended))


def _add(path: Path, seen: Seen) -> None:
    """Add the result of a job to the file, in the order of `ALL`, replacing an older one."""
    known: list[Seen] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    kept = [*(other for other in known if other["job"] != seen["job"]), seen]
    ordered = sorted(kept, key=lambda one: ALL.index(one["job"]))
    path.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")


def _body(client: Client, name: str, steps: int, work: Path) -> dict[str, Any]:
    few = name == FEW
    body = merged(
        body_of("healthy" if few else name, steps),
        {"name": name, "previews": {"every_steps": steps, "per_class": 6}},
    )
    if few or JOBS[name].shuffled:
        each = _FEW_EACH if few else _MISLABELLED_EACH
        archive = clothes.zipped(work / f"{slug(name)}.zip", each, mislabelled=not few)
        body["dataset"] = client.upload(archive)["name"]
        archive.unlink()
    return body


def _seen(client: Client, name: str, job: dict[str, Any]) -> Seen:
    raised = [event["data"] for event in client.past_events(job["id"]) if _is_finding(event)]
    last = {metric["name"]: metric["last"] for metric in client.metrics(job["id"])}
    kept = ("code", "severity", "began_at_step", "found_at_step", "message")
    return {
        "job": name,
        "steps": job["progress"]["step"],
        "changes": {} if name == FEW else JOBS[name].changes,
        "verdict": job["health"]["verdict"],
        "raised": [{field: finding[field] for field in kept} for finding in raised],
        "last": {figure: round(last[figure], 4) for figure in _FIGURES if last.get(figure) is not None},
    }


def _is_finding(event: dict[str, Any]) -> bool:
    """Return whether the event is a finding. A new verdict is an event of the same type."""
    return bool(event["type"] == "health.finding" and event["data"]["code"] != "verdict")


def _keep(path: Path, png: bytes, scale: float) -> None:
    """Save a picture of the service with a palette, so that the repository stays small."""
    with Image.open(io.BytesIO(png)) as picture:
        size = (round(picture.width * scale), round(picture.height * scale))
        picture.convert("RGB").resize(size, Image.Resampling.BOX).quantize(_COLOURS).save(path, optimize=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the jobs and write their pictures. Returns 0 when every job has ended."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.curves_page", description=__doc__)
    parser.add_argument("jobs", nargs="*", default=ALL, help="which (default: all)")
    parser.add_argument("--steps", type=int, default=600, help="steps of each job (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=PAGE, help="folder of the pictures (default: %(default)s)")
    asked = parser.parse_args(arguments)
    asked.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as data, service(Path(data), 1) as (client, _):
        run(client, asked.jobs, asked.steps, asked.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
