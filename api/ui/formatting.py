"""Numbers, times, jobs and data sets as text for people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from gantry.client import Json, stopping

NO_VALUE: Final = "–"
# The service names at most this many problems; one more entry says how many follow, or that the check stopped.
_MAX_PROBLEMS: Final = 100
_UNITS: Final = ("B", "kB", "MB", "GB", "TB")


def count(number: int | None) -> str:
    """Return an integer such as 12,345."""
    return NO_VALUE if number is None else f"{number:,}"


def number(value: float | None) -> str:
    """Return a number with four significant digits."""
    return NO_VALUE if value is None else f"{value:.4g}"


def rate(images_per_second: float | None) -> str:
    """Return a rate such as 1,234 img/s."""
    return NO_VALUE if images_per_second is None else f"{images_per_second:,.0f} img/s"


def duration(seconds: float | None) -> str:
    """Return a duration in its two largest units, such as 6 min 4 s."""
    if seconds is None:
        return NO_VALUE
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    if days:
        return f"{days} d {h} h"
    if hours:
        return f"{hours} h {m} min"
    return f"{m} min {s} s" if minutes else f"{s} s"


def size(size_bytes: float | None) -> str:
    """Return a number of bytes in a suitable unit, such as 1.5 kB."""
    if size_bytes is None:
        return NO_VALUE
    for unit in _UNITS[:-1]:
        if size_bytes < 1000:
            return f"{size_bytes:.0f} {unit}" if unit == "B" or size_bytes >= 100 else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} {_UNITS[-1]}"


def ago(moment: str | None, now: datetime | None = None) -> str:
    """Return the time since an RFC 3339 timestamp, such as 4 s ago."""
    if moment is None:
        return NO_VALUE
    elapsed = ((now or datetime.now(UTC)) - datetime.fromisoformat(moment)).total_seconds()
    return "now" if elapsed < 2 else f"{duration(elapsed)} ago"


def job_title(job: Json) -> str:
    """Return the name of a job, or its id if it has no name."""
    return str(job["name"] or job["id"])


def steps_done(job: Json) -> str:
    """Return the progress of a job, such as 512 of 2,000 steps."""
    progress = job["progress"]
    return f"{count(progress['step'])} of {count(progress['total_steps'])} steps"


def status_reason(job: Json) -> str:
    """Return the reason for the status of a job, or its position in the queue; empty if there is neither."""
    if job["error"]:
        at = "" if job["error"]["step"] is None else f" at step {count(job['error']['step'])}"
        return " ".join(filter(None, [f"{job['error']['code']}{at}:", job["error"]["message"], job["error"]["hint"]]))
    if request := stopping(job):
        return (
            f"The job is being {'cancelled' if request == 'cancelling' else 'paused'}; it saves a checkpoint first."
        )
    sentences = [job["status_reason"]["message"]] if job["status_reason"] else []
    if job["queue"]:
        more = job["queue"]["at_least"]
        sentences.append(
            f"More than {count(job['queue']['jobs_ahead'])} jobs are ahead in the queue."
            if more
            else f"Position {count(job['queue']['position'])} in the queue."
        )
    return " ".join(sentences)


def image_format(dataset: Json) -> str:
    """Return size and colours of the images, such as 28 × 28, grey."""
    colours = {1: "grey", 3: "colour"}.get(dataset["channels"], f"{dataset['channels']} channels")
    return f"{dataset['width']} × {dataset['height']}, {colours}"


def validation_status(dataset: Json) -> str:
    """Return the progress of the check of a data set, or its number of problems; empty if it is ready."""
    if dataset["status"] == "failed":
        problems = len(dataset["problems"])
        if problems > _MAX_PROBLEMS:
            return f"At least {_MAX_PROBLEMS} problems."
        return f"{count(problems)} problem{'' if problems == 1 else 's'}."
    if dataset["status"] != "validating":
        return ""
    if not (progress := dataset["progress"]):
        return "It waits for its check."
    activity = "Checking" if progress["phase"] == "checking" else "Preparing"
    return f"{activity} image {count(progress['done'])} of {count(progress['total'])}."


def field_value(value: Any) -> str:
    """Return the value of a field as short text."""
    return number(value) if isinstance(value, float) else str(value)
