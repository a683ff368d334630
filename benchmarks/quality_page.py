"""Writes docs/quality.md from what `benchmarks.quality` left in its folders: a section a folder, in order."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from gan.spec import PRESETS

Result = dict[str, Any]

_COLUMNS: Final = (
    ("FCD", "fcd", "{:.2f}"),
    ("coverage", "coverage", "{:.3f}"),
    ("density", "density", "{:.2f}"),
    ("precision", "precision", "{:.3f}"),
    ("recall", "recall", "{:.3f}"),
    ("label accuracy", "label_accuracy", "{:.3f}"),
)
_HEAD: Final = """# Quality: every preset for the same time

`make quality` writes this page; do not edit it. FCD is the Fréchet distance to all training images, in the features
of our own classifier. It is comparable within this page, and not with any FID. The figures are those of the best
evaluation of each run: Gantry keeps that checkpoint and samples from it. `FCD last` is the FCD at the end of the run.
"""


def results_in(folder: Path) -> list[Result]:
    """Return the results in the folder, in the order of the presets."""
    found: list[Result] = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    return sorted(found, key=lambda result: list(PRESETS).index(result["preset"]))


def table(results: Sequence[Result]) -> str:
    """Markdown, a row a preset, under a row for real images that were held out."""
    names = [title for title, _, _ in _COLUMNS]
    lines = [f"| preset | kimg | images/s | {' | '.join(names)} | FCD last | verdict | warned of |"]
    lines.append("|" + " --- |" * (len(names) + 6))
    if results:
        lines.append(f"| real, held out | | | {_figures(results[0]['reference'])} | | | |")
    for result in results:
        warned = ", ".join(f"`{code}`" for code in dict.fromkeys(result["raised"])) or "-"
        lines.append(
            f"| `{result['preset']}` | {result['kimg']:.0f} | {result['images_per_second']:.0f} | "
            f"{_figures(result['best'])} | {result['last']['fcd']:.2f} | {result['verdict']} | {warned} |"
        )
    return "\n".join(lines) + "\n"


def write(page: Path, folders: Sequence[Path]) -> None:
    """Write the page, and its pictures into a folder with the page's name."""
    pictures = page.with_suffix("")
    pictures.mkdir(parents=True, exist_ok=True)
    parts = [_HEAD]
    for number, folder in enumerate(folders):
        results = results_in(folder)
        parts += [_section(results), table(results)]
        for result in results:
            name = f"{result['preset']}{'' if not number else f'-{number}'}.png"
            shutil.copyfile(folder / f"{result['preset']}.png", pictures / name)
            parts.append(f"### `{result['preset']}` at step {result['best_step']}\n")
            parts.append(f"![Samples of {result['preset']}]({pictures.name}/{name})\n")
    page.write_text("\n".join(parts), encoding="utf-8")


def _section(results: Sequence[Result]) -> str:
    one = results[0]
    about, threads = one["provenance"], f"{one['threads']} thread{'s' if one['threads'] > 1 else ''}"
    title = "All presets side by side" if len(results) > 1 else f"The default preset, `{one['preset']}`, at length"
    return (
        f"## {title}: {one['seconds'] / 60:.1f} minutes{' each' if len(results) > 1 else ''}\n\n"
        f"{one['machine']}; {threads} a preset. Counts, split, feature network and seed of every figure: "
        f"`{json.dumps(about, sort_keys=True)}`.\n"
    )


def _figures(metrics: dict[str, float]) -> str:
    return " | ".join(form.format(metrics[key]) if key in metrics else "-" for _, key, form in _COLUMNS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality_page", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--page", type=Path, default=Path("docs/quality.md"))
    asked = parser.parse_args(arguments)
    write(asked.page, asked.folders)
    return 0


if __name__ == "__main__":
    sys.exit(main())
