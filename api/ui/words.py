"""Numbers, times and fields as people read them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from gantry.client import Json, stopping

NOTHING: Final = "–"
# As many are named; a line after them says how many there are beside these, or that nobody looked.
_MOST_PROBLEMS: Final = 100
_UNITS: Final = ("B", "kB", "MB", "GB", "TB")


def count(number: int | None) -> str:
    """12,345."""
    return NOTHING if number is None else f"{number:,}"


def figure(number: float | None) -> str:
    """Four digits that matter."""
    return NOTHING if number is None else f"{number:.4g}"


def rate(images_per_second: float | None) -> str:
    return NOTHING if images_per_second is None else f"{images_per_second:,.0f} img/s"


def span(seconds: float | None) -> str:
    """The two largest units: 6 min 4 s."""
    if seconds is None:
        return NOTHING
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    if days:
        return f"{days} d {h} h"
    if hours:
        return f"{hours} h {m} min"
    return f"{m} min {s} s" if minutes else f"{s} s"


def size(number: float | None) -> str:
    """Bytes, in the unit that fits."""
    if number is None:
        return NOTHING
    for unit in _UNITS[:-1]:
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} {_UNITS[-1]}"


def ago(moment: str | None, now: datetime | None = None) -> str:
    """How long it is since an RFC 3339 moment."""
    if moment is None:
        return NOTHING
    passed = ((now or datetime.now(UTC)) - datetime.fromisoformat(moment)).total_seconds()
    return "now" if passed < 2 else f"{span(passed)} ago"


def title(job: Json) -> str:
    """Its name, or its id where it has none."""
    return str(job["name"] or job["id"])


def reached(job: Json) -> str:
    """512 of 2,000 steps."""
    progress = job["progress"]
    return f"{count(progress['step'])} of {count(progress['total_steps'])} steps"


def standing(job: Json) -> str:
    """Why it stands where it stands, in a sentence; empty where there is nothing to say."""
    if job["error"]:
        at = "" if job["error"]["step"] is None else f" at step {count(job['error']['step'])}"
        return " ".join(filter(None, [f"{job['error']['code']}{at}:", job["error"]["message"], job["error"]["hint"]]))
    if told := stopping(job):
        return f"It was told to {'end' if told == 'cancelling' else 'pause'}; it saves a checkpoint first."
    said = [job["status_reason"]["message"]] if job["status_reason"] else []
    if job["queue"]:
        said.append(f"Place {job['queue']['position']} in the queue.")
    return " ".join(said)


def shape(dataset: Json) -> str:
    """28 × 28, grey."""
    colours = {1: "grey", 3: "colour"}.get(dataset["channels"], f"{dataset['channels']} channels")
    return f"{dataset['width']} × {dataset['height']}, {colours}"


def intake(dataset: Json) -> str:
    """How far a data set is on its way in, or that something is wrong with it; empty when it is ready."""
    if dataset["status"] == "failed":
        number = len(dataset["problems"])
        if number > _MOST_PROBLEMS:
            return f"At least {_MOST_PROBLEMS} problems."
        return f"{count(number)} problem{'' if number == 1 else 's'}."
    if dataset["status"] != "validating":
        return ""
    if not (progress := dataset["progress"]):
        return "It waits until it is looked at."
    doing = "Looking at" if progress["phase"] == "checking" else "Preparing"
    return f"{doing} image {count(progress['done'])} of {count(progress['total'])}."


def value(anything: Any) -> str:
    """A field's value, short."""
    return figure(anything) if isinstance(anything, float) else str(anything)
