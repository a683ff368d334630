"""What all commands share: help, exit codes, the address and the key of the service."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import pytest

from gantry.cli.app import app
from jobs.runtime.settings import Settings
from tests.api.shell import url_of
from tests.gantry.command import gantry, submit
from tests.ports import free_port


def test_help_is_quick_and_names_every_command() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = gantry("--help")
    # It takes 0.2 s of CPU time on a quiet machine, and up to three times that on a busy one.
    assert done.returncode == 0 and resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 1.0
    jobs = ("submit", "watch", "samples", "curves", "pause", "resume", "cancel", "retry", "workers", "datasets")
    for command in (*jobs, "up", "worker", "doctor", "migrate", "settings", "demo", "keys", "tenants", "audit"):
        assert f" {command} " in done.stdout
    assert [line for line in done.stdout.splitlines()[1:] if line.endswith("...")] == [], "sentences that are cut off"


def _commands() -> list[str]:
    groups = {group.name: group.typer_instance for group in app.registered_groups}
    names = [command.name or command.callback.__name__ for command in app.registered_commands if command.callback]
    for name, group in groups.items():
        assert name is not None and group is not None
        names.append(name)
        commands = [(c.name, c.callback.__name__) for c in group.registered_commands if c.callback]
        names += [f"{name} {given or function}" for given, function in commands]
    return names


def test_every_command_has_help_by_its_short_option() -> None:
    script = """
import sys
from typer.testing import CliRunner
from gantry.cli.app import app
for words in sys.argv[1:]:
    done = CliRunner().invoke(app, [*words.split(), "-h"], prog_name="gantry")
    assert done.exit_code == 0 and done.output.startswith(f"Usage: gantry {words}"), (words, done.output)
"""
    names = _commands()
    assert {"keys first", "worker drain", "webhooks redeliver", "up"} <= set(names)
    done = subprocess.run([sys.executable, "-c", script, *names], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_completion_of_the_shell_is_for_the_command() -> None:
    done = gantry(variables={"_GANTRY_COMPLETE": "source_bash"})
    assert done.returncode == 0 and "_GANTRY_COMPLETE=complete_bash" in done.stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("submit", "--dataset", "nope"), "There is no data set 'nope'"),
        (("submit", "--dataset", "fashion-mnist", "--set", "optimizers.g.beta1=2"), "optimizers.g.beta1"),
        (("submit", "--dataset", "fashion-mnist", "--set", "stepz=3"), "There is no field 'stepz'"),
        (("watch", "job_0"), "There is no job 'job_0'."),
        (("curves", "job_0\r"), "There is no job 'job_0'."),
    ],
)
def test_a_refusal_is_one_sentence_and_exit_1(served: Settings, words: tuple[str, ...], sentence: str) -> None:
    done = gantry(*words, settings=served)
    assert done.returncode == 1 and sentence in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == "" and len(done.stderr.splitlines()) == 1
    assert "/" not in done.stderr and done.stderr.count(sentence) == 1


def test_the_address_may_be_a_variable(served: Settings) -> None:
    job_id = submit(served, "--name", "服 x")
    # The terminal of the second call cannot show the name.
    for encoding, name in (("utf-8", "服 x"), ("latin-1", r"\u670d x")):
        listed = gantry("jobs", variables={"GANTRY_URL": f" {url_of(served)}\r", "PYTHONIOENCODING": encoding})
        assert f"{job_id}  {name} " in listed.stdout


def test_no_service_at_the_address_is_one_sentence() -> None:
    done = gantry("jobs", "--url", f"http://127.0.0.1:{free_port()}")
    assert done.returncode == 1 and "is `gantry up` running?" in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("words", [("jobs",), ("watch", "job_0"), ("keys", "list"), ("webhooks", "delete", "x")])
@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("GANTRY_URL", "http://127.0.0.1:abc", "has an invalid host or port"),
        ("GANTRY_URL", "127.0.0.1:8000", "must start with http:// or https://"),
        ("GANTRY_URL", "http://127.0.0.1:1?x=1", "must end before the ? or #"),
        ("GANTRY_KEY", "gan_live_se\ncret", "contains a line break"),
    ],
)
def test_an_invalid_address_or_key_is_one_sentence_and_exit_2(
    words: tuple[str, ...], name: str, value: str, sentence: str
) -> None:
    done = gantry(*words, variables={name: value})
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and done.stdout == ""
    assert name in done.stderr and sentence in done.stderr and "cret" not in done.stderr


def test_a_list_that_continues_says_so(served: Settings) -> None:
    submit(served), submit(served)
    listed = gantry("jobs", "--limit", "1", settings=served)
    assert len(listed.stdout.splitlines()) == 2 and "raise --limit" in listed.stderr


def test_results_are_json_where_json_is_requested(served: Settings) -> None:
    job_id = submit(served)
    for words in (("jobs",), ("workers",), ("datasets", "list"), ("presets",)):
        assert isinstance(json.loads(gantry(*words, "--json", settings=served).stdout)["data"], list)
    assert json.loads(gantry("show", job_id, "--json", settings=served).stdout)["id"] == job_id
    assert json.loads(gantry("presets", "dcgan", "--json", settings=served).stdout)["name"] == "dcgan"
    assert json.loads(gantry("curves", job_id, "--json", settings=served).stdout)["series"] == {}
    assert json.loads(gantry("previews", job_id, "--json", settings=served).stdout) == []
    assert json.loads(gantry("weights", job_id, "--json", settings=served).stdout)["data"] == []
    key = json.loads(gantry("keys", "create", "notebook", "--json", settings=served).stdout)["id"]
    revoked = json.loads(gantry("keys", "revoke", key, "--json", settings=served).stdout)
    assert revoked["id"] == key and revoked["revoked_at"]
    limit = ("tenants", "limit", "default", "--queued", "900")
    assert json.loads(gantry(*limit, "--json", settings=served).stdout)["quotas"]["max_queued"] == 900
    assert json.loads(gantry("cancel", job_id, "--json", settings=served).stdout)["status"] == "cancelled"
    assert json.loads(gantry("delete", job_id, "--json", settings=served).stdout) == {"deleted": job_id}
    known = json.loads(gantry("settings", "--json").stdout)
    assert known["GANTRY_PORT"]["default"] == 8000 and known["GANTRY_DATABASE_URL"]["value"] == ""
