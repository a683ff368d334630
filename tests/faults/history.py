"""The history checker: reads the record and the files after a storm, and reports every violation.

It reads the tables without the store's queries and determines itself which writes count, so that an error in those
queries cannot hide one in the record.
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

_NO_LIMIT: Final = 2**62


@dataclass(frozen=True)
class Violation:
    """One violation of a rule. `job_id` is empty if it concerns no single job."""

    job_id: str
    rule: str
    detail: str

    def __str__(self) -> str:
        return f"{self.job_id or 'service'}: {self.rule}: {self.detail}"


@dataclass
class ClientView:
    """What the clients of a storm have requested, and the answers that they got."""

    accepted: dict[str, str] = field(default_factory=dict)
    """Idempotency key -> the job's id, of every 201."""
    cancels_sent: set[str] = field(default_factory=set)
    cancels_promised: set[str] = field(default_factory=set)
    doubles_allowed: bool = False
    """Whether a repeated POST may have made a second job."""


@dataclass
class RecordedJob:
    """Everything on record about one job, and what it is compared with."""

    job: Job
    events: list[JobEvent]
    attempts: list[Attempt]
    blocks: list[MetricBlock]
    checkpoints: list[Checkpoint]
    previews: list[Preview]
    evaluations: list[Evaluation]
    reference: UndisturbedRun
    artifacts: Storage
    clients: ClientView

    def limit(self, attempt: int) -> int:
        """Return the last step of this attempt that counts: the one from which a later attempt resumed."""
        later = [
            a.resumed_from_step for a in self.attempts if a.attempt > attempt and a.resumed_from_step is not None
        ]
        return min(later, default=_NO_LIMIT)

    def points(self, name: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return steps and values of all points of a curve that count, in order of step, with doubled steps."""
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
    """The result of the checker."""

    jobs: int
    attempts: int
    ended_once: int
    steps_missing: int
    steps_doubled: int
    finished: int
    bit_equal: int
    orphan_files: int
    violations: list[Violation]


def check(db: Database, artifacts: Storage, clients: ClientView, references: References) -> JobHistory:
    """Check all jobs on record. The service must be stopped."""
    recorded_jobs = _read(db, artifacts, clients, references)
    violations = [
        Violation(recorded.job.id, rule, detail)
        for recorded in recorded_jobs
        for rule, find in _RULES.items()
        for detail in find(recorded)
    ]
    violations += [
        Violation("", "the accepted jobs are on record", detail) for detail in _accepted(recorded_jobs, clients)
    ]
    orphans = list(_orphans(recorded_jobs, artifacts))
    violations += [Violation("", "every file has a row", detail) for detail in orphans]
    gaps = [_gaps(recorded) for recorded in recorded_jobs]
    done = [recorded for recorded in recorded_jobs if recorded.job.status == Status.SUCCEEDED]
    return JobHistory(
        jobs=len(recorded_jobs),
        attempts=sum(recorded.job.attempt for recorded in recorded_jobs),
        ended_once=sum(not list(_one_end(recorded)) for recorded in recorded_jobs),
        steps_missing=sum(missing for missing, _ in gaps),
        steps_doubled=sum(doubled for _, doubled in gaps),
        finished=len(done),
        bit_equal=sum(not list(_weights(recorded)) and not list(_values(recorded)) for recorded in done),
        orphan_files=len(orphans),
        violations=violations,
    )


def _read(db: Database, artifacts: Storage, clients: ClientView, references: References) -> list[RecordedJob]:
    # Reference runs are trained first, because that can take longer than a transaction may be idle.
    with db.read() as s:
        specs = {job.id: job.spec for job in s.scalars(select(Job))}
    known = {job_id: references.of(from_record(spec)) for job_id, spec in specs.items()}
    recorded_jobs = []
    with db.read() as s:
        for job in s.scalars(select(Job).order_by(Job.id)):

            def of(model: Any, *order: Any, job_id: str = job.id) -> list[Any]:
                return list(s.scalars(select(model).where(model.job_id == job_id).order_by(*order)))

            recorded_jobs.append(
                RecordedJob(
                    job=job,
                    events=of(JobEvent, JobEvent.seq),
                    attempts=of(Attempt, Attempt.attempt),
                    blocks=of(MetricBlock, MetricBlock.first_step, MetricBlock.attempt),
                    checkpoints=of(Checkpoint, Checkpoint.step, Checkpoint.attempt),
                    previews=of(Preview, Preview.step, Preview.attempt),
                    evaluations=of(Evaluation, Evaluation.step, Evaluation.attempt),
                    reference=known[job.id],
                    artifacts=artifacts,
                    clients=clients,
                )
            )
    return recorded_jobs


def _one_end(recorded: RecordedJob) -> Iterator[str]:
    ends = [event for event in recorded.events if event.ends_job]
    if Status(recorded.job.status) not in TERMINAL:
        yield f"it is {recorded.job.status}, attempt {recorded.job.attempt}, step {recorded.job.step}"
    elif len(ends) != 1:
        yield f"{len(ends)} events end it"
    elif ends[0].data["status"] != recorded.job.status:
        yield f"it is {recorded.job.status}, and its last event says {ends[0].data['status']}"
    elif recorded.events[-1] is not ends[0]:
        yield f"events follow its end: {[event.type for event in recorded.events if event.seq > ends[0].seq]}"


def _end_as_requested(recorded: RecordedJob) -> Iterator[str]:
    job, clients = recorded.job, recorded.clients
    if job.status == Status.FAILED:
        yield f"it failed: {job.error}"
    if job.status == Status.CANCELLED and job.id not in clients.cancels_sent:
        yield "it is cancelled without a request"
    if job.status in TERMINAL and job.status != Status.CANCELLED and job.id in clients.cancels_promised:
        yield f"its cancel was accepted, and it ended {job.status}"
    if job.status == Status.SUCCEEDED and job.step != job.total_steps:
        yield f"it succeeded at step {job.step} of {job.total_steps}"


def _event_numbers(recorded: RecordedJob) -> Iterator[str]:
    numbers = [event.seq for event in recorded.events]
    if numbers != list(range(1, recorded.job.event_seq + 1)):
        yield f"events are numbered {numbers}, and the job says {recorded.job.event_seq}"


def _transitions(recorded: RecordedJob) -> Iterator[str]:
    path = [Status(event.data["status"]) for event in recorded.events if event.type == "job.status"]
    if not path or path[0] is not Status.QUEUED:
        yield f"it began as {path[:1]}"
    for before, after in pairwise(path):
        if after not in TRANSITIONS[before]:
            yield f"it went from {before} to {after}"


def _attempts(recorded: RecordedJob) -> Iterator[str]:
    wanted = list(range(1, recorded.job.attempt + 1))
    ran = [e.attempt for e in recorded.events if e.type == "job.status" and e.data["status"] == Status.RUNNING]
    if ran != wanted:
        yield f"attempts {ran} ran, and the job says {recorded.job.attempt}"
    if [attempt.attempt for attempt in recorded.attempts] != wanted:
        yield f"rows of attempts {[attempt.attempt for attempt in recorded.attempts]}"
    for attempt in recorded.attempts:
        saved = {0} | {c.step for c in recorded.checkpoints if c.attempt < attempt.attempt}
        if attempt.resumed_from_step is not None and attempt.resumed_from_step not in saved:
            yield f"attempt {attempt.attempt} resumed from step {attempt.resumed_from_step}, which has no checkpoint"
        if attempt.ended_at is None or attempt.outcome is None:
            yield f"attempt {attempt.attempt} has no end"


def _released(recorded: RecordedJob) -> Iterator[str]:
    job = recorded.job
    if job.lease_until is not None:
        yield f"its lease is held until {job.lease_until} by {job.lease_owner}"
    if job.finished_at is None:
        yield "finished_at is missing"


def _gaps(recorded: RecordedJob) -> tuple[int, int]:
    """Return how many steps of the curves are missing, and how many are doubled."""
    missing = doubled = 0
    for name in recorded.reference.curves:
        steps = recorded.points(name)[0]
        different = np.unique(steps)
        wanted = np.arange(1, recorded.job.step + 1)
        missing += len(np.setdiff1d(wanted, different))
        doubled += len(steps) - len(different)
    return missing, doubled


def _contiguous(recorded: RecordedJob) -> Iterator[str]:
    for name in recorded.reference.curves:
        steps = recorded.points(name)[0]
        if not np.array_equal(steps, np.arange(1, recorded.job.step + 1)):
            wrong = np.flatnonzero(np.diff(np.concatenate([[0], steps])) != 1)
            places = [int(steps[i]) for i in wrong[:5]]
            yield f"{name} has {len(steps)} points up to step {recorded.job.step}; breaks before steps {places}"


def _values(recorded: RecordedJob) -> Iterator[str]:
    for name, wanted in recorded.reference.curves.items():
        steps, values = recorded.points(name)
        inside = (steps >= 1) & (steps <= len(wanted))
        if not inside.all():
            yield f"{name} has points outside of the run: {steps[~inside][:5].tolist()}"
        here, there = values[inside], wanted[steps[inside] - 1]
        same = (here == there) | (np.isnan(here) & np.isnan(there))
        if not same.all():
            first = int(steps[inside][~same][0])
            yield f"{name} differs from an undisturbed run, first at step {first}"


def _weights(recorded: RecordedJob) -> Iterator[str]:
    """Compare the weights of every scheduled checkpoint, and check the last checkpoint of a job that succeeded."""
    spec, ready = from_record(recorded.job.spec), [c for c in recorded.checkpoints if c.state == "ready"]
    for row in ready:
        wanted = recorded.reference.digest(spec, row.step)
        if wanted is not None and wanted != row.weights_sha256:
            yield f"the weights of step {row.step}, attempt {row.attempt}, are not an undisturbed run's"
    if recorded.job.status == Status.SUCCEEDED and (not ready or ready[-1].step != recorded.job.total_steps):
        yield f"its last checkpoint is of step {ready[-1].step if ready else None}"


def _checkpoint_files(recorded: RecordedJob) -> Iterator[str]:
    for row in recorded.checkpoints:
        if row.state != "ready":
            continue
        try:
            recorded.artifacts.verify(row.key, row.bytes, row.sha256)
            recorded.artifacts.verify(row.weights_key, row.weights_bytes, row.weights_sha256)
        except ArtifactLostError as error:
            yield f"checkpoint of step {row.step}: {error}"
    for before, after in pairwise(recorded.checkpoints):
        if before.step < after.step and before.attempt > after.attempt:
            yield f"attempt {before.attempt} saved step {before.step}, and attempt {after.attempt} step {after.step}"
    if recorded.checkpoints and recorded.checkpoints[-1].step > recorded.job.step:
        yield f"step {recorded.checkpoints[-1].step} is saved, and the job is at step {recorded.job.step}"


def _preview_files(recorded: RecordedJob) -> Iterator[str]:
    for row in recorded.previews:
        try:
            recorded.artifacts.verify(row.key, row.bytes, row.sha256)
        except ArtifactLostError as error:
            yield f"preview of step {row.step}: {error}"


def _best(recorded: RecordedJob) -> Iterator[str]:
    best = [row.step for row in recorded.checkpoints if row.is_best]
    wanted = recorded.reference.best_step
    if recorded.job.status == Status.SUCCEEDED and best != ([] if wanted is None else [wanted]):
        yield f"the best checkpoints are of steps {best}, and an undisturbed run's of {wanted}"
    if len(best) > 1:
        yield f"{len(best)} checkpoints are the best"


def _previews_and_evaluations(recorded: RecordedJob) -> Iterator[str]:
    """Check that each preview and evaluation is there once, and that the figures are those of an undisturbed run."""
    yield from _expected_steps(recorded, "preview", recorded.previews, recorded.reference.previews)
    yield from _expected_steps(recorded, "evaluation", recorded.evaluations, list(recorded.reference.evaluations))
    for row in recorded.evaluations:
        wanted = recorded.reference.evaluations.get(row.step)
        if wanted is not None and row.metrics != {k: v if np.isfinite(v) else None for k, v in wanted.items()}:
            yield f"the evaluation of step {row.step} has other figures than an undisturbed run's"


def _expected_steps(
    recorded: RecordedJob, what: str, rows: Sequence[Preview | Evaluation], wanted: list[int]
) -> Iterator[str]:
    counting = [row.step for row in rows if row.step <= recorded.limit(row.attempt)]
    # An attempt that starts from scratch records step 0 again.
    if doubled := {step for step in counting if step > 0 and counting.count(step) > 1}:
        yield f"more than one {what} at steps {sorted(doubled)}"
    if odd := set(counting) - set(wanted):
        yield f"a {what} at steps {sorted(odd)}, where none is due"
    if recorded.job.status == Status.SUCCEEDED and (missing := set(wanted) - set(counting)):
        yield f"no {what} at steps {sorted(missing)}"


_RULES: Final[dict[str, Callable[[RecordedJob], Iterator[str]]]] = {
    "one end": _one_end,
    "ends as requested": _end_as_requested,
    "events numbered without a gap": _event_numbers,
    "valid transitions only": _transitions,
    "attempts 1 to n": _attempts,
    "no lease is held": _released,
    "every step once": _contiguous,
    "the values of an undisturbed run": _values,
    "the weights of an undisturbed run": _weights,
    "checkpoint files are intact": _checkpoint_files,
    "preview files are intact": _preview_files,
    "the best checkpoint of an undisturbed run": _best,
    "previews and evaluations once": _previews_and_evaluations,
}


def _accepted(recorded_jobs: list[RecordedJob], clients: ClientView) -> Iterator[str]:
    there, accepted = {recorded.job.id for recorded in recorded_jobs}, set(clients.accepted.values())
    if lost := accepted - there:
        yield f"accepted, but not on record: {sorted(lost)}"
    if not clients.doubles_allowed and (extra := there - accepted):
        yield f"on record, but no client got them: {sorted(extra)}"
    if len(accepted) != len(clients.accepted):
        yield f"{len(clients.accepted)} keys were answered with {len(accepted)} jobs"


def _orphans(recorded_jobs: list[RecordedJob], artifacts: Storage) -> Iterator[str]:
    """Yield the keys of files that belong to no row."""
    owned = {key for recorded in recorded_jobs for key in _keys(recorded)}
    yield from (key for key in artifacts.list_keys(unfinished=True) if key not in owned)


def _keys(recorded: RecordedJob) -> Iterator[str]:
    for number in range(1, recorded.job.attempt + 1):
        yield keys.log(recorded.job.id, number)
        yield keys.outcome(recorded.job.id, number)
    for row in recorded.checkpoints:
        if row.state == "ready":
            yield from (row.key, row.weights_key, keys.onnx(row.weights_key))
    for preview in recorded.previews:
        yield preview.key
