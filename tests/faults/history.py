"""The history checker: reads the record and the files of a storm afterwards, and says what should not be.

It asks the tables themselves and works out for itself which writes count, so that a mistake of the store's queries
cannot hide one in the record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from gan.spec import from_record
from jobs.db import Database
from jobs.errors import ArtifactLostError
from jobs.models import Attempt, Checkpoint, Evaluation, Job, JobEvent, MetricBlock, Preview
from jobs.status import TERMINAL, TRANSITIONS, Status
from jobs.storage import Storage, keys
from tests.faults.undisturbed import References, UndisturbedRun

_FOR_EVER: Final = 2**62


@dataclass(frozen=True)
class Violation:
    """One thing in the record that should not be. `job_id` is empty where it is no one job's."""

    job_id: str
    rule: str
    detail: str

    def __str__(self) -> str:
        return f"{self.job_id or 'service'}: {self.rule}: {self.detail}"


@dataclass
class ToldStatus:
    """What the clients of a storm were told, and what they asked for."""

    accepted: dict[str, str] = field(default_factory=dict)
    """Idempotency key -> the job's id, of every 201."""
    cancels_sent: set[str] = field(default_factory=set)
    cancels_promised: set[str] = field(default_factory=set)
    doubles_allowed: bool = False
    """Whether a repeated POST may have made a second job."""


