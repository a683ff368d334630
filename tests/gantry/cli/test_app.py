"""The command line against a real server, as a person meets it."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from gantry.client import Client, Json
from gantry.terminal import jobs as screen
from jobs import leases
from jobs.db import Database, migrate
from jobs.runtime.settings import Settings
from jobs.status import Status
from jobs.store import evaluations, health, metrics
from tests.api.conftest import FINDING
from tests.api.shell import gantry, play, submit, url_of
from tests.conftest import small_settings
from tests.ports import free_port


def test_help_is_quick_and_names_every_command() -> None:
    started = time.perf_counter()
    done = gantry("--help")
    assert done.returncode == 0 and time.perf_counter() - started < 30
    jobs = ("submit", "watch", "samples", "curves", "pause", "resume", "cancel", "retry", "workers")
    for command in (*jobs, "up", "worker", "doctor", "migrate", "settings", "demo"):
        assert f" {command} " in done.stdout


def test_a_job_is_submitted_by_flags_and_by_file(served: Settings, tmp_path: Path) -> None:
    job_id = submit(served, "--seed", "7", "--set", "optimizers.g.beta1=0.25", "--set", "labels.team=vision")
    rates = submit(served, "--set", "optimizers.g.learning_rate=2e-5", "--set", "optimizers.d.learning_rate=1E-2")
    with Client(url_of(served)) as client:
        spec = client.job(job_id)["spec"]
        rated = client.job(rates)["spec"]["optimizers"]
    assert (rated["g"]["learning_rate"], rated["d"]["learning_rate"]) == (2e-5, 1e-2), "to YAML 1.1 these are words"
    assert spec["seed"] == 7 and spec["optimizers"]["g"]["beta1"] == 0.25 and spec["labels"] == {"team": "vision"}
    file = tmp_path / "job.yaml"
    file.write_text(
        "dataset: fashion-mnist-mini\npreset: dcgan\ntotal_steps: 9\noptimizers: {d: {learning_rate: 2e-5}}\n"
    )
    done = gantry("submit", str(file), "--name", "from a file", "--json", settings=served)
    job = json.loads(done.stdout)
    assert job["name"] == "from a file" and job["spec"]["preset"] == "dcgan" and job["spec"]["total_steps"] == 9
    assert job["spec"]["optimizers"]["d"]["learning_rate"] == 2e-5
    listed = gantry("jobs", settings=served)
    assert job["id"] in listed.stdout and "from a file" in listed.stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("submit", "--dataset", "nope"), "There is no data set 'nope'"),
        (("submit", "--dataset", "fashion-mnist", "--set", "optimizers.g.beta1=2"), "optimizers.g.beta1"),
        (("submit", "--dataset", "fashion-mnist", "--set", "stepz=3"), "There is no field 'stepz'"),
        (("watch", "job_0"), "There is no job 'job_0'."),
        (("curves", "job_0"), "There is no job 'job_0'."),
    ],
)
def test_a_refusal_is_one_sentence_and_exit_1(served: Settings, words: tuple[str, ...], sentence: str) -> None:
    done = gantry(*words, settings=served)
    assert done.returncode == 1 and sentence in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == "" and len(done.stderr.splitlines()) == 1
    assert "/" not in done.stderr and done.stderr.count(sentence) == 1


def test_the_address_may_be_a_variable(served: Settings) -> None:
    job_id = submit(served)
    assert job_id in gantry("jobs", variables={"GANTRY_URL": url_of(served)}).stdout


def test_jobs_are_a_table_that_no_pipe_cuts(served: Settings) -> None:
    job_id = submit(served, "--name", "a name that is rather long, as names of experiments tend to become with time")
    head, *rows = gantry("jobs", settings=served).stdout.splitlines()
    assert head.split() == ["ID", "NAME", "STATUS", "HEALTH", "STEP", "IMAGES/S", "AGE", "DEVICE"]
    (row,) = (row for row in rows if row.startswith(job_id))
    assert "tend to become with time" in row and "0/10" in row and row.split()[-2].endswith("s")
    play(served, job_id, Status.SUCCEEDED)
    (row,) = (row for row in gantry("jobs", settings=served).stdout.splitlines() if row.startswith(job_id))
    assert "succeeded" in row and "10/10" in row and row.endswith("cpu")


def test_nobody_at_the_address_is_one_sentence() -> None:
    done = gantry("jobs", "--url", f"http://127.0.0.1:{free_port()}")
    assert done.returncode == 1 and "is `gantry up` running?" in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("words", [("jobs",), ("watch", "job_0"), ("keys", "list"), ("webhooks", "delete", "x")])
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("GANTRY_URL", "http://127.0.0.1:abc", "has a host or a port that cannot be"),
        ("GANTRY_URL", "127.0.0.1:8000", "must start with http:// or https://"),
        ("GANTRY_KEY", "gan_live_se\ncret", "holds a line break"),
    ],
)
def test_an_address_or_a_key_that_cannot_be_is_one_sentence_and_exit_2(
    words: tuple[str, ...], name: str, value: str, said: str
) -> None:
    done = gantry(*words, variables={name: value})
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and done.stdout == ""
    assert name in done.stderr and said in done.stderr and "cret" not in done.stderr


@pytest.mark.parametrize("command", ["up", "api", "relay", "migrate", "settings", "doctor"])
def test_a_bad_variable_is_one_sentence_and_exit_2(command: str) -> None:
    done = gantry(command, variables={"GANTRY_PORT": "many"})
    assert done.returncode == 2 and "GANTRY_PORT" in done.stderr and len(done.stderr.splitlines()) == 1
    done = gantry(command, variables={"GANTRY_PROT": "8000"})
    assert done.returncode == 2 and "GANTRY_PORT" in done.stderr


@pytest.mark.parametrize(("status", "code"), [(Status.SUCCEEDED, 0), (Status.FAILED, 1)])
def test_watching_ends_with_the_job_and_tells_how(served: Settings, status: Status, code: int) -> None:
    job_id = submit(served)
    play(served, job_id, status)
    done = gantry("watch", job_id, settings=served)
    assert done.returncode == code
    assert f"{job_id} {status} at step 10." in done.stdout
    told = done.stdout.splitlines()[-2:]
    assert (told == ["D won.", "Try again."]) == (status is Status.FAILED)
    (line,) = gantry("watch", job_id, "--json", settings=served).stdout.splitlines()
    assert json.loads(line)["status"] == status


def _find(settings: Settings, job_id: str) -> None:
    """Be the worker of that job, which goes wrong after an evaluation."""
    db = Database(settings.database)
    with db.write() as s:
        while (job := leases.claim(s, "w", "cpu", 0, 60)) is not None and job.id != job_id:
            pass
        figures = {"fcd": 3.21, "coverage": 0.612, "label_accuracy": None}
        evaluations.register(s, job_id, 1, 5, figures, {}, best_so_far=True)
        health.record(s, job_id, 1, 50, "failing", [FINDING], raised=[FINDING])
        reason = {"code": "stopped_early", "message": "The best is long past."}
        leases.finish(s, job_id, 1, Status.SUCCEEDED, reason=reason)
    db.dispose()


def test_what_is_wrong_and_what_to_do_about_it_is_told_and_can_be_done(served: Settings) -> None:
    job_id = submit(served)
    _find(served, job_id)
    done = gantry("watch", job_id, settings=served)
    assert done.returncode == 0
    *_, status, reason, quality, verdict, finding, first, second, command = done.stdout.splitlines()
    assert status == f"{job_id} succeeded at step 0." and reason == "The best is long past."
    assert quality == "Best at step 5: fcd 3.21, coverage 0.612."
    assert verdict == "Verdict: failing."
    assert finding == f"  vanishing_gradients (critical, from step 10 on): {FINDING['message']}"
    assert first == "    optimizers.d.learning_rate = 0.0001: A slower D stays within reach."
    assert second == '    stabilizers = {"real_label": 0.9}: Smoothing bounds its logits.'
    again = gantry(*command.split()[1:], "--seed", "5", settings=served)
    assert again.returncode == 0, again.stderr
    with Client(url_of(served)) as client:
        old, new = client.job(job_id)["spec"], client.job(again.stdout.strip())["spec"]
    assert new["optimizers"]["d"]["learning_rate"] == 0.0001 and new["stabilizers"]["real_label"] == 0.9
    assert new["seed"] == 5 and new["optimizers"]["g"] == old["optimizers"]["g"]
    (row,) = (row for row in gantry("jobs", settings=served).stdout.splitlines() if row.startswith(job_id))
    assert "failing" in row


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--remedy", "x"), "--remedy needs --from JOB"),
        (("--from", "job_0", "--preset", "dcgan"), "no --preset beside it"),
        (("--from", "job_0"), "There is no job 'job_0'."),
    ],
)
def test_beginning_with_another_job_is_refused_where_it_makes_no_sense(
    served: Settings, words: tuple[str, ...], sentence: str
) -> None:
    done = gantry("submit", *words, settings=served)
    assert done.returncode != 0 and sentence in done.stderr and done.stdout == ""


def test_a_finding_that_a_job_does_not_have_is_refused(served: Settings) -> None:
    done = gantry("submit", "--from", submit(served), "--remedy", "mode_collapse", settings=served)
    assert done.returncode == 2 and "no finding 'mode_collapse'" in done.stderr and done.stdout == ""


@pytest.mark.parametrize(
    ("status", "attempt", "reason", "actions", "words"),
    [
        ("running", 1, None, ["cancel", "pause"], "running"),
        ("running", 2, {"code": "worker_lost"}, ["cancel", "pause"], "attempt 2"),
        ("running", 2, {"code": "preparing"}, ["cancel", "pause"], "preparing"),
        ("running", 2, {"code": "preparing"}, ["cancel", "resume"], "pausing"),
        ("running", 1, None, [], "cancelling"),
        ("paused", 2, None, ["cancel", "resume"], "paused"),
        ("succeeded", 1, {"code": "stopped_early"}, ["delete"], "succeeded"),
    ],
)
def test_what_a_job_is_doing_is_said_in_a_word(
    status: str, attempt: int, reason: dict[str, str] | None, actions: list[str], words: str
) -> None:
    job = {
        "queue": None,
        "status": status,
        "attempt": attempt,
        "status_reason": reason,
        "allowed_actions": actions,
    }
    assert screen.standing(job) == words


def test_a_finding_is_told_when_it_is_new(served: Settings) -> None:
    job_id = submit(served)
    _find(served, job_id)
    for terminal in (True, False):
        out = io.StringIO()
        with Client(url_of(served)) as client:
            screen.follow(client, job_id, Console(file=out, force_terminal=terminal, width=120))
        assert out.getvalue().count(FINDING["message"]) == 2, "while watching, and at the end"


def test_cancel_and_delete(served: Settings) -> None:
    job_id = submit(served)
    assert "is cancelled" in gantry("cancel", job_id, settings=served).stdout
    assert gantry("delete", job_id, settings=served).returncode == 0
    assert gantry("cancel", job_id, settings=served).returncode == 1


def test_curves_are_saved_by_suffix(served: Settings, tmp_path: Path) -> None:
    job_id = submit(served)
    db = Database(served.database)
    import numpy as np

    with db.write() as s:
        metrics.append(s, job_id, 1, 1, ["loss_d"], np.array([[0.5], [0.25]], np.float32))
    db.dispose()
    for name, start in (("a.png", b"\x89PNG"), ("a.csv", b"step,loss_d\n1,0.5"), ("a.json", b'{"series"')):
        done = gantry("curves", job_id, "-o", str(tmp_path / name), settings=served)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / name).read_bytes().startswith(start)
    assert gantry("curves", job_id, "-o", str(tmp_path / "a.gif"), settings=served).returncode != 0


def test_the_doctor_names_what_is_not_there(served: Settings) -> None:
    done = gantry("doctor", "--json", variables=served.environment())
    findings = json.loads(done.stdout)
    assert done.returncode == 1
    assert findings["database"]["ok"] and findings["broker"]["ok"] and findings["data folder"]["ok"]
    assert not findings["sampler"]["ok"] and not findings["devices"]["ok"]


def test_the_doctor_makes_nothing_and_says_what_does(tmp_path: Path) -> None:
    done = gantry("doctor", "--json", "--data", str(tmp_path / "data"))
    findings = json.loads(done.stdout)
    assert done.returncode == 1 and list(tmp_path.iterdir()) == []
    assert "`gantry up` or `gantry migrate` makes it" in findings["database"]["detail"]
    assert [
        name for name, finding in findings.items() if not finding["ok"] and "`gantry up`" not in finding["detail"]
    ] == []
    migrate(small_settings(tmp_path))
    before = sorted(tmp_path.rglob("*"))
    findings = json.loads(gantry("doctor", "--json", "--data", str(tmp_path / "data")).stdout)
    assert findings["database"]["ok"] and findings["data folder"]["ok"]
    assert [path for path in sorted(tmp_path.rglob("*")) if "gantry.db" not in path.name] == [
        path for path in before if "gantry.db" not in path.name
    ]


def test_settings_lists_every_variable_and_hides_urls() -> None:
    done = gantry("settings", variables={"GANTRY_DATABASE_URL": "postgresql://me:secret@host/db"})
    assert "secret" not in done.stdout and "GANTRY_DATABASE_URL=(set)" in done.stdout
    for name in Settings.model_fields:
        assert f"GANTRY_{name.upper()}=" in done.stdout


class _Told(Client):
    """A service that tells of a job what it is given to tell."""

    def __init__(self, *states: Json) -> None:
        super().__init__("http://127.0.0.1:9")
        self._states = states

    def watch(self, job_id: str, seconds: float | None = None) -> Iterator[Json]:
        yield from self._states

    def best_evaluation(self, job_id: str) -> None:
        return None


def test_a_pipe_is_not_told_the_same_twice(served: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "_SECONDS_A_LINE", 0.0)
    with Client(url_of(served)) as client:
        job = client.job(submit(served))
    preparing = {**job, "queue": None, "status": "running", "status_reason": {"code": "preparing", "message": "."}}
    further = {**preparing, "progress": {**job["progress"], "step": 3}}
    out = io.StringIO()
    with _Told(preparing, preparing, preparing, further) as client:
        screen.follow(client, job["id"], Console(file=out, width=120))
    told = [line for line in out.getvalue().splitlines() if "preparing: step" in line]
    assert [line.split()[2] for line in told] == ["0", "3"]


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (40, ["loss_d -0.409  loss_g 2.065", "fcd 257.676    1,294 images/s", "6:02:18 left"]),
        (60, ["loss_d -0.409  loss_g 2.065  fcd 257.676  1,294 images/s", "6:02:18 left"]),
        (80, ["loss_d -0.409  loss_g 2.065  fcd 257.676  1,294 images/s  6:02:18 left"]),
        (120, []),
    ],
)
def test_a_narrow_terminal_gets_the_numbers_below_the_bar(served: Settings, width: int, lines: list[str]) -> None:
    with Client(url_of(served)) as client:
        job = client.job(submit(served))
    progress = {**job["progress"], "step": 5, "images_per_second": 1294.0, "eta_seconds": 21738}
    latest = {"loss_d": -0.409, "loss_g": 2.065, "fcd": 257.676}
    running = {**job, "queue": None, "status": "running", "progress": progress, "latest_metrics": latest}
    out = io.StringIO()
    with _Told(running) as client:
        screen.follow(client, job["id"], Console(file=out, force_terminal=True, color_system=None, width=width))
    shown = [line.rstrip() for line in out.getvalue().splitlines()]
    (bar,) = (place for place, line in enumerate(shown) if "running" in line and "50%" in line)
    assert shown[bar].count("━") >= 10 and shown[bar + 1 : bar + 1 + len(lines)] == lines
    if not lines:
        assert shown[bar].endswith("50% loss_d -0.409  loss_g 2.065  fcd 257.676  1,294 images/s  6:02:18 left")


def test_a_terminal_gets_a_bar_and_a_file_gets_lines(served: Settings) -> None:
    job_id = submit(served)
    play(served, job_id, Status.SUCCEEDED)
    for terminal in (True, False):
        out = io.StringIO()
        with Client(url_of(served)) as client:
            job = screen.follow(client, job_id, Console(file=out, force_terminal=terminal, width=120))
        assert job["status"] == "succeeded"
        assert ("━" in out.getvalue()) == terminal
        assert "loss_d 0.500" in out.getvalue() and "64 images/s" in out.getvalue()
