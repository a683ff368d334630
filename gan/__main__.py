"""Training without the service: `python -m gan train spec.yaml --out DIR`, and `evaluate` to measure the result.

`--data PATH` trains on the user's own images, a zip or a folder with one folder per class; then the spec is optional.
With `torchrun --nproc-per-node N -m gan train ...`, N processes train the job together.
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
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import YAMLError

from gan.adversarial.distributed import ALONE, Ranks
from gan.checkpoint import CheckpointUnreadableError
from gan.data import ImageDataset
from gan.datasets import DatasetUnavailableError, load, local, uploaded
from gan.folder import RunFolder
from gan.quality import features
from gan.quality.evaluate import Evaluator, classifier_trained_on_fakes
from gan.quality.features import FeatureNet
from gan.sample import TrainedGenerator
from gan.spec import BUILTIN_DATASETS, SpecError, check_against, resolve
from gan.train import DivergedError, Trainer
from gan.uploads.problems import ArchiveRefusedError
from gan.uploads.unpack import MAX_SIDE, MIN_SIDE
from gan.uploads.zipped import UnreadableImagesError

# torchrun sets this variable in each process that it starts.
_TORCHRUN_VARIABLE: Final = "TORCHELASTIC_RUN_ID"
# Feature networks that had to be trained are stored here for later runs.
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gantry" / "features"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Return the exit code: 0 success, 1 training diverged, 2 a bad spec, file or command line."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.command(options)
    except SpecError as error:
        for problem in error.problems:
            print(f"{options.file or 'spec'}: {problem.pointer or '/'}: {problem.detail}", file=sys.stderr)
        return 2
    except ArchiveRefusedError as error:
        for refused in error.problems:
            print(f"{options.data}: {refused.detail}", file=sys.stderr)
        return 2
    except UnreadableImagesError as error:
        print(error, file=sys.stderr)
        return 2
    except (ValueError, OSError, DatasetUnavailableError, CheckpointUnreadableError) as error:
        print(f"{options.file or options.data}: {error}", file=sys.stderr)
        return 2
    return code


def _train(options: argparse.Namespace) -> int:
    spec = resolve(_with_dataset_name(_body(options.file) if options.file else {}, options.data))
    with _ranks() as ranks:
        data = _images(spec.dataset, options.data, options.size, options.out / "images", ranks)
        check_against(spec, data.info)
        net = _features(data) if spec.evaluation.enabled else None
        trainer = Trainer(spec, data, options.device, features=net, ranks=ranks)
        folder = RunFolder(options.out, trainer) if ranks.rank == 0 else None
        try:
            for event in trainer.run():
                if folder is not None:
                    folder.write(event)
        except DivergedError as error:
            print(error, file=sys.stderr)
            return 1
    if trainer.ended_early:
        print(f"Ended at step {trainer.step}: {trainer.ended_early}")
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    generator = TrainedGenerator.load(options.file, options.device)
    with tempfile.TemporaryDirectory() as folder:
        data = _images(generator.info.name, options.data, generator.info.height, Path(folder), ALONE)
    evaluation = generator.spec.evaluation.model_copy(update={"enabled": True, "images": options.images})
    spec = generator.spec.model_copy(update={"evaluation": evaluation})
    weights: Literal["ema", "raw"] = "ema" if spec.ema.enabled else "raw"
    evaluator = Evaluator(spec, data, _features(data), options.device)
    result = asdict(evaluator.evaluate(generator, generator.step, 0, weights))
    if options.train_on_fakes:
        if not spec.conditional:
            raise ValueError("--train-on-fakes needs a conditional generator; this one is unconditional.")
        result["metrics"]["accuracy_trained_on_fakes"] = classifier_trained_on_fakes(generator, data, spec.seed)
    del result["images_seen"]  # A weights file does not contain it.
    print(json.dumps(result, indent=2))
    return 0


def _with_dataset_name(body: dict[str, Any], own: Path | None) -> dict[str, Any]:
    """Return the body with a data set name: by default, that of the user's images at `own`.

    Raises `ValueError` if the body names a built-in data set and `own` is given, too.
    """
    if own is None:
        return body
    name = body.get("dataset", own.resolve().name if own.is_dir() else own.stem)
    if name in BUILTIN_DATASETS:
        raise ValueError(f"`dataset: {name}` and --data {own} are two data sets: take one of them.")
    return {**body, "dataset": name}


def _images(name: str, own: Path | None, side: int | None, folder: Path, ranks: Ranks) -> ImageDataset:
    """Return the built-in data set `name`, or the user's images at `own`, which rank 0 unpacks into `folder`.

    Raises `ArchiveRefusedError`, `UnreadableImagesError`, `OSError`, `ValueError` and `DatasetUnavailableError`. The
    other ranks exit with code 2 if rank 0 fails.
    """
    if own is None:
        return load(name)
    if ranks.rank:
        info = ranks.broadcast(None)
        if info is None:
            raise SystemExit(2)  # Rank 0 prints the reason.
        return uploaded.load(folder, info)
    info = None
    try:
        data = local.load(
            own, folder, name, side, on_preparation=lambda preparation: _print(preparation.words), on_note=_print
        )
        info = data.info
    finally:
        ranks.broadcast(info)
    return data


def _features(data: ImageDataset) -> FeatureNet:
    return features.for_dataset(data, _CACHE, _FeatureProgress())


class _FeatureProgress:
    """A callback that prints every tenth of the training of a feature network, which takes minutes."""

    def __init__(self) -> None:
        self._due = 0.0

    def __call__(self, share: float) -> None:
        if share >= self._due:
            self._due += 0.1
            _print(f"training a feature network on these images, for the evaluations: {share:.0%}")


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _side(text: str) -> int:
    if not text.isdecimal() or not MIN_SIDE <= int(text) <= MAX_SIDE:
        raise argparse.ArgumentTypeError(f"must be {MIN_SIDE} to {MAX_SIDE} pixels, not {text}")
    return int(text)


@contextmanager
def _ranks() -> Iterator[Ranks]:
    """Yield the rank of this process among those that torchrun started; `ALONE` without torchrun."""
    if _TORCHRUN_VARIABLE not in os.environ:
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
    """End this process with exit code `code`.

    Under torchrun it skips the interpreter's finalization. There, a thread of gloo may still hold the tensors of the
    last collective; when it releases them while the interpreter is finalizing, it aborts a run that has succeeded
    (pytorch#179291).
    """
    if _TORCHRUN_VARIABLE not in os.environ:
        sys.exit(code)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _body(path: Path) -> dict[str, Any]:
    """Return the body of `POST /v1/jobs` in the YAML file at `path`. Raises `ValueError`."""
    try:
        body = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the file cannot be read ({error}).") from error
    except DuplicateKeyError as error:
        line = error.problem_mark.line + 1
        raise ValueError(f"line {line}: {str(error.problem).split(' with value')[0]}.") from error
    except YAMLError as error:
        raise ValueError(f"the file is not valid YAML: {error}") from error
    if not isinstance(body, dict) or not all(isinstance(key, str) for key in body):
        raise ValueError("the file must contain fields and values, such as `dataset: fashion-mnist-mini`.")
    return body


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m gan", description="Train a GAN without the service.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    train = commands.add_parser("train", help="train the job that a YAML file describes")
    train.add_argument(
        "file",
        type=Path,
        nargs="?",
        metavar="SPEC",
        help="the body of POST /v1/jobs, as YAML; optional with --data",
    )
    train.add_argument(
        "--out", type=Path, required=True, help="the folder for samples, curves, checkpoint and weights"
    )
    train.add_argument(
        "--size",
        type=_side,
        metavar="PIXELS",
        help="width and height for your own images (default: a size that fits them)",
    )
    train.set_defaults(command=_train)
    evaluate = commands.add_parser(
        "evaluate", help="measure the quality of the weights of a run, and print it as JSON"
    )
    evaluate.add_argument("file", type=Path, metavar="WEIGHTS", help="the weights file, such as DIR/best.safetensors")
    evaluate.add_argument("--images", type=int, default=5_000, help="number of images to draw (default: %(default)s)")
    evaluate.add_argument(
        "--train-on-fakes", action="store_true", help="also train a classifier on fakes and test it on reals"
    )
    evaluate.set_defaults(command=_evaluate)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for command in (train, evaluate):
        command.add_argument(
            "--data", type=Path, metavar="PATH", help="your own images: a zip, or a folder with one folder per class"
        )
        command.add_argument("--device", default=device, help="cpu, cuda or cuda:1 (default: %(default)s)")
    return parser


if __name__ == "__main__":
    _leave(main())
