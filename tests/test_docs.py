"""README tells the truth: its tree, its glossary, its settings and its lists are held to the code."""

from __future__ import annotations

import inspect
import json
import re
import shlex
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
import yaml

from benchmarks.curves_page import slug
from benchmarks.failures import body_of
from gan.findings import Code
from gan.spec import BUILTIN_DATASETS, PRESETS, TrainSpec, resolve
from gan.spec.pointers import put
from gan.spec.safeguards import ThresholdsSpec
from gantry.cli import app
from gantry.client import Client
from jobs.runtime.settings import PREFIX, Settings
from jobs.status import Status
from tests.e2e.pages import IN_PYTHON_OF, LANGUAGES, PAGES, SHORTER, blocks

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
ROOMS = ("gan", "jobs", "worker", "api", "migrations", "benchmarks")


COMMANDS = re.compile(r"(?:^|`|&& |\| |\()gantry ((?:[^`\n&|#)]|\([^)]*\))+)", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)\)")


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
    guide = (ROOT / "docs" / "presets.md").read_text(encoding="utf-8").split("\n## All of them\n")[1]
    rows = [line.split("|")[1] for line in guide.splitlines() if line.startswith("| `")]
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


def test_pictures_that_the_page_on_the_dashboard_shows_are_there_and_small() -> None:
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (ROOT / "docs" / "dashboard.md").read_text())
    sizes = {path: (ROOT / "docs" / path).stat().st_size for path in pictures}
    assert len(sizes) >= 8 and {path: size for path, size in sizes.items() if size > 150_000} == {}


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


@pytest.mark.parametrize("page", PAGES)
def test_code_says_its_language_and_is_run_where_it_can_be(page: str) -> None:
    assert {block.language for block in blocks(page)} <= set(LANGUAGES)
    assert not blocks(page, "sh") or page in SHORTER
    assert not blocks(page, "python") or page in IN_PYTHON_OF
    for block in blocks(page, "yaml"):
        resolve(yaml.safe_load(block.text))


@pytest.mark.parametrize("page", PAGES)
def test_every_command_and_option_that_a_page_names_is_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    written = [shlex.split(found.rstrip(" \\")) for found in COMMANDS.findall(text)]
    assert [words for words in written if not _is_known(words)] == []


def _is_known(words: list[str]) -> bool:
    command: Any = typer.main.get_command(app.app)
    words = list(words)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    known = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
    asked = {word.split("=")[0] for word in words if word.startswith("-") and not word[1:2].isdigit()}
    unknown = getattr(command, "commands", {}) and [word for word in words if not word.startswith("-")]
    return not unknown and asked <= known


def test_a_command_that_is_not_there_is_noticed() -> None:
    assert _is_known(["submit", "--set", "a=b"]) and _is_known(["datasets", "add", "x.zip"])
    assert not _is_known(["submit", "--no-such"]) and not _is_known(["fly"]) and not _is_known(["datasets", "ad"])


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_leads_to_is_there(page: str) -> None:
    here = (ROOT / page).parent
    assert [to for to in LINK.findall((ROOT / page).read_text(encoding="utf-8")) if not (here / to).exists()] == []
    assert page == "README.md" or f"({page})" in README, "README leads to every page"


def test_the_page_on_curves_quotes_what_was_seen() -> None:
    page = (ROOT / "docs" / "curves.md").read_text(encoding="utf-8")
    seen = json.loads((ROOT / "docs" / "curves" / "seen.json").read_text(encoding="utf-8"))
    quoted = [" ".join(lines.replace("\n>", "").split()) for lines in re.findall(r"^> (.*(?:\n>.*)*)", page, re.M)]
    told = {finding["message"] for job in seen for finding in job["raised"]}
    assert quoted and [quote for quote in quoted if quote not in told] == []
    assert [job["job"] for job in seen if f"curves/{slug(job['job'])}.png" not in page] == []


def test_the_page_on_curves_says_how_each_job_was_made() -> None:
    sections = (ROOT / "docs" / "curves.md").read_text(encoding="utf-8").split("\n## ")
    (good,) = blocks("docs/curves.md", "yaml")
    submitted = resolve(body_of("healthy", 600))
    assert resolve(yaml.safe_load(good.text)) == submitted.model_copy(
        update={name: TrainSpec.model_fields[name].default for name in ("previews", "checkpoints")}
    )
    for job in json.loads((ROOT / "docs" / "curves" / "seen.json").read_text(encoding="utf-8")):
        (section,) = (text for text in sections if f"curves/{slug(job['job'])}.png" in text)
        told: dict[str, Any] = {}
        for path, value in re.findall(r"`([a-z_.]+): ([0-9.e-]+)`", section):
            put(told, "/" + path.replace(".", "/"), float(value))
        assert told == job["changes"], job["job"]


def test_the_page_on_python_names_every_method_of_the_client() -> None:
    table = (ROOT / "docs" / "python.md").read_text(encoding="utf-8").split("\nAll methods, ")[1]
    methods = [name for name, _ in inspect.getmembers(Client, inspect.isfunction) if not name.startswith("_")]
    assert sorted(re.findall(r"`([a-z_]+)`", table)) == methods