@dataclass
class Past:
    """All that is on record of one job, and what it is held against."""

    job: Job
    events: list[JobEvent]
    attempts: list[Attempt]
    blocks: list[MetricBlock]
    checkpoints: list[Checkpoint]
    previews: list[Preview]
    evaluations: list[Evaluation]
    reference: UndisturbedRun
    artifacts: Storage
    told: ToldStatus

    def limit(self, attempt: int) -> int:
        """Return the last step of this attempt that counts: its successor continued from there."""
        later = [
            a.resumed_from_step for a in self.attempts if a.attempt > attempt and a.resumed_from_step is not None
        ]
        return min(later, default=_FOR_EVER)

    def points(self, name: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Every point of a curve that counts, in order of step; a step that is there twice is here twice."""
        steps, values = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
        for block in self.blocks:
            if block.name == name:
                found = np.frombuffer(block.values, "<f4")[: max(0, self.limit(block.attempt) - block.first_step + 1)]
                steps.append(np.arange(block.first_step, block.first_step + len(found)))
                values.append(found)
        order = np.argsort(np.concatenate(steps), kind="stable")
        return np.concatenate(steps)[order], np.concatenate(values)[order]


@dataclass
class JobHistory:
    """What the checker found."""

    jobs: int
    attempts: int
    ended_once: int
    steps_missing: int
    steps_doubled: int
    finished: int
    bit_equal: int
    orphan_files: int
    violations: list[Violation]


def check(db: Database, artifacts: Storage, told: ToldStatus, references: References) -> JobHistory:
    """Read everything; the service is to be stopped."""
    pasts = _read(db, artifacts, told, references)
    violations = [
        Violation(past.job.id, rule, detail)
        for past in pasts
        for rule, find in _RULES.items()
        for detail in find(past)
    ]
    violations += [Violation("", "the record is what was accepted", detail) for detail in _accepted(pasts, told)]
    orphans = list(_orphans(pasts, artifacts))
    violations += [Violation("", "every file has a row", detail) for detail in orphans]
    gaps = [_gaps(past) for past in pasts]
    done = [past for past in pasts if past.job.status == Status.SUCCEEDED]
    return JobHistory(
        jobs=len(pasts),
        attempts=sum(past.job.attempt for past in pasts),
        ended_once=sum(not list(_one_end(past)) for past in pasts),
        steps_missing=sum(missing for missing, _ in gaps),
        steps_doubled=sum(doubled for _, doubled in gaps),
        finished=len(done),
        bit_equal=sum(not list(_result(past)) and not list(_values(past)) for past in done),
        orphan_files=len(orphans),
        violations=violations,
    )


def _read(db: Database, artifacts: Storage, told: ToldStatus, references: References) -> list[Past]:
    # References train, which can take longer than a transaction may be idle: all of them come first.
    with db.read() as s:
        specs = {job.id: job.spec for job in s.scalars(select(Job))}
    known = {job_id: references.of(from_record(spec)) for job_id, spec in specs.items()}
    pasts = []
    with db.read() as s:
        for job in s.scalars(select(Job).order_by(Job.id)):

            def of(model: Any, *order: Any, job_id: str = job.id) -> list[Any]:
                return list(s.scalars(select(model).where(model.job_id == job_id).order_by(*order)))

            pasts.append(
                Past(
                    job=job,
                    events=of(JobEvent, JobEvent.seq),
                    attempts=of(Attempt, Attempt.attempt),
                    blocks=of(MetricBlock, MetricBlock.first_step, MetricBlock.attempt),
                    checkpoints=of(Checkpoint, Checkpoint.step, Checkpoint.attempt),
                    previews=of(Preview, Preview.step, Preview.attempt),
                    evaluations=of(Evaluation, Evaluation.step, Evaluation.attempt),
                    reference=known[job.id],
                    artifacts=artifacts,
                    told=told,
                )
            )
    return pasts


def _one_end(past: Past) -> Iterator[str]:
    ends = [event for event in past.events if event.ends_job]
    if Status(past.job.status) not in TERMINAL:
        yield f"it is {past.job.status}, attempt {past.job.attempt}, step {past.job.step}"
    elif len(ends) != 1:
        yield f"{len(ends)} events end it"
    elif ends[0].data["status"] != past.job.status:
        yield f"it is {past.job.status}, and its last event says {ends[0].data['status']}"
    elif past.events[-1] is not ends[0]:
        yield f"events follow its end: {[event.type for event in past.events if event.seq > ends[0].seq]}"


def _as_asked(past: Past) -> Iterator[str]:
    job, told = past.job, past.told
    if job.status == Status.FAILED:
        yield f"it failed: {job.error}"
    if job.status == Status.CANCELLED and job.id not in told.cancels_sent:
        yield "it is cancelled, and nobody asked for that"
    if job.status in TERMINAL and job.status != Status.CANCELLED and job.id in told.cancels_promised:
        yield f"its cancel was accepted, and it ended {job.status}"
    if job.status == Status.SUCCEEDED and job.step != job.total_steps:
        yield f"it succeeded at step {job.step} of {job.total_steps}"


def _numbered(past: Past) -> Iterator[str]:
    numbers = [event.seq for event in past.events]
    if numbers != list(range(1, past.job.event_seq + 1)):
        yield f"events are numbered {numbers}, and the job says {past.job.event_seq}"


def _moves(past: Past) -> Iterator[str]:
    path = [Status(event.data["status"]) for event in past.events if event.type == "job.status"]
    if not path or path[0] is not Status.QUEUED:
        yield f"it began as {path[:1]}"
    for before, after in pairwise(path):
        if after not in TRANSITIONS[before]:
            yield f"it went from {before} to {after}"


def _attempts(past: Past) -> Iterator[str]:
    wanted = list(range(1, past.job.attempt + 1))
    ran = [e.attempt for e in past.events if e.type == "job.status" and e.data["status"] == Status.RUNNING]
    if ran != wanted:
        yield f"attempts {ran} ran, and the job says {past.job.attempt}"
    if [attempt.attempt for attempt in past.attempts] != wanted:
        yield f"rows of attempts {[attempt.attempt for attempt in past.attempts]}"
    for attempt in past.attempts:
        saved = {0} | {c.step for c in past.checkpoints if c.attempt < attempt.attempt}
        if attempt.resumed_from_step is not None and attempt.resumed_from_step not in saved:
            yield f"attempt {attempt.attempt} went on from {attempt.resumed_from_step}, where nothing was saved"
        if attempt.ended_at is None or attempt.outcome is None:
            yield f"attempt {attempt.attempt} has no end"


def _let_go(past: Past) -> Iterator[str]:
    job = past.job
    if job.lease_until is not None:
        yield f"its lease is held until {job.lease_until} by {job.lease_owner}"
    if job.finished_at is None:
        yield "it has no time of its end"


def _gaps(past: Past) -> tuple[int, int]:
    """How many steps of the curves are missing, and how many are there more than once."""
    missing = doubled = 0
    for name in past.reference.curves:
        steps = past.points(name)[0]
        different = np.unique(steps)
        wanted = np.arange(1, past.job.step + 1)
        missing += len(np.setdiff1d(wanted, different))
        doubled += len(steps) - len(different)
    return missing, doubled


def _contiguous(past: Past) -> Iterator[str]:
    for name in past.reference.curves:
        steps = past.points(name)[0]
        if not np.array_equal(steps, np.arange(1, past.job.step + 1)):
            wrong = np.flatnonzero(np.diff(np.concatenate([[0], steps])) != 1)
            places = [int(steps[i]) for i in wrong[:5]]
            yield f"{name} has {len(steps)} points up to step {past.job.step}; breaks before steps {places}"


def _values(past: Past) -> Iterator[str]:
    for name, wanted in past.reference.curves.items():
        steps, values = past.points(name)
        inside = (steps >= 1) & (steps <= len(wanted))
        if not inside.all():
            yield f"{name} has points outside of the run: {steps[~inside][:5].tolist()}"
        here, there = values[inside], wanted[steps[inside] - 1]
        same = (here == there) | (np.isnan(here) & np.isnan(there))
        if not same.all():
            first = int(steps[inside][~same][0])
            yield f"{name} differs from an undisturbed run, first at step {first}"


def _result(past: Past) -> Iterator[str]:
    """Yield the weights of every scheduled checkpoint, and of the last one of a job that succeeded."""
    spec, ready = from_record(past.job.spec), [c for c in past.checkpoints if c.state == "ready"]
    for row in ready:
        wanted = past.reference.digest(spec, row.step)
        if wanted is not None and wanted != row.weights_sha256:
            yield f"the weights of step {row.step}, attempt {row.attempt}, are not an undisturbed run's"
    if past.job.status == Status.SUCCEEDED and (not ready or ready[-1].step != past.job.total_steps):
        yield f"its last checkpoint is of step {ready[-1].step if ready else None}"


def _checkpoints(past: Past) -> Iterator[str]:
    for row in past.checkpoints:
        if row.state != "ready":
            continue
        try:
            past.artifacts.verify(row.key, row.bytes, row.sha256)
            past.artifacts.verify(row.weights_key, row.weights_bytes, row.weights_sha256)
        except ArtifactLostError as error:
            yield f"checkpoint of step {row.step}: {error}"
    for before, after in pairwise(past.checkpoints):
        if before.step < after.step and before.attempt > after.attempt:
            yield f"attempt {before.attempt} saved step {before.step}, and attempt {after.attempt} step {after.step}"
    if past.checkpoints and past.checkpoints[-1].step > past.job.step:
        yield f"step {past.checkpoints[-1].step} is saved, and the job is at step {past.job.step}"


def _pictures(past: Past) -> Iterator[str]:
    for row in past.previews:
        try:
            past.artifacts.verify(row.key, row.bytes, row.sha256)
        except ArtifactLostError as error:
            yield f"preview of step {row.step}: {error}"


def _best(past: Past) -> Iterator[str]:
    best = [row.step for row in past.checkpoints if row.is_best]
    wanted = past.reference.best_step
    if past.job.status == Status.SUCCEEDED and best != ([] if wanted is None else [wanted]):
        yield f"the best checkpoints are of steps {best}, and an undisturbed run's of {wanted}"
    if len(best) > 1:
        yield f"{len(best)} checkpoints are the best"


def _told_once(past: Past) -> Iterator[str]:
    """Previews and evaluations: each due one there, once, and of the same figures as without a disturbance."""
    yield from _places(past, "preview", past.previews, past.reference.previews)
    yield from _places(past, "evaluation", past.evaluations, list(past.reference.evaluations))
    for row in past.evaluations:
        wanted = past.reference.evaluations.get(row.step)
        if wanted is not None and row.metrics != {k: v if np.isfinite(v) else None for k, v in wanted.items()}:
            yield f"the evaluation of step {row.step} has other figures than an undisturbed run's"


def _places(past: Past, what: str, rows: Sequence[Preview | Evaluation], wanted: list[int]) -> Iterator[str]:
    counting = [row.step for row in rows if row.step <= past.limit(row.attempt)]
    # An attempt that starts from scratch tells step 0 again.
    if doubled := {step for step in counting if step > 0 and counting.count(step) > 1}:
        yield f"more than one {what} at steps {sorted(doubled)}"
    if odd := set(counting) - set(wanted):
        yield f"a {what} at steps {sorted(odd)}, where none is due"
    if past.job.status == Status.SUCCEEDED and (missing := set(wanted) - set(counting)):
        yield f"no {what} at steps {sorted(missing)}"


_RULES: Final[dict[str, Callable[[Past], Iterator[str]]]] = {
    "one end": _one_end,
    "ends as asked": _as_asked,
    "events numbered without a gap": _numbered,
    "only moves that there are": _moves,
    "attempts 1 to n": _attempts,
    "nobody holds it": _let_go,
    "every step once": _contiguous,
    "the values of an undisturbed run": _values,
    "the weights of an undisturbed run": _result,
    "checkpoints are what was written": _checkpoints,
    "previews are what was written": _pictures,
    "the best is the best": _best,
    "previews and evaluations once": _told_once,
}


def _accepted(pasts: list[Past], told: ToldStatus) -> Iterator[str]:
    there, accepted = {past.job.id for past in pasts}, set(told.accepted.values())
    if lost := accepted - there:
        yield f"accepted, and not on record: {sorted(lost)}"
    if not told.doubles_allowed and (extra := there - accepted):
        yield f"on record, and accepted by nobody: {sorted(extra)}"
    if len(accepted) != len(told.accepted):
        yield f"{len(told.accepted)} keys were answered with {len(accepted)} jobs"


def _orphans(pasts: list[Past], artifacts: Storage) -> Iterator[str]:
    """Return the files that a job may have: a log and a note for each attempt, good checkpoints, previews."""
    owned = {key for past in pasts for key in _keys(past)}
    yield from (key for key in artifacts.list_keys(unfinished=True) if key not in owned)


def _keys(past: Past) -> Iterator[str]:
    for number in range(1, past.job.attempt + 1):
        yield keys.log(past.job.id, number)
        yield keys.outcome(past.job.id, number)
    for row in past.checkpoints:
        if row.state == "ready":
            yield from (row.key, row.weights_key, keys.onnx(row.weights_key))
    for preview in past.previews:
        yield preview.key
