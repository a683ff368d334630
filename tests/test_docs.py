"""README.md, ARCHITECTURE.md and docs/ against the code: folders, names, settings, words, lists, links, commands."""

from __future__ import annotations

import ast
import inspect
import json
import re
import shlex
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Final, get_args

import pytest
import typer
import yaml

from benchmarks.curves_page import slug
from benchmarks.failures import body_of
from gan.findings import SEVERITIES, Code, Verdict
from gan.spec import BUILTIN_DATASETS, PRESETS, TrainSpec, resolve
from gan.spec.pointers import put
from gan.spec.safeguards import ThresholdsSpec
from gantry import Client
from gantry.cli.app import app
from jobs.keys import Scope
from jobs.runtime.settings import PREFIX, Settings
from jobs.status import Status
from tests.e2e.pages import IN_PYTHON_OF, LANGUAGES, PAGES, SHORTER, blocks

ROOT: Final = Path(__file__).parent.parent
PACKAGES: Final = ("gantry", "gan", "jobs", "worker", "api", "migrations", "benchmarks")
MOST_LINES_OF_README: Final = 150

COMMANDS: Final = re.compile(r"(?:^|`|&& |\| |\()gantry ((?:[^`\n&|#)]|\([^)]*\))+)", re.MULTILINE)
MAKE: Final = re.compile(r"(?:^|`)make ([a-z]+(?:-[a-z]+)*)", re.MULTILINE)
LINK: Final = re.compile(r"\]\((?!https?:)([^)#]+)\)")
PICTURE: Final = re.compile(r"!\[[^\]]+\]\(([^)]+)\)")
# A file of ours, and perhaps a name in it: `gan/train.py`, `gan/train.py:Trainer.run`.
FOLDERS: Final = "|".join((*PACKAGES, "tests", "docs"))
FILE: Final = re.compile(rf"`((?:{FOLDERS})/[\w./-]+?)(?::([\w.]+))?`")


def _text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def _section(page: str, title: str) -> str:
    return _text(page).split(f"\n## {title}\n")[1].split("\n## ")[0]


def _modules() -> list[Path]:
    """Return every file of code outside tests/ that is not empty."""
    found = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return sorted(path for path in found if path.stat().st_size)


def _tree() -> dict[str, str]:
    """Return path -> gloss, read from the indented tree."""
    entries, folders = {}, [""]
    for line in _section("ARCHITECTURE.md", "The tree, by folder").split("```")[1].strip("\n").splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        name, _, gloss = line.strip().partition(" ")
        folders[depth + 1 :] = []
        path = folders[depth] + name
        folders.append(path)
        entries[path.rstrip("/")] = gloss.strip()
    return entries


@cache
def _names(file: str) -> frozenset[str]:
    """Return the functions, classes, methods and constants of a file, methods as `Class.method`."""
    return frozenset(_names_in(ast.parse(_text(file)).body, ""))


