"""Checkpoint and weights files."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gan import checkpoint
from gan.checkpoint import CheckpointUnreadableError
from gan.data import ImageDataset
from gan.spec import TrainSpec
from gan.train import Trainer

Quick = Callable[..., TrainSpec]


def trained(quick: Quick, data: ImageDataset) -> Trainer:
    """Return a trainer after two steps."""
    trainer = Trainer(quick(total_steps=2), data)
    list(trainer.run())
    return trainer


def test_a_state_survives_saving_and_loading(quick: Quick, shapes: ImageDataset, tmp_path: Path) -> None:
    state = trained(quick, shapes).state()
    with (tmp_path / "c").open("wb") as file:
        checkpoint.save(file, state)
    loaded = checkpoint.load(tmp_path / "c")
    assert loaded.keys() == state.keys()
    assert loaded["spec"] == state["spec"]
    assert all(torch.equal(loaded["play"]["D"][name], tensor) for name, tensor in state["play"]["D"].items())


def test_a_state_is_tensors_and_json(quick: Quick, shapes: ImageDataset) -> None:
    def plain(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return "tensor"
        if isinstance(value, dict):
            return {str(key): plain(inner) for key, inner in value.items()}
        return [plain(inner) for inner in value] if isinstance(value, list) else value

    json.dumps(plain(trained(quick, shapes).state()), allow_nan=False)


class Evil:
    """An object whose pickle runs code when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("run",))


@pytest.mark.parametrize("damage", ["empty", "text", "half", "pickle", "code", "format"])
def test_a_file_that_is_not_a_checkpoint_is_named(
    quick: Quick, shapes: ImageDataset, tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = io.BytesIO()
    checkpoint.save(whole, trained(quick, shapes).state())
    other = io.BytesIO()
    torch.save({"format": 99, "state": {}}, other)
    code = io.BytesIO()
    torch.save({"format": 1, "state": Evil()}, code)
    contents = {
        "empty": b"",
        "text": b"hello",
        "half": whole.getvalue()[: len(whole.getvalue()) // 2],
        "pickle": pickle.dumps(Evil()),
        "code": code.getvalue(),
        "format": other.getvalue(),
    }
    (tmp_path / "c.pt").write_bytes(contents[damage])
    with pytest.raises(CheckpointUnreadableError, match=r"c\.pt"):
        checkpoint.load(tmp_path / "c.pt")
    assert "run" not in capsys.readouterr().out.split()


def test_a_missing_file_raises_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        checkpoint.load(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        checkpoint.load_weights(tmp_path / "none")


def test_a_weights_file_has_all_that_sampling_needs(quick: Quick, shapes: ImageDataset, tmp_path: Path) -> None:
    trainer = trained(quick, shapes)
    data = checkpoint.save_weights(trainer.weights(), trainer.spec, trainer.info, trainer.step)
    (tmp_path / "w").write_bytes(data)
    for source in (data, tmp_path / "w"):
        back = checkpoint.load_weights(source)
        assert (back.spec, back.info, back.step) == (trainer.spec, shapes.info, 2)
        assert all(torch.equal(back.tensors[name], tensor) for name, tensor in trainer.weights().items())


def test_the_same_weights_give_the_same_bytes(quick: Quick, shapes: ImageDataset) -> None:
    trainer = trained(quick, shapes)
    made = {checkpoint.save_weights(trainer.weights(), trainer.spec, trainer.info, 2) for _ in range(5)}
    assert len(made) == 1


@pytest.mark.parametrize("data", [b"", b"12345678", b"\xff" * 64], ids=["empty", "short", "ones"])
def test_bytes_that_are_not_weights_are_refused(data: bytes) -> None:
    with pytest.raises(CheckpointUnreadableError):
        checkpoint.load_weights(data)


def test_weights_of_another_program_are_refused() -> None:
    from safetensors.torch import save

    with pytest.raises(CheckpointUnreadableError):
        checkpoint.load_weights(save({"a": torch.ones(1)}))
    with pytest.raises(CheckpointUnreadableError, match="format 9"):
        checkpoint.load_weights(save({"a": torch.ones(1)}, {"gantry": json.dumps({"format": 9})}))
