"""Jobs, presets and data sets as text for the terminal."""

from __future__ import annotations

import json
from typing import Final

from jsonpointer import JsonPointer

from gantry.client import stopping
from gantry.connection import Json
from gantry.quality import SUMMARY

_ACTIVITIES: Final = {"preparing": "preparing", "worker_silent": "worker silent"}
"""What a running job does, by the code of its status reason."""
SEPARATOR: Final = "  "
"""Between the numbers of a job's progress."""


def job_details(job: Json, best: Json | None) -> str:
    """Return all about a job: status, progress, outcome, quality, health. `best` is its best evaluation."""
    spec, progress = job["spec"], job["progress"]
    retry = f"retry of {job['retry_of']}; " if job["retry_of"] else ""
    device = (job["worker"] or {}).get("device")
    actions = ", ".join(job["allowed_actions"])
    lines = [
        f"{job['id']}{' ' + repr(job['name']) if job['name'] else ''}: {status_text(job)}",
        f"  {retry}{spec['preset'] or 'no preset'} on {spec['dataset']}, seed {spec['seed']}"
        + (f", by {device}" if device else ""),
        f"  step {progress['step']} of {progress['total_steps']}{SEPARATOR}{progress_numbers(job)}".rstrip(),
        *(outcome(job).splitlines()[1:]),
        best_quality(best),
        health_report(job),
        f"You may: {actions}." if actions else "It takes no action now.",
    ]
    return "\n".join(line for line in lines if line)


def status_text(job: Json) -> str:
    """Return what the job is doing, in at most four words."""
    if job["queue"]:
        more = "+" if job["queue"].get("at_least") else ""
        return f"queued, {job['queue']['jobs_ahead']:,}{more} ahead"
    if job["status"] != "running":
        return str(job["status"])
    if pending := stopping(job):
        return pending
    if (code := (job["status_reason"] or {}).get("code")) in _ACTIVITIES:
        return _ACTIVITIES[code]
    return f"attempt {job['attempt']}" if job["attempt"] > 1 else "running"


def progress_numbers(job: Json) -> str:
    """Return losses, FCD, images per second and the time left, as far as they are known."""
    latest, progress = job["latest_metrics"], job["progress"]
    parts = [f"{name} {latest[name]:.3f}" for name in ("loss_d", "loss_g", "fcd") if latest.get(name) is not None]
    if progress["images_per_second"]:
        parts.append(f"{progress['images_per_second']:,.0f} images/s")
    if progress["eta_seconds"] is not None:
        parts.append(f"{_duration(progress['eta_seconds'])} left")
    return SEPARATOR.join(parts)


def outcome(job: Json) -> str:
    """Return how the job ended, and below it the reason, the error and its hint, as far as there are any."""
    lines = [f"{job['id']} {job['status']} at step {job['progress']['step']}."]
    if job["status_reason"]:
        lines.append(job["status_reason"]["message"])
    if job["error"]:
        lines += [job["error"]["message"], job["error"]["hint"]]
    return "\n".join(line for line in lines if line)


def best_quality(best: Json | None) -> str:
    """Return the main metrics of the best evaluation, or "" without one."""
    if best is None:
        return ""
    metrics = best["metrics"]
    parts = [f"{name.replace('_', ' ')} {metrics[name]:.3g}" for name in SUMMARY if metrics.get(name) is not None]
    return f"Best at step {best['step']}: {', '.join(parts)}."


def health_report(job: Json) -> str:
    """Return the verdict on the job, its findings and their remedies, or "" if its health was not checked yet."""
    health = job["health"]
    if verdict_text(health) == "-" and not health["findings"]:
        return ""
    # The message of the worst finding follows with that finding.
    said = f" {health.get('message', '')}" if health["verdict"] in ("unknown", "healthy") else ""
    lines = [f"Verdict: {verdict_text(health)}.{said}".rstrip()]
    for finding in health["findings"]:
        lines.append(finding_line(finding))
        lines += [f"    {_assignment(remedy)}: {remedy['why']}" for remedy in finding["remedy"]]
        if finding["remedy"]:
            lines.append(f"    gantry submit --from {job['id']} --remedy {finding['code']}")
    return "\n".join(lines)


def verdict_text(health: Json) -> str:
    """Return the verdict in one or two words: why it is unknown if it is; "-" before the first check."""
    if health["verdict"] != "unknown":
        return str(health["verdict"])
    reason = health.get("reason") or "not_checked"
    return "-" if reason == "not_checked" else str(reason).replace("_", " ")


def finding_line(finding: Json) -> str:
    """Return a finding in one line: code, severity, first step, message."""
    about = f"{finding['code']} ({finding['severity']}, from step {finding['began_at_step']} on)"
    return f"  {about}: {finding['message']}"


def preset_details(preset: Json) -> str:
    """Return all about a preset."""
    lines = [
        f"{preset['name']}: {preset_title(preset)}",
        preset["summary"],
        preset["reach"],
        f"From {preset['paper']}",
    ]
    return "\n".join(line for line in lines if line)


def preset_title(preset: Json) -> str:
    """Return the title of a preset, which says whether it is the default."""
    return f"{preset['title']}{' (the default)' if preset['is_default'] else ''}"


def _assignment(remedy: Json) -> str:
    """Return the field that a remedy sets, as `a.b = value`."""
    return f"{'.'.join(JsonPointer(remedy['pointer']).parts)} = {json.dumps(remedy['value'], ensure_ascii=False)}"


def _duration(seconds: int) -> str:
    """Return a duration as minutes:seconds, or hours:minutes:seconds."""
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