def _names_in(body: list[ast.stmt], prefix: str) -> set[str]:
    names: set[str] = set()
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(prefix + node.name)
        if isinstance(node, ast.ClassDef):
            names |= _names_in(node.body, f"{prefix}{node.name}.")
        if isinstance(node, ast.AnnAssign | ast.Assign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {prefix + target.id for target in targets if isinstance(target, ast.Name)}
    return names


def test_readme_is_short() -> None:
    assert len(_text("README.md").splitlines()) <= MOST_LINES_OF_README


def test_the_tree_names_every_folder_of_code_and_says_what_it_is() -> None:
    tree = _tree()
    folders = {str(path.parent.relative_to(ROOT)) for path in _modules()}
    assert sorted(folders - tree.keys()) == []
    assert [path for path, gloss in tree.items() if not gloss] == []
    assert [path for path in tree if not (ROOT / path).is_dir()] == []


def test_every_file_says_in_its_docstring_what_it_is() -> None:
    assert [str(path) for path in _modules() if not ast.get_docstring(ast.parse(path.read_text()))] == []


def test_a_jobs_life_has_nine_stops_with_the_code_of_each() -> None:
    section = _section("ARCHITECTURE.md", "A job's life, in nine stops")
    rows = re.findall(r"^\| (\d)\. .*", section, re.MULTILINE)
    assert rows == [str(number) for number in range(1, 10)]
    for row in re.findall(r"^\| \d\. .*", section, re.MULTILINE):
        assert [name for _, name in FILE.findall(row) if name], row


@pytest.mark.parametrize("page", PAGES)
def test_every_file_and_every_name_in_it_that_a_page_gives_is_there(page: str) -> None:
    named = FILE.findall(_text(page))
    assert [path for path, _ in named if not (ROOT / path).exists()] == []
    assert [f"{path}:{name}" for path, name in named if name and name not in _names(path)] == []


def test_a_file_or_a_name_that_is_not_there_is_noticed() -> None:
    assert FILE.findall("`gan/train.py:Trainer.run` `tests/faults/` `docs/api.md`") == [
        ("gan/train.py", "Trainer.run"),
        ("tests/faults/", ""),
        ("docs/api.md", ""),
    ]
    assert {"Trainer.run", "Trainer"} <= _names("gan/train.py") and "Trainer.walk" not in _names("gan/train.py")
    assert "LOSSES" in _names("gan/adversarial/losses.py")


def test_the_settings_table_is_the_settings() -> None:
    rows = [line.split(" | ") for line in _text("docs/settings.md").splitlines() if line.startswith(f"| `{PREFIX}")]
    table = {row[0].strip("| `"): (row[1].strip("`"), row[2].rstrip(" |")) for row in rows}
    expected = {
        f"{PREFIX}{name.upper()}": (str(field.default) or "empty", field.description)
        for name, field in Settings.model_fields.items()
    }
    assert table == expected


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_that_a_page_names_is_one(page: str) -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(rf"\b{PREFIX}[A-Z_]+\b", _text(page))) <= known


def test_the_glossary_holds_every_status_every_verdict_and_the_words_of_the_spec() -> None:
    words = _text("docs/glossary.md")
    assert [status.value for status in Status if f"`{status.value}`" not in words] == []
    assert [verdict for verdict in get_args(Verdict) if f"`{verdict}`" not in words] == []
    terms = (
        *("job", "status", "task", "attempt", "lease", "heartbeat", "fencing token", "rank", "spec", "settings"),
        *("G", "D", "G_ema", "z", "z_dim", "real", "fake", "real_logits", "fake_logits", "step", "kimg"),
        *("minimax", "non_saturating", "sample", "preview", "checkpoint", "weights"),
        *("health", "finding", "remedy", "check", "probe", "evaluation", "FCD", "KCD"),
        *("tenant", "key", "scope", "quota"),
    )
    assert [term for term in terms if f"**{term}**" not in words] == []


def test_the_page_on_keys_names_every_scope() -> None:
    named = set(re.findall(r"^\| `([a-z:]+)` \|", _text("docs/keys.md"), re.MULTILINE))
    assert named == {scope.value for scope in Scope}


def test_the_data_table_is_the_catalogue() -> None:
    named = set(re.findall(r"^\| `([a-z0-9-]+)`", _section("docs/datasets.md", "Known by name"), re.MULTILINE))
    assert named == set(BUILTIN_DATASETS)


def test_the_extras_in_readme_are_those_of_the_package() -> None:
    project = tomllib.loads(_text("pyproject.toml"))["project"]
    named = set(re.findall(r"'\.\[([a-z]+)\]'", _section("README.md", "Install")))
    # The others are for those who work on Gantry, or parts of a larger one.
    assert named == set(project["optional-dependencies"]) - {"record", "fonts", "monitor", "browser", "dev"}


