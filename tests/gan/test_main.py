"""The commands `python -m gan train` and `evaluate`: training without the service."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from benchmarks import clothes
from gan import checkpoint
from gan.__main__ import main
from gan.sample import TrainedGenerator
from gan.spec import resolve
from gan.train import METRICS
from tests.gan.quick import SMALL


def run(tmp_path: Path, text: str) -> int:
    """Train the spec `text` into the folder `out`. Return the exit code."""
    (tmp_path / "spec.yaml").write_text(text, encoding="utf-8")
    return main(["train", str(tmp_path / "spec.yaml"), "--out", str(tmp_path / "out"), "--device", "cpu"])


def test_train_writes_samples_curves_checkpoint_and_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # YAML 1.1 reads 2e-4 as text; here it must be a number.
    assert run(tmp_path, yaml.safe_dump(SMALL) + "optimizers: {g: {learning_rate: 2e-4}}\n") == 0
    out = tmp_path / "out"
    assert "step 4/4" in capsys.readouterr().out
    assert sorted(p.name for p in out.iterdir()) == [
        "checkpoint.pt", "metrics.csv", "samples.png", "weights.safetensors",
    ], "without evaluations there is no verdict"  # fmt: skip
    rows = list(csv.reader((out / "metrics.csv").open(encoding="utf-8")))
    assert rows[0] == ["step", *METRICS]
    assert [row[0] for row in rows[1:]] == ["1", "2", "3", "4"]
    assert checkpoint.load(out / "checkpoint.pt")["play"]["step"] == 4
    generator = TrainedGenerator.load(out / "weights.safetensors")
    assert generator.spec == resolve({**SMALL, "optimizers": {"g": {"learning_rate": 2e-4}}})
    assert generator.draw([9], [0]).shape == (1, 28, 28, 1)
    assert (out / "samples.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_with_evaluations_writes_metrics_verdict_and_best_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = {
        **SMALL, "total_steps": 20, "evaluation": {"every_steps": 10, "images": 100},
        "safeguards": {"every_steps": 5, "thresholds": {"warm_up_share": 0.0, "warm_up_images": 0}},
    }  # fmt: skip
    assert run(tmp_path, yaml.safe_dump(body)) == 0
    out, output = tmp_path / "out", capsys.readouterr().out
    evaluations = [json.loads(line) for line in (out / "evaluations.jsonl").read_text().splitlines()]
    assert [e["step"] for e in evaluations] == [0, 10, 20]
    assert evaluations[-1]["metrics"]["label_accuracy"] >= 0
    assert evaluations[-1]["provenance"]["feature_net"]["accuracy"] > 0.9
    best = max(e["step"] for e in evaluations if e["best"])
    assert TrainedGenerator.load(out / "best.safetensors").step == best
    health = json.loads((out / "health.json").read_text())
    assert health["verdict"] in output
    # After twenty steps G has learned nothing, which is a finding.
    assert health["findings"] and all(f["evidence"] and f["message"] for f in health["findings"])
    # The evaluation of the saved weights gives the same metrics.
    assert main(["evaluate", str(out / "best.safetensors"), "--images", "100", "--device", "cpu"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["metrics"] == next(e["metrics"] for e in evaluations if e["step"] == best)


def test_two_processes_train_one_job(tmp_path: Path) -> None:
    plain = {"normalization": "none", "base_channels": 4}
    body = {**SMALL, "generator": {**plain, "z_dim": 8}, "discriminator": plain}
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(body), encoding="utf-8")
    for name, launcher in (("one", []), ("two", ["-m", "torch.distributed.run", "--nproc-per-node", "2"])):
        command = [sys.executable, *launcher, "-m", "gan", "train", str(tmp_path / "spec.yaml"), "--device", "cpu"]
        subprocess.run([*command, "--out", str(tmp_path / name)], check=True, capture_output=True)
    one, two = (TrainedGenerator.load(tmp_path / name / "weights.safetensors") for name in ("one", "two"))
    assert (one.step, one.spec) == (two.step, two.spec)
    for name, tensor in one.network.state_dict().items():
        assert torch.allclose(tensor, two.network.state_dict()[name], atol=2e-5), name


def test_unreadable_weights_give_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "no.safetensors").write_bytes(b"nothing")
    for name in ("no.safetensors", "none.safetensors"):
        assert main(["evaluate", str(tmp_path / name), "--device", "cpu"]) == 2
        assert name in capsys.readouterr().err


def test_train_and_evaluate_accept_the_users_own_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = {**SMALL, "evaluation": {"every_steps": 4, "images": 100}}
    del body["dataset"]
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(body), encoding="utf-8")
    zipped, folder = clothes.zipped(tmp_path / "mine.zip", 20, classes=4), tmp_path / "same"
    clothes.folders(folder, 20, classes=4)
    weights = []
    for own in (zipped, folder):
        out = tmp_path / f"out-{own.name}"
        words = ["--data", str(own), "--size", "16", "--out", str(out), "--device", "cpu"]
        assert main(["train", str(tmp_path / "spec.yaml"), *words]) == 0
        weights.append(TrainedGenerator.load(out / "weights.safetensors"))
    assert [generator.info.name for generator in weights] == ["mine", "same"]
    assert list(weights[0].info.labels) == ["Dress", "Pullover", "T-shirt", "Trouser"]
    assert weights[0].info.num_images == 72 and weights[0].info.height == 16
    for name, tensor in weights[0].network.state_dict().items():
        assert torch.equal(tensor, weights[1].network.state_dict()[name]), "a folder is its zip"
    capsys.readouterr()
    best = tmp_path / "out-mine.zip" / "best.safetensors"
    assert main(["evaluate", str(best), "--data", str(zipped), "--images", "100", "--device", "cpu"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["fcd"] >= 0


def test_every_refused_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a/notes.txt", "b/readme.md"):
        (tmp_path / "mine" / name).parent.mkdir(parents=True)
        (tmp_path / "mine" / name).write_bytes(b"x")
    assert main(["train", "--data", str(tmp_path / "mine"), "--out", str(tmp_path / "out")]) == 2
    lines = sorted(capsys.readouterr().err.splitlines())
    assert len(lines) == 3 and "notes.txt" in lines[0] and "readme.md" in lines[1] and "has 0 images" in lines[2]
    assert main(["train", "--data", str(tmp_path / "nowhere.zip"), "--out", str(tmp_path / "out")]) == 2
    assert "nowhere.zip cannot be read" in capsys.readouterr().err
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/mine/a/caf\xe9.png")).write_bytes(b"x")
    (tmp_path / "spec.yaml").write_text("total_steps: 10\n", encoding="utf-8")
    words = ["train", str(tmp_path / "spec.yaml"), "--data", str(tmp_path / "mine"), "--out", str(tmp_path / "out")]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "caf\\xe9.png is not UTF-8" in error and "spec.yaml" not in error


def test_two_data_sets_at_once_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "spec.yaml").write_text("dataset: fashion-mnist-mini\n", encoding="utf-8")
    words = ["--data", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(["train", str(tmp_path / "spec.yaml"), *words]) == 2
    assert "take one of them" in capsys.readouterr().err
    assert main(["train", "--out", str(tmp_path / "out")]) == 2
    assert "/dataset" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dataset: fashion-mnist-mini\nbatch_sise: 3\n", "/batch_sise: There is no field"),
        ("dataset: nowhere\n", "'nowhere'"),
        ("dataset: fashion-mnist-mini\nbatch_size: 4096\npreset: nine\n", "/preset: There is no preset 'nine'"),
        ("a: [1\n", "not valid YAML"),
        ("- 1\n", "fields and values"),
        ("3: 4\n", "fields and values"),
    ],
)
def test_a_bad_spec_gives_a_sentence_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    assert run(tmp_path, text) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_missing_file_gives_a_sentence_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(tmp_path / "none.yaml"), "--out", str(tmp_path)]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_the_module_can_be_run() -> None:
    done = subprocess.run([sys.executable, "-m", "gan"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "COMMAND" in done.stderr
