"""The problems of an archive, and the error that refuses it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

# The problems are stored with the data set, and shown.
MAX_PROBLEMS: Final = 100


@dataclass(frozen=True)
class ArchiveProblem:
    """One thing that is wrong with a file of the archive, or with the archive as a whole (`file` is None).

    `code` is stable, for programs; `detail` is a sentence, for people.
    """

    file: str | None
    code: str
    detail: str

    def to_json(self) -> dict[str, str | None]:
        """Return the fields as a dict."""
        return {"file": self.file, "code": self.code, "detail": self.detail}


class ArchiveRefusedError(Exception):
    """The archive cannot become a data set.

    `problems` has every reason; if there are very many, the first ones of each code and the number of the others.
    """

    def __init__(self, problems: Sequence[ArchiveProblem], *, complete: bool = True) -> None:
        """Keep at most `MAX_PROBLEMS` of `problems`; `complete` is false where some files were not checked."""
        self.problems, left_out = _first_of_each_code(problems)
        notes = [f"Further problems that are not listed: {len(left_out):,}."] if left_out else []
        if not complete:
            notes.append("The remaining images were not checked.")
        if notes:
            self.problems.append(ArchiveProblem(None, (left_out or problems)[-1].code, " ".join(notes)))
        super().__init__(" ".join(p.detail for p in self.problems))


def _first_of_each_code(
    problems: Sequence[ArchiveProblem],
) -> tuple[list[ArchiveProblem], list[ArchiveProblem]]:
    """Return `MAX_PROBLEMS` of `problems`, and the others, both in order.

    The first problems of each code are preferred, so that a thousand of one code do not hide those of another.
    """
    seen: Counter[str] = Counter()
    ranks: list[int] = []
    for problem in problems:
        ranks.append(seen[problem.code])
        seen[problem.code] += 1
    listed = set(sorted(range(len(problems)), key=ranks.__getitem__)[:MAX_PROBLEMS])
    return (
        [problem for number, problem in enumerate(problems) if number in listed],
        [problem for number, problem in enumerate(problems) if number not in listed],
    )
