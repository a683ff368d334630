"""`gantry submit`: flags, files, another job's spec and the remedies of its findings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gantry.client import Client
from jobs.runtime.settings import Settings
from tests.api.conftest import FINDING
from tests.api.shell import url_of
from tests.gantry.command import gantry, submit
from tests.gantry.findings import succeed_with_finding


def test_a_job_is_submitted_by_flags_and_by_file(served: Settings, tmp_path: Path) -> None:
    job_id = submit(served, "--seed", "7", "--set", "optimizers.g.beta1=0.25", "--set", "labels.team=vision")
    rates = submit(served, "--set", "optimizers.g.learning_rate=2e-5", "--set", "optimizers.d.learning_rate=1E-2")
    with Client(url_of(served)) as client:
        spec = client.job(job_id)["spec"]
        optimizers = client.job(rates)["spec"]["optimizers"]
    learning_rates = optimizers["g"]["learning_rate"], optimizers["d"]["learning_rate"]
    assert learning_rates == (2e-5, 1e-2), "in YAML 1.1 these are strings"
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


def test_findings_are_printed_with_a_command_that_applies_their_remedies(served: Settings) -> None:
    job_id = submit(served)
    succeed_with_finding(served, job_id)
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
        (("--from", "job_0", "--preset", "dcgan"), "cannot be combined with a file or"),
        (("--from", "job_0"), "There is no job 'job_0'."),
        (("--set", "seed"), "--set 'seed' is not of the form a.b=c."),
        (("--set", "seed=1", "--set", "seed.x=2"), "seed is a value and has no fields."),
    ],
)
def test_options_that_do_not_fit_together_are_refused(
    served: Settings, words: tuple[str, ...], sentence: str
) -> None:
    done = gantry("submit", *words, settings=served)
    assert done.returncode != 0 and sentence in " ".join(done.stderr.split()) and done.stdout == ""


def test_a_finding_that_a_job_does_not_have_is_refused(served: Settings) -> None:
    done = gantry("submit", "--from", submit(served), "--remedy", "mode_collapse", settings=served)
    assert done.returncode == 2 and "no finding 'mode_collapse'" in done.stderr and done.stdout == ""
