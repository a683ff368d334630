"""`python -m gan train spec.yaml --out DIR`: the same training without the service; `evaluate` judges what it left.

Started by `torchrun --nproc-per-node N -m gan train ...`, N processes train the one job together.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist
import yaml

from gan import features
from gan.checkpoint import CheckpointUnreadable
from gan.data import ImageDataset
from gan.datasets import DatasetUnavailable, load
from gan.evaluate import Evaluator, classifier_trained_on_fakes
from gan.features import FeatureNet
from gan.folder import Folder
from gan.ranks import ALONE, Ranks
from gan.sample import Generator
from gan.spec import SpecError, check_against, resolve
from gan.train import Diverged, Trainer

# Where a feature network that had to be trained is kept for the next run.
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gantry" / "features"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 1 training failed, 2 the spec, a file or the command line is wrong."""
    asked = _parser().parse_args(arguments)
    try:
        code: int = asked.command(asked)
    except SpecError as error:
        for problem in error.problems:
            print(f"{asked.file}: {problem.pointer or '/'}: {problem.detail}", file=sys.stderr)
        return 2
    except (ValueError, OSError, DatasetUnavailable, CheckpointUnreadable) as error:
        print(f"{asked.file}: {error}", file=sys.stderr)
        return 2
    return code


def _train(asked: argparse.Namespace) -> int:
    spec = resolve(_body(asked.file))
    data = load(spec.dataset)
    check_against(spec, data.info)
    with _ranks() as ranks:
        net = _features(data) if spec.evaluation.enabled else None
        trainer = Trainer(spec, data, asked.device, features=net, ranks=ranks)
        folder = Folder(asked.out, trainer) if ranks.rank == 0 else None
        try:
            for event in trainer.run():
                if folder is not None:
                    folder.take(event)
        except Diverged as error:
            print(error, file=sys.stderr)
            return 1
    if trainer.ended_early:
        print(f"Ended at step {trainer.step}: {trainer.ended_early}")
    return 0


def _evaluate(asked: argparse.Namespace) -> int:
    drawn = Generator.load(asked.file, asked.device)
    data = load(drawn.info.name)
    chosen = drawn.spec.evaluation.model_copy(update={"enabled": True, "images": asked.images})
    spec = drawn.spec.model_copy(update={"evaluation": chosen})
    weights: Literal["ema", "raw"] = "ema" if spec.ema.enabled else "raw"
    found = asdict(Evaluator(spec, data, _features(data), asked.device).evaluate(drawn, drawn.step, 0, weights))
    if asked.train_on_fakes:
        if not spec.conditional:
            raise ValueError("a classifier needs labelled fakes, and this generator knows no classes.")
        found["metrics"]["accuracy_trained_on_fakes"] = classifier_trained_on_fakes(drawn, data, spec.seed)
    del found["images_seen"]  # weights do not say
    print(json.dumps(found, indent=2))
    return 0


def _features(data: ImageDataset) -> FeatureNet:
    return features.for_dataset(data, _CACHE)


@contextmanager
def _ranks() -> Iterator[Ranks]:
    """This process among those that torchrun started; alone without it."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield ALONE
        return
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def _body(path: Path) -> dict[str, Any]:
    """The POST body as YAML. Raises `ValueError` with a sentence."""
    try:
        body = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the file cannot be read ({error}).") from error
    except yaml.YAMLError as error:
        raise ValueError(f"this is not YAML: {error}") from error
    if not isinstance(body, dict) or not all(isinstance(key, str) for key in body):
        raise ValueError("the file must hold fields and values, such as `dataset: fashion-mnist-mini`.")
    return body


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m gan", description="Train a GAN without the service.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    train = commands.add_parser("train", help="train the job that a YAML file asks for")
    train.add_argument("file", type=Path, metavar="SPEC", help="the body of POST /v1/jobs, as YAML")
    train.add_argument("--out", type=Path, required=True, help="folder for samples, curves, checkpoint and weights")
    train.set_defaults(command=_train)
    evaluate = commands.add_parser("evaluate", help="judge the weights that a run left, as JSON")
    evaluate.add_argument("file", type=Path, metavar="WEIGHTS", help="such as DIR/best.safetensors")
    evaluate.add_argument("--images", type=int, default=5_000, help="images to draw (default: %(default)s)")
    evaluate.add_argument(
        "--train-on-fakes", action="store_true", help="also train a classifier on fakes and test it on reals"
    )
    evaluate.set_defaults(command=_evaluate)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for command in (train, evaluate):
        command.add_argument("--device", default=device, help="cpu, cuda or cuda:1 (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
