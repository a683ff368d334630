"""`python -m jobs COMMAND`: maintenance of the record, on the machine of the service.

The command `gantry` runs these commands as processes, because the client does not import the service.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from typing import Any, Final

from jobs.errors import SettingsError, UnavailableError
from jobs.runtime.settings import PREFIX, Settings, load_settings
from jobs.runtime.startup import restrict_file_permissions


def main() -> int:
    """Run one command. Return its exit code: 0 success, 1 refused, 2 a setting is not valid."""
    parser = argparse.ArgumentParser(prog="python -m jobs", description="Maintenance of the record.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (about, _) in _COMMANDS.items():
        command = commands.add_parser(name, help=about, description=about)
        command.set_defaults(json=False)
        if name == "settings":
            command.add_argument("--json", action="store_true", help="Print JSON, for programs.")
    arguments = parser.parse_args()
    restrict_file_permissions()
    try:
        settings = load_settings()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        code = _COMMANDS[arguments.command][1](settings, arguments.json)
        sys.stdout.flush()
        return code
    except UnavailableError as error:
        print(f"{error}{_where(settings)}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader of the output has closed it, as `head` does. Python must not write the rest when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"{error.strerror or error}: {error.filename or settings.data_dir}.", file=sys.stderr)
        return 1


def _where(settings: Settings) -> str:
    """Return which file the database is, as a sentence; "" for a server, whose address may contain a password."""
    return "" if settings.sqlite_file is None else f" Its file is {settings.sqlite_file}."


def _settings(settings: Settings, as_json: bool) -> int:
    listed = {f"{PREFIX}{name.upper()}": _setting(settings, name) for name in Settings.model_fields}
    if as_json:
        print(json.dumps(listed, indent=2, default=str))
        return 0
    for name, setting in listed.items():
        print(f"{name}={setting['value']}")
        print(f"    {setting['about']}  [default: {setting['default']}]")
    return 0


def _setting(settings: Settings, name: str) -> dict[str, Any]:
    """Return one setting. The value of a key, or of a URL, which may contain a password, is hidden."""
    about, value = Settings.model_fields[name], getattr(settings, name)
    is_secret = name.endswith(("_url", "key")) and value != about.default
    default = "empty" if about.default == "" else about.default
    return {"value": "(set)" if is_secret else value, "default": default, "about": about.description}


# The other commands import what they need when they run: `settings` must not wait for the database library.
def _migrate(settings: Settings, as_json: bool) -> int:
    from jobs.db import migrate  # noqa: PLC0415

    migrate(settings)
    print("The schema is current.")
    return 0


def _first_key(settings: Settings, as_json: bool) -> int:
    from jobs.first_key import first_key  # noqa: PLC0415

    if (key := first_key(settings)) is None:
        sentence = "There is an administrator's key already. Use it to make more: `gantry keys create --scope admin`."
        print(sentence, file=sys.stderr)
        return 1
    print(key)
    return 0


def _prepare(settings: Settings, as_json: bool) -> int:
    from jobs.db import check_installed, migrate  # noqa: PLC0415
    from jobs.first_key import first_key  # noqa: PLC0415

    migrate(settings)
    check_installed(settings)
    print(json.dumps({"first_key": first_key(settings) if settings.asks_for_keys else None}))
    return 0


def _check(settings: Settings, as_json: bool) -> int:
    from jobs.checks import check_all  # noqa: PLC0415

    print(
        json.dumps({name: {"ok": works, "detail": detail} for name, (works, detail) in check_all(settings).items()})
    )
    return 0


_COMMANDS: Final[dict[str, tuple[str, Callable[[Settings, bool], int]]]] = {
    "settings": ("List every GANTRY_* variable with its value, its default and its meaning.", _settings),
    "migrate": ("Update the database's schema to this version.", _migrate),
    "first-key": ("Create an administrator's key if there is none, and print it.", _first_key),
    "prepare": (
        "Migrate, look for data sets, create the first key if the service asks for keys. Prints JSON.",
        _prepare,
    ),
    "check": ("Check the parts that the settings name. Prints JSON.", _check),
}


if __name__ == "__main__":
    sys.exit(main())
