"""`make session`: docs/session.md, a session at the command line as it went.

Every command is run, in a folder with `clothes.zip`, made of the images that ship with Gantry, against a service of
its own. The output goes through a pipe, as into a log: a line now and then where a terminal has one that moves.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import clothes
from benchmarks.served import service

PAGE: Final = Path(__file__).parent.parent / "docs" / "session.md"
ARCHIVE: Final = "clothes.zip"
_JOB: Final = (
    "dataset: clothes\\npreset: cgan-concat\\ntotal_steps: {steps}\\n"
    "generator: {{base_channels: 16}}\\ndiscriminator: {{base_channels: 16}}\\n"
)
_HEAD: Final = """# A session at the command line

Written by `make session`; do not edit. `benchmarks/session.py` made `clothes.zip` ({each} real images a class, of
those that ship with Gantry), started a service, ran these commands one after the other, and wrote down what they
printed. The output went through a pipe: on a terminal, `--watch` is a bar that moves, and `gantry samples` and
`gantry curves` without `-o` show their pictures. `GANTRY_URL` says where the service is.
"""


@dataclass(frozen=True)
class Said:
    """A command, what it printed, and its exit code."""

    about: str
    command: str
    output: str
    code: int


class Session:
    """Runs commands in a folder, and keeps what was said."""

    def __init__(self, url: str, folder: Path, told: Callable[[Said], None] = lambda _: None) -> None:
        self.said: list[Said] = []
        self._folder, self._told = folder, told
        here = Path(sys.executable).parent
        self._environment = {**os.environ, "GANTRY_URL": url, "PATH": f"{here}{os.pathsep}{os.environ['PATH']}"}

    def run(self, about: str, command: str, code: int = 0) -> str:
        """Run it, after a sentence on what it is for; what it printed. Raises `SystemExit` at another exit code."""
        done = subprocess.run(
            [shutil.which("bash") or "bash", "-c", command],
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != code:
            raise SystemExit(f"{command}: exit code {done.returncode}, not {code}.\n{done.stdout}")
        self.said.append(Said(about, command, done.stdout, done.returncode))
        self._told(self.said[-1])
        return done.stdout


def play(session: Session, steps: int) -> None:
    """Record the whole session, without the remedy if `steps` are too few for a finding."""
    run = session.run
    run("Your own images: a zip, a folder a class.", f"gantry datasets add {ARCHIVE}")
    run("What there is to train on, and to begin with.", "gantry datasets list && gantry presets")
    run("A job is a file, or flags; here a small one.", f"printf '{_JOB.format(steps=steps)}' | tee job.yaml")
    job = run("Sent, and followed to its end.", "gantry submit job.yaml --name 'first try' --watch").split()[0]
    run("The same at any time.", f"gantry show {job}")
    run("Images by class. Image i of a class is seed + i.", f"gantry samples {job} --label Sneaker --seed 7 -o s.png")
    run("Which images those are.", f"gantry samples {job} --label Sneaker -n 1 --seed 7 --json")
    run("The curves, as a picture or as numbers.", f"gantry curves {job} -o loss.png")
    run("", f"gantry curves {job} --names loss_d,loss_g -o loss.csv && head -3 loss.csv")
    run("Its film, and its generator.", f"gantry previews {job} -o film.gif && gantry weights {job} -o g.safetensors")
    _go_wrong(run)
    _steer(run)
    run("A mistake is one sentence, and exit code 1.", "gantry submit --dataset cloths --set optimizers.g.beta1=2", 1)
    run("Who trains.", "gantry workers")
    run("The latest jobs.", "gantry jobs --limit 5")


def _go_wrong(run: Callable[..., str]) -> None:
    """Record a job that fails on purpose, and the same job with its remedy."""
    rates = "--set optimizers.g.learning_rate=2e-5 --set optimizers.d.learning_rate=2e-2"
    told = run(
        "A job that cannot go well: D learns a thousand times as fast as G. It is told, with what to do about it.",
        f"gantry submit job.yaml --name 'D too fast' {rates} --watch",
    )
    if remedy := [line.strip() for line in told.splitlines() if "gantry submit --from" in line]:
        run("That line, as it stands.", f"{remedy[0]} --name cured --watch")


def _steer(run: Callable[..., str]) -> None:
    job = run("Pause a job, let it go on, stop it.", "gantry submit job.yaml --steps 100000").strip()
    for command in ("pause", "resume", "cancel"):
        run("", f"gantry {command} {job}")
    run("It saves what it has learnt, and ends as cancelled: exit code 1.", f"gantry watch {job}", 1)
    run("What happened to it.", f"gantry events {job}")
    again = run("A cancelled or failed job goes on as a new one.", f"gantry retry {job}").strip()
    run("", f"gantry cancel {again}")


def page(said: Sequence[Said], each: int) -> str:
    """Markdown: a sentence, then the command and what it printed."""
    parts = [_HEAD.format(each=each)]
    for one in said:
        code = f"\n$ echo $?\n{one.code}" if one.code else ""
        block = f"```text\n$ {one.command}\n{one.output.rstrip()}{code}\n```\n"
        parts.append(f"{one.about}\n\n{block}" if one.about else block)
    return "\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 when every command ended as it should."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.session", description=__doc__)
    parser.add_argument("--steps", type=int, default=300, help="steps of a job (default: %(default)s)")
    parser.add_argument("--each", type=int, default=200, help="images of a class (default: %(default)s)")
    parser.add_argument("--page", type=Path, default=PAGE, help="what to write (default: %(default)s)")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as there, service(Path(there), 1) as (_, url):
        clothes.zipped(Path(there) / ARCHIVE, asked.each)
        session = Session(url, Path(there), lambda said: print(f"$ {said.command}\n{said.output}", flush=True))
        play(session, asked.steps)
    asked.page.write_text(page(session.said, asked.each), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
