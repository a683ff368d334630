"""Each extra brings what its packages import, and each missing extra is named."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from typing import Final

import pytest

from gantry import extras
from gantry.extras import LIBRARIES, MissingExtraError, require

ROOT: Final = Path(__file__).parent.parent.parent
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OWN: Final = {"gantry", "api", "gan", "jobs", "worker", "migrations"}

# Extra ("" is the bare installation) -> the folders and files whose processes run with it.
PACKAGES: Final = {
    "": ["gantry"],
    "record": ["jobs", "migrations", "gan/spec"],
    "server": ["api", "jobs", "migrations", "gan/spec", "gan/uploads", "gan/sandbox.py"],
    "worker": ["worker", "gan", "jobs"],
    "ui": ["api/ui", "api/http", "jobs/runtime"],
}
# Places whose libraries another extra brings. Their processes and callers ask for that extra.
ELSEWHERE: Final = {
    "gantry/arrays.py": "arrays",
    "jobs/relay": "server",
    "api/ui": "ui",
}


def _name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None, requirement
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def _extras_of(requirement: str) -> list[str]:
    found = re.match(r"[A-Za-z0-9._-]+\[([^\]]+)\]", requirement)
    return [part.strip() for part in found[1].split(",")] if found else []


# It reads the files of every installed distribution.
_distributions = cache(packages_distributions)


@cache
def _declared(extra: str) -> set[str]:
    """Return every distribution that `gantry[extra]` installs, as far as this environment has it."""
    found: set[str] = set()
    waiting = [*PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] if extra else [])]
    while waiting:
        requirement = waiting.pop()
        if _name(requirement) == "gantry":
            waiting += [r for e in _extras_of(requirement) for r in PROJECT["optional-dependencies"][e]]
        elif (key := requirement.split(";")[0].strip()) not in found:
            found |= {key, _name(requirement)}
            waiting += _requirements(_name(requirement), tuple(_extras_of(requirement)))
    return found


@cache
def _requirements(name: str, chosen: tuple[str, ...]) -> list[str]:
    """Return the requirements of an installed distribution, with those of its extras `chosen`."""
    try:
        lines = requires(name) or []
    except PackageNotFoundError:
        return []
    asked = [(line, re.search(r"extra == ['\"]([^'\"]+)['\"]", line)) for line in lines]
    return [line for line, extra in asked if extra is None or extra[1] in chosen]


def _files(places: Iterable[str]) -> Iterator[Path]:
    for place in places:
        yield from [ROOT / place] if place.endswith(".py") else (ROOT / place).rglob("*.py")


@cache
def _imports(file: Path) -> set[str]:
    """Return the top-level module of each third-party import of `file`."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        for top in (name.split(".")[0] for name in names):
            if top not in OWN and top not in sys.stdlib_module_names:
                found.add(top)
    return found


def _undeclared(extra: str) -> set[tuple[str, str]]:
    distributions, declared = _distributions(), _declared(extra)
    missing = set()
    for file in _files(PACKAGES[extra]):
        place = str(file.relative_to(ROOT))
        if any(place.startswith(other) and extra != owner for other, owner in ELSEWHERE.items()):
            continue
        for module in _imports(file):
            if not {_name(distribution) for distribution in distributions.get(module, [])} & declared:
                missing.add((place, module))
    return missing


@pytest.mark.parametrize("extra", PACKAGES)
def test_an_extra_brings_what_its_packages_import(extra: str) -> None:
    assert _undeclared(extra) == set()


@pytest.mark.parametrize("extra", LIBRARIES)
def test_the_libraries_that_prove_an_extra_are_brought_by_it(extra: str) -> None:
    distributions, declared = _distributions(), _declared(extra)
    brought = {m for m in LIBRARIES[extra] if {_name(d) for d in distributions[m]} & declared}
    assert brought == set(LIBRARIES[extra])


def test_the_bare_installation_brings_no_library_of_an_extra() -> None:
    absent = {"torch", "fastapi", "sqlalchemy", "celery", "nicegui", "matplotlib", "numpy"}
    assert _declared("") & absent == set()


def test_every_pinned_dependency_is_in_the_constraints() -> None:
    pinned = {_name(line) for line in (ROOT / "constraints.txt").read_text().splitlines()}
    wanted = [*PROJECT["dependencies"], *(r for group in PROJECT["optional-dependencies"].values() for r in group)]
    assert {_name(requirement) for requirement in wanted} - pinned == {"gantry"}


def test_a_missing_library_is_an_error_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    require("This", "all")
    monkeypatch.setitem(extras.LIBRARIES, "worker", ("json", "no_such_library"))
    with pytest.raises(MissingExtraError, match=r"^This needs libraries .* pip install 'gantry\[worker\]'$"):
        require("This", "worker")
