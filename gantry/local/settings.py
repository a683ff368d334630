"""The settings of a service on this machine, read from `python -m jobs settings`: the client imports no server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gantry.local.environment import service_environment
from gantry.local.errors import LocalCommandError

PREFIX: Final = "GANTRY_"
_ADDRESSES_OF_ALL: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - only asked, not bound


@dataclass(frozen=True)
class LocalSettings:
    """What `gantry up` and `gantry doctor` need to know of the settings."""

    data_dir: Path
    host: str
    port: int
    ui_port: int
    sampler_url: str
    grace_seconds: float
    environment: Mapping[str, str]
    """The variables with which every process of the service is started."""

    def given(self, name: str) -> bool:
        """Return whether the setting `name` was given by a variable or a flag."""
        return f"{PREFIX}{name.upper()}" in self.environment

    def with_values(self, **values: object) -> LocalSettings:
        """Return these settings with other values, for this process and for those that it starts."""
        known = {name: value for name, value in values.items() if name in self.__dataclass_fields__}
        return LocalSettings(**{**self.__dict__, **known, "environment": {**self.environment, **_variables(values)}})

    @property
    def api_url(self) -> str:
        """The address at which this machine reaches the API."""
        return self.url_of(self.port)

    def url_of(self, port: int) -> str:
        """Return the address at which this machine reaches `port` of the service's host."""
        host = _ADDRESSES_OF_ALL.get(self.host, self.host)
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def load_settings(**flags: object) -> LocalSettings:
    """Return the settings of this process's environment; `flags` that are not None win over variables.

    Raises `LocalCommandError` if a setting is not usable.
    """
    # GANTRY_KEY is the caller's key; the service's processes do not need it.
    own = {name: value for name, value in service_environment().items() if name != f"{PREFIX}KEY"}
    environment = {**own, **_variables({name: value for name, value in flags.items() if value is not None})}
    values = {name: setting["value"] for name, setting in json.loads(run("settings", environment, "--json")).items()}

    def value(name: str) -> Any:
        return values[f"{PREFIX}{name.upper()}"]

    data_dir = Path(value("data_dir"))
    return LocalSettings(
        data_dir=data_dir,
        host=value("host"),
        port=value("port"),
        ui_port=value("ui_port"),
        # From the environment, as the command does not print URLs that may hold a password.
        sampler_url=environment.get(f"{PREFIX}SAMPLER_URL") or value("sampler_url"),
        grace_seconds=value("grace_seconds"),
        environment={**environment, f"{PREFIX}DATA_DIR": str(data_dir.absolute())},
    )


def run(command: str, environment: Mapping[str, str], *arguments: str) -> str:
    """Return what `python -m jobs COMMAND` prints. Raises `LocalCommandError` if it fails."""
    argv = [sys.executable, "-m", "jobs", command, *arguments]
    done = subprocess.run(argv, env=dict(environment), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LocalCommandError(done.stderr.strip(), done.returncode)
    return done.stdout


def _variables(values: Mapping[str, object]) -> dict[str, str]:
    return {f"{PREFIX}{name.upper()}": str(value) for name, value in values.items()}
