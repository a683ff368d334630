"""`python -m gan train spec.yaml --out DIR`: the same training without the service; `evaluate` judges what it left.

`--data PATH` trains on images of one's own, a zip or a folder of class folders; then the spec may be left out.
Started by `torchrun --nproc-per-node N -m gan train ...`, N processes train the one job together.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Literal, NoReturn

import torch
import torch.distributed as dist
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from gan.adversarial.distributed import ALONE, Ranks
from gan.checkpoint import CheckpointUnreadableError
from gan.data import ImageDataset
from gan.datasets import DatasetUnavailableError, load, uploaded
from gan.datasets.brought import bring
from gan.folder import RunFolder
from gan.quality import features
from gan.quality.evaluate import Evaluator, classifier_trained_on_fakes
from gan.quality.features import FeatureNet
from gan.sample import TrainedGenerator
from gan.spec import BUILTIN_DATASETS, SpecError, check_against, resolve
from gan.train import DivergedError, Trainer
from gan.uploads.archive import ArchiveRefusedError
from gan.uploads.unpack import LARGEST_SIDE, SMALLEST_SIDE

_STARTED_BY_TORCHRUN: Final = "TORCHELASTIC_RUN_ID"
# Where a feature network that had to be trained is kept for the next run.
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gantry" / "features"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 1 training failed, 2 the spec, a file or the command line is wrong."""
    asked = _parser().parse_args(arguments)
    try:
        code: int = asked.command(asked)
    except SpecError as error:
        for problem in error.problems:
            print(f"{asked.file or 'spec'}: {problem.pointer or '/'}: {problem.detail}", file=sys.stderr)
        return 2
    except ArchiveRefusedError as error:
        for found in error.problems:
            print(f"{asked.data}: {found.detail}", file=sys.stderr)
        return 2
    except (ValueError, OSError, DatasetUnavailableError, CheckpointUnreadableError) as error:
        print(f"{asked.file or asked.data}: {error}", file=sys.stderr)
        return 2
    return code


def _train(asked: argparse.Namespace) -> int:
    spec = resolve(_named(_body(asked.file) if asked.file else {}, asked.data))
    with _ranks() as ranks:
        data = _images(spec.dataset, asked.data, asked.size, asked.out / "images", ranks)
        check_against(spec, data.info)
        net = _features(data) if spec.evaluation.enabled else None
        trainer = Trainer(spec, data, asked.device, features=net, ranks=ranks)
        folder = RunFolder(asked.out, trainer) if ranks.rank == 0 else None
        try:
            for event in trainer.run():
                if folder is not None:
                    folder.take(event)
        except DivergedError as error:
            print(error, file=sys.stderr)
            return 1
    if trainer.ended_early:
        print(f"Ended at step {trainer.step}: {trainer.ended_early}")
    return 0


def _evaluate(asked: argparse.Namespace) -> int:
    drawn = TrainedGenerator.load(asked.file, asked.device)
    with tempfile.TemporaryDirectory() as folder:
        data = _images(drawn.info.name, asked.data, drawn.info.height, Path(folder), ALONE)
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


def _named(body: dict[str, Any], own: Path | None) -> dict[str, Any]:
    """The body, whose data set is called as the images that were brought. Raises `ValueError`."""
    if own is None:
        return body
    name = body.get("dataset", own.resolve().name if own.is_dir() else own.stem)
    if name in BUILTIN_DATASETS:
        raise ValueError(f"`dataset: {name}` and --data {own} are two data sets: take one of them.")
    return {**body, "dataset": name}


def _images(name: str, own: Path | None, side: int | None, folder: Path, ranks: Ranks) -> ImageDataset:
    """The data set `name`; or one's own images, where `own` says that they lie, unpacked into `folder` by one rank.

    Raises `Refused`, `OSError` and what `load` raises.
    """
    if own is None:
        return load(name)
    if ranks.rank:
        info = ranks.agree(None)
        if info is None:
            raise SystemExit(2)  # the first rank says why
        return uploaded.load(folder, info)
    info = None
    try:
        data = bring(own, folder, name, side, planned=lambda plan: _say(plan.words))
        info = data.info
    finally:
        ranks.agree(info)
    return data


def _features(data: ImageDataset) -> FeatureNet:
    return features.for_dataset(data, _CACHE, _Learning())


class _Learning:
    """Says of a feature network that has to be trained, which takes minutes, how far that is: every tenth of it."""

    def __init__(self) -> None:
        self._due = 0.0

    def __call__(self, share: float) -> None:
        if share >= self._due:
            self._due += 0.1
            _say(f"learning what tells these images apart, for the evaluations: {share:.0%}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _side(text: str) -> int:
    if not text.isdecimal() or not SMALLEST_SIDE <= int(text) <= LARGEST_SIDE:
        raise argparse.ArgumentTypeError(f"take {SMALLEST_SIDE} to {LARGEST_SIDE} pixels, not {text}")
    return int(text)


@contextmanager
def _ranks() -> Iterator[Ranks]:
    """This process among those that torchrun started; alone without it."""
    if _STARTED_BY_TORCHRUN not in os.environ:
        yield ALONE
        return
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def _leave(code: int) -> NoReturn:
    """End this process.

    Among others that torchrun started, at once: a thread of gloo's may still hold the tensors of the last collective,
    and aborts a run that has succeeded when it asks a finalizing interpreter to let go of them (pytorch#179291).
    """
    if _STARTED_BY_TORCHRUN not in os.environ:
        sys.exit(code)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _body(path: Path) -> dict[str, Any]:
    """The POST body as YAML. Raises `ValueError` with a sentence."""
    try:
        body = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the file cannot be read ({error}).") from error
    except YAMLError as error:
        raise ValueError(f"this is not YAML: {error}") from error
    if not isinstance(body, dict) or not all(isinstance(key, str) for key in body):
        raise ValueError("the file must hold fields and values, such as `dataset: fashion-mnist-mini`.")
    return body


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m gan", description="Train a GAN without the service.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    train = commands.add_parser("train", help="train the job that a YAML file asks for")
    train.add_argument(
        "file",
        type=Path,
        nargs="?",
        metavar="SPEC",
        help="the body of POST /v1/jobs, as YAML; may be left out beside --data",
    )
    train.add_argument("--out", type=Path, required=True, help="folder for samples, curves, checkpoint and weights")
    train.add_argument(
        "--size", type=_side, metavar="PIXELS", help="width and height your own images get (default: what fits)"
    )
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
        command.add_argument("--data", type=Path, metavar="PATH", help="your own images: a zip, or a folder a class")
        command.add_argument("--device", default=device, help="cpu, cuda or cuda:1 (default: %(default)s)")
    return parser


if __name__ == "__main__":
    _leave(main())