def test_the_preset_table_is_the_presets() -> None:
    guide = _section("docs/presets.md", "All of them")
    rows = [line.split("|")[1] for line in guide.splitlines() if line.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`([a-z0-9-]+)`", row)]
    assert sorted(named) == sorted(PRESETS)


def test_the_page_on_health_names_every_finding_and_every_threshold() -> None:
    page = _text("docs/health.md")
    assert [code for code in get_args(Code) if f"## `{code}`" not in page] == []
    assert [name for name in ThresholdsSpec.model_fields if f"`{name}`" not in page] == []
    assert [severity for severity in SEVERITIES if severity not in page] == []


def test_the_page_on_quality_shows_every_preset_and_its_picture() -> None:
    page = _text("docs/quality.md")
    assert [name for name in PRESETS if f"| `{name}` |" not in page] == []
    pictures = PICTURE.findall(page)
    assert len(pictures) >= len(PRESETS)
    assert [path for path in pictures if not (ROOT / "docs" / path).exists()] == []


def test_pictures_that_the_page_on_the_dashboard_shows_are_there_and_small() -> None:
    pictures = PICTURE.findall(_text("docs/dashboard.md"))
    sizes = {path: (ROOT / "docs" / path).stat().st_size for path in pictures}
    assert len(sizes) >= 8 and {path: size for path, size in sizes.items() if size > 150_000} == {}


def test_readme_shows_pictures() -> None:
    pictures = PICTURE.findall(_text("README.md"))
    assert len(pictures) >= 2
    assert [path for path in pictures if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_that_a_page_names_is_there(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", _text("Makefile"), re.MULTILINE))
    assert set(MAKE.findall(_text(page))) <= targets
    if page == "README.md":
        assert set(re.findall(r"\bmake ([a-z]+(?:-[a-z]+)*)", _text(page))) <= targets


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
    services = yaml.safe_load(_text("docker-compose.yml"))["services"]
    commands = {" ".join(service["command"]) for service in services.values() if "command" in service}
    for process in ("api", "ui", "relay", "sampler", "worker", "migrate"):
        assert f"gantry {process}" in commands
    assert all("healthcheck" in s or "restart" in s for s in services.values())
    assert services["worker-gpu"]["profiles"] == ["gpu"]


def test_the_image_holds_every_package_and_every_process() -> None:
    image = _text("Dockerfile")
    # Benchmarks are no part of a deployment.
    assert [package for package in PACKAGES[:-1] if f"COPY {package} {package}\n" not in image] == []
    assert '".[all,onnx,monitor]"' in image


def test_no_file_leaves_a_stub() -> None:
    words = ("NotImplemented" + "Error", "TO" + "DO", "FIX" + "ME")
    found = {path: [word for word in words if word in path.read_text()] for path in _modules()}
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
    written = [shlex.split(found.rstrip(" \\")) for found in COMMANDS.findall(_text(page))]
    assert [words for words in written if not _is_known(words)] == []


@cache
def _command() -> Any:
    """Return the command line as an object of click, which takes long to make."""
    return typer.main.get_command(app)


def _is_known(words: list[str]) -> bool:
    command = _command()
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
def test_every_link_leads_somewhere_and_readme_leads_to_every_page(page: str) -> None:
    here = (ROOT / page).parent
    assert [to for to in LINK.findall(_text(page)) if not (here / to).exists()] == []
    assert page == "README.md" or f"({page})" in _section("README.md", "Guides"), "a page is missing from the guides"


def test_the_page_on_curves_quotes_what_was_seen() -> None:
    page = _text("docs/curves.md")
    seen = json.loads(_text("docs/curves/seen.json"))
    quoted = [" ".join(lines.replace("\n>", "").split()) for lines in re.findall(r"^> (.*(?:\n>.*)*)", page, re.M)]
    raised = {finding["message"] for job in seen for finding in job["raised"]}
    assert quoted and [quote for quote in quoted if quote not in raised] == []
    assert [job["job"] for job in seen if f"curves/{slug(job['job'])}.png" not in page] == []


def test_the_page_on_curves_says_how_each_job_was_made() -> None:
    sections = _text("docs/curves.md").split("\n## ")
    (good,) = blocks("docs/curves.md", "yaml")
    submitted = resolve(body_of("healthy", 600))
    assert resolve(yaml.safe_load(good.text)) == submitted.model_copy(
        update={name: TrainSpec.model_fields[name].default for name in ("previews", "checkpoints")}
    )
    for job in json.loads(_text("docs/curves/seen.json")):
        (section,) = (text for text in sections if f"curves/{slug(job['job'])}.png" in text)
        changes: dict[str, Any] = {}
        for path, value in re.findall(r"`([a-z_.]+): ([0-9.e-]+)`", section):
            put(changes, "/" + path.replace(".", "/"), float(value))
        assert changes == job["changes"], job["job"]


def test_the_page_on_python_names_every_method_of_the_client() -> None:
    table = _text("docs/python.md").split("\nAll methods, ")[1]
    methods = [name for name, _ in inspect.getmembers(Client, inspect.isfunction) if not name.startswith("_")]
    assert sorted(re.findall(r"`([a-z_]+)`", table)) == methods
