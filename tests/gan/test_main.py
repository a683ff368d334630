"""`python -m gan train`: the same training without the service."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from gan import checkpoint
from gan.__main__ import main
from gan.sample import Generator
from gan.spec import resolve
from gan.train import METRICS
from tests.gan.quick import SMALL


def run(tmp_path: Path, text: str) -> int:
    (tmp_path / "spec.yaml").write_text(text, encoding="utf-8")
    return main(["train", str(tmp_path / "spec.yaml"), "--out", str(tmp_path / "out"), "--device", "cpu"])


def test_a_spec_becomes_samples_curves_checkpoint_and_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, yaml.safe_dump(SMALL)) == 0
    out = tmp_path / "out"
    assert "step 4/4" in capsys.readouterr().out
    assert sorted(p.name for p in out.iterdir()) == [
        "checkpoint.pt", "metrics.csv", "samples.png", "weights.safetensors",
    ]  # fmt: skip
    rows = list(csv.reader((out / "metrics.csv").open(encoding="utf-8")))
    assert rows[0] == ["step", *METRICS]
    assert [row[0] for row in rows[1:]] == ["1", "2", "3", "4"]
    assert checkpoint.load(out / "checkpoint.pt")["step"] == 4
    generator = Generator.load(out / "weights.safetensors")
    assert generator.spec == resolve(SMALL)
    assert generator.draw([9], [0]).shape == (1, 28, 28, 1)
    assert (out / "samples.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dataset: fashion-mnist-mini\nbatch_sise: 3\n", "/batch_sise: There is no field"),
        ("dataset: nowhere\n", "'nowhere'"),
        ("dataset: fashion-mnist-mini\nbatch_size: 4096\npreset: nine\n", "/preset: There is no preset 'nine'"),
        ("a: [1\n", "not YAML"),
        ("- 1\n", "fields and values"),
        ("3: 4\n", "fields and values"),
    ],
)
def test_a_bad_spec_is_a_sentence_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    assert run(tmp_path, text) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_missing_file_is_a_sentence_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(tmp_path / "none.yaml"), "--out", str(tmp_path)]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_it_is_a_command_of_the_module() -> None:
    done = subprocess.run([sys.executable, "-m", "gan"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "COMMAND" in done.stderr
