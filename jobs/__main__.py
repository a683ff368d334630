"""`python -m jobs COMMAND`: what an operator asks of the record on the service's own machine.

    settings [--json]   every GANTRY_* variable with its value here, its default and what it is
    migrate             bring the database's schema to this version
    first-key           make an administrator's key if there is none yet, and print it
    prepare             both, for `gantry up`: prints {"first_key": KEY or null} as JSON
    check               check the parts that the settings name, as JSON

The command `gantry` starts these as processes of their own, so that it needs no database library itself.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any, Final

from jobs.errors import SettingsError, UnavailableError
from jobs.runtime.settings import PREFIX, Settings, load_settings
from jobs.runtime.startup import restrict_file_permissions


def main() -> int:
    """Run one command. Returns its exit code: 0, 1 if it is refused, 2 if a setting is not usable."""
    parser = argparse.ArgumentParser(prog="python -m jobs", description="Maintenance of the record.")
    parser.add_argument("command", choices=sorted(_COMMANDS))
    parser.add_argument("--json", action="store_true", help="As JSON, for programs.")
    arguments = parser.parse_args()
    restrict_file_permissions()
    try:
        return _COMMANDS[arguments.command](load_settings(), arguments.json)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    except UnavailableError as error:
        print(error, file=sys.stderr)
        return 1


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
    """Return one setting. The value of a secret, or of a URL, which may hold a password, is not shown."""
    about, value = Settings.model_fields[name], getattr(settings, name)
    secret = name.endswith(("_url", "key")) and value != about.default
    default = "empty" if about.default == "" else about.default
    return {"value": "(set)" if secret else value, "default": default, "about": about.description}


def _migrate(settings: Settings, as_json: bool) -> int:
    from jobs.db import migrate  # noqa: PLC0415 - `settings` needs no database library

    migrate(settings)
    print("The schema is current.")
    return 0


def _first_key(settings: Settings, as_json: bool) -> int:
    from jobs.first_key import first_key  # noqa: PLC0415

    if (key := first_key(settings)) is None:
        print(
            "There is an administrator's key already; with it, `gantry keys create --scope admin` makes more.",
            file=sys.stderr,
        )
        return 1
    print(key)
    return 0


def _prepare(settings: Settings, as_json: bool) -> int:
    from jobs.db import migrate  # noqa: PLC0415
    from jobs.first_key import first_key  # noqa: PLC0415

    migrate(settings)
    print(json.dumps({"first_key": first_key(settings) if settings.asks_for_keys else None}))
    return 0


def _check(settings: Settings, as_json: bool) -> int:
    from jobs.checks import check_all  # noqa: PLC0415

    print(json.dumps({name: {"ok": ok, "detail": detail} for name, (ok, detail) in check_all(settings).items()}))
    return 0


_COMMANDS: Final[dict[str, Callable[[Settings, bool], int]]] = {
    "settings": _settings,
    "migrate": _migrate,
    "first-key": _first_key,
    "prepare": _prepare,
    "check": _check,
}


if __name__ == "__main__":
    sys.exit(main())
