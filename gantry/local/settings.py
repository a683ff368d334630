"""The settings of the service on this machine, read from `python -m jobs settings`: the client imports no service."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from gantry.local.environment import service_environment
from gantry.local.errors import LocalCommandError

PREFIX: Final = "GANTRY_"
# Address that a server listens on -> address at which this machine reaches it.
_ALL_ADDRESSES: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound


@dataclass(frozen=True)
class LocalSettings:
    """The settings that `gantry up` and `gantry doctor` need."""

    data_dir: Path
    host: str
    port: int
    ui_port: int
    sampler_url: str
    grace_seconds: float
    environment: Mapping[str, str]
    """The variables of every process of the service."""

    def given(self, name: str) -> bool:
        """Return whether the setting `name` was given by a variable or a flag."""
        return f"{PREFIX}{name.upper()}" in self.environment

    def with_values(self, **values: object) -> LocalSettings:
        """Return these settings with other values, here and in the variables of the service's processes."""
        own = {field.name for field in fields(self)}
        changes: dict[str, Any] = {name: value for name, value in values.items() if name in own}
        return replace(self, environment={**self.environment, **_variables(values)}, **changes)

    @property
    def api_url(self) -> str:
        """The address at which this machine reaches the API."""
        return self.url_of(self.port)

    def url_of(self, port: int) -> str:
        """Return the address at which this machine reaches `port` of the service's host."""
        host = _ALL_ADDRESSES.get(self.host, self.host)
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def load_settings(**flags: object) -> LocalSettings:
    """Return the settings from this process's variables. Flags that are not None take precedence over variables.

    Raises `LocalCommandError` if a setting is not valid.
    """
    # GANTRY_KEY is the key of this command's user. The service's processes do not need it.
    own = {name: value for name, value in service_environment().items() if name != f"{PREFIX}KEY"}
    environment = {**own, **_variables({name: value for name, value in flags.items() if value is not None})}
    settings = json.loads(run_jobs("settings", environment, "--json"))

    def value(name: str) -> Any:
        return settings[f"{PREFIX}{name.upper()}"]["value"]

    data_dir = Path(value("data_dir"))
    return LocalSettings(
        data_dir=data_dir,
        host=value("host"),
        port=value("port"),
        ui_port=value("ui_port"),
        # `python -m jobs settings` hides a URL that was given, because a URL may contain a password.
        sampler_url=environment.get(f"{PREFIX}SAMPLER_URL") or value("sampler_url"),
        grace_seconds=value("grace_seconds"),
        environment={**environment, f"{PREFIX}DATA_DIR": str(data_dir.absolute())},
    )


def run_jobs(command: str, environment: Mapping[str, str], *arguments: str) -> str:
    """Run `python -m jobs COMMAND` and return its output. Raises `LocalCommandError` if it fails."""
    argv = [sys.executable, "-m", "jobs", command, *arguments]
    done = subprocess.run(argv, env=dict(environment), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LocalCommandError(done.stderr.strip(), done.returncode)
    return done.stdout


def _variables(values: Mapping[str, object]) -> dict[str, str]:
    return {f"{PREFIX}{name.upper()}": str(value) for name, value in values.items()}
