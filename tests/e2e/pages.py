"""Code blocks of README.md, ARCHITECTURE.md and docs/, in order, by language."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent.parent
PAGES: Final = (
    "README.md",
    "ARCHITECTURE.md",
    *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
)
LANGUAGES: Final = ("sh", "python", "yaml", "console", "text", "")
"""Tests run the first three. `console` needs more than a test has; tests check that its commands exist."""

# Replacements in the lines of a page before a test runs them; {at} is the address of the tests' service.
SHORTER: Final[dict[str, dict[str, str]]] = {
    "README.md": {"127.0.0.1:8000": "{at}", '"total_steps": 300': '"total_steps": 20'},
    "docs/quickstart.md": {"--steps 2000": "--steps 20", "total_steps: 2000": "total_steps: 20"},
    "docs/api.md": {"127.0.0.1:8000": "{at}", '"total_steps": 2000': '"total_steps": 20'},
    "docs/operating.md": {"http://127.0.0.1:8000": "http://{at}"},
}
IN_PYTHON_OF: Final = ("README.md", "docs/python.md", "docs/webhooks.md")
"""Pages whose Python is run: by `test_pages`, and the last page's by the tests of webhooks."""
IN_PYTHON: Final = {"127.0.0.1:8000": "{at}", '"total_steps": 2000': '"total_steps": 40'}
_BLOCK: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_FILE: Final = re.compile(r"# (\S+\.(?:ya?ml|py))\n")


@dataclass(frozen=True)
class CodeBlock:
    """One block of code, and the line of its page at which it begins."""

    page: str
    language: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The name of the file that its first line gives, or None."""
        match = _FILE.match(self.text)
        return match[1] if match else None


def blocks(page: str, *languages: str) -> list[CodeBlock]:
    """Return the blocks of a page in these languages, in order; all blocks if no language is given."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = (CodeBlock(page, m[1], m[2], text[: m.start(2)].count("\n") + 1) for m in _BLOCK.finditer(text))
    return [block for block in found if not languages or block.language in languages]


def changed(text: str, changes: dict[str, str]) -> str:
    """Return `text` with all `changes` made, so that a test trains fewer steps. Every change must apply."""
    for before, after in changes.items():
        assert before in text, f"{before!r} is no longer in the text"
        text = text.replace(before, after)
    return text
