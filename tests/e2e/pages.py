"""What is written in README and docs, as a reader would use it: code blocks by language, in order."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent.parent
PAGES: Final = ("README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
LANGUAGES: Final = ("sh", "python", "yaml", "console", "text", "")
"""The first three are run by tests; of `console`, which needs more than a test has, the commands are looked up."""

# What is changed in the lines of a page before they are run; {at} is the service of the tests.
SHORTER: Final[dict[str, dict[str, str]]] = {
    "README.md": {"127.0.0.1:8123": "{at}", '"total_steps": 300': '"total_steps": 20'},
    "docs/quickstart.md": {"--steps 2000": "--steps 20", "total_steps: 2000": "total_steps: 20"},
    "docs/api.md": {"127.0.0.1:8000": "{at}", '"total_steps": 2000': '"total_steps": 20'},
    "docs/operating.md": {"http://127.0.0.1:8000": "http://{at}"},
}
IN_PYTHON_OF: Final = ("README.md", "docs/python.md", "docs/webhooks.md")
"""Pages whose Python is run: by `test_pages`, and the last one's by the tests of webhooks."""
IN_PYTHON: Final = {"127.0.0.1:8000": "{at}", '"total_steps": 2000': '"total_steps": 40'}
_BLOCK: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_FILE: Final = re.compile(r"# (\S+\.(?:ya?ml|py))\n")


@dataclass(frozen=True)
class CodeBlock:
    """A block of code, and where it begins in its page."""

    page: str
    language: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The file that its first line says it is."""
        named = _FILE.match(self.text)
        return named[1] if named else None


def blocks(page: str, *languages: str) -> list[CodeBlock]:
    """The blocks of a page that are in these languages, in order; without languages all of them."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = (CodeBlock(page, m[1], m[2], text[: m.start(2)].count("\n") + 1) for m in _BLOCK.finditer(text))
    return [block for block in found if not languages or block.language in languages]


def changed(text: str, changes: dict[str, str]) -> str:
    """The same lines, shorter: the words are tested, not the patience. Every change must be one."""
    for before, after in changes.items():
        assert before in text, f"{before!r} is no longer there"
        text = text.replace(before, after)
    return text
