"""README tells the truth: its tree, its glossary, its settings and its lists are held to the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
import yaml

from gan.findings import Code
from gan.safeguards import ThresholdsSpec
from gan.spec import BUILTIN_DATASETS, PRESETS, TrainSpec
from jobs.settings import PREFIX, Settings
from jobs.status import Status

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
ROOMS = ("gan", "jobs", "worker", "api", "migrations", "benchmarks")


def _section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def _modules() -> set[str]:
    found = (path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    return {str(path.relative_to(ROOT)) for path in found if path.stat().st_size and "versions" not in path.parts}


def _tree() -> dict[str, str]:
    """Path -> gloss, read from the indented tree."""
    entries, folders = {}, [""]
    for line in _section("The house").split("```")[3].strip("\n").splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        name, _, gloss = line.strip().partition(" ")
        folders[depth + 1 :] = []
        path = folders[depth] + name
        if name.endswith("/"):
            folders.append(path)
        entries[path] = gloss.strip()
    return entries


def test_the_tree_names_every_file_and_says_what_it_is() -> None:
    tree = _tree()
    assert {path for path in tree if path.endswith(".py") and not path.startswith("tests/")} == _modules()
    assert [path for path, gloss in tree.items() if not gloss] == []
    assert [path for path in tree if not (ROOT / path).exists()] == []


def test_the_settings_table_is_the_settings() -> None:
    rows = [line.split(" | ") for line in _section("Settings").splitlines() if line.startswith("| `")]
    table = {row[0].strip("| `"): (row[1].strip("`"), row[2].rstrip(" |")) for row in rows}
    expected = {
        f"{PREFIX}{name.upper()}": (str(field.default) or "empty", field.description)
        for name, field in Settings.model_fields.items()
    }
    assert table == expected


def test_the_glossary_holds_every_status_and_the_words_of_the_spec() -> None:
    words = _section("Words")
    assert [status.value for status in Status if f"`{status.value}`" not in words] == []
    for word in ("job", "task", "attempt", "lease", "fencing token", "spec", "step", "kimg", "sample", "preview"):
        assert f"**{word}**" in words, word


def test_the_data_table_is_the_catalogue() -> None:
    named = set(re.findall(r"^\| `([a-z0-9-]+)`", _section("Data"), re.MULTILINE))
    assert named == set(BUILTIN_DATASETS)


def test_the_preset_table_is_the_presets() -> None:
    rows = [line.split("|")[1] for line in _section("Which preset").splitlines() if line.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`([a-z0-9-]+)`", row)]
    assert sorted(named) == sorted(PRESETS)


def test_the_page_on_health_names_every_finding_and_every_threshold() -> None:
    page = (ROOT / "docs" / "health.md").read_text()
    assert [code for code in get_args(Code) if f"## `{code}`" not in page] == []
    assert [name for name in ThresholdsSpec.model_fields if f"`{name}`" not in page] == []


def test_the_page_on_quality_shows_every_preset_and_its_picture() -> None:
    page = (ROOT / "docs" / "quality.md").read_text()
    assert [name for name in PRESETS if f"| `{name}` |" not in page] == []
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page)
    assert len(pictures) >= len(PRESETS)
    assert [path for path in pictures if not (ROOT / "docs" / path).exists()] == []


def test_pictures_and_files_that_readme_points_at_are_there() -> None:
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README)
    assert len(pictures) >= 2
    named = re.findall(r"`((?:gan|jobs|worker|api|tests|benchmarks)/[a-z0-9_/]+\.py)`", README)
    assert [path for path in [*pictures, *named] if not (ROOT / path).exists()] == []


def test_make_help_lists_what_readme_says() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+(?:-[a-z]+)*)", README)) <= targets


def test_every_field_of_the_spec_says_what_it_is() -> None:
    def silent(schema: dict[str, object]) -> list[str]:
        properties = schema.get("properties", {})
        assert isinstance(properties, dict)
        return [name for name, field in properties.items() if not field.get("description")]

    schema = TrainSpec.model_json_schema()
    assert silent(schema) == []
    assert {name: silent(part) for name, part in schema["$defs"].items() if silent(part)} == {}


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_has_a_paper_and_a_sentence(preset: str) -> None:
    assert "arXiv:" in PRESETS[preset].paper and PRESETS[preset].summary.endswith(".")


def test_compose_starts_every_process_with_a_health_check_or_a_restart() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    commands = {" ".join(service["command"]) for service in services.values() if "command" in service}
    for process in ("api", "ui", "relay", "sampler", "worker", "migrate"):
        assert f"gantry {process}" in commands
    assert all("healthcheck" in s or "restart" in s for s in services.values())
    assert services["worker-gpu"]["profiles"] == ["gpu"]


def test_nothing_in_the_house_names_a_machine_or_leaves_a_stub() -> None:
    words = ("NotImplemented" + "Error", "TO" + "DO", "FIX" + "ME")
    found = {path: [w for w in words if w in (ROOT / path).read_text()] for path in _modules()}
    assert {path: hits for path, hits in found.items() if hits} == {}
