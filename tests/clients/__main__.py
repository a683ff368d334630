"""`make clients`: generate two clients from docs/openapi.json, run a session with each, and lint the document.

Generated code, its libraries and the linters lie in build/clients, which is not committed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.served import service

_HERE: Final = Path(__file__).parent
_ROOT: Final = _HERE.parents[1]
_DOCUMENT: Final = _ROOT / "docs" / "openapi.json"
_BUILD: Final = _ROOT / "build" / "clients"
_OLDEST_NODE: Final = 20
_COPIED: Final = ("package.json", "tsconfig.json", "session.ts", "session.py")
# Neither tool may report its use to its maker, or look for a newer version of itself.
_QUIET: Final = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}


def main() -> int:
    """Return 0 if everything works, 1 if something does not, and 2 if Node.js is missing."""
    if (missing := _missing()) is not None:
        print(missing)
        return 2
    _BUILD.mkdir(parents=True, exist_ok=True)
    for name in _COPIED:
        shutil.copy(_HERE / name, _BUILD / name)
    try:
        python, typescript = _python_client(), _typescript_client()
        with tempfile.TemporaryDirectory(prefix="gantry-clients-") as folder, service(Path(folder), 1) as (_, url):
            _say("A session with the client of openapi-python-client")
            _run([*python, url])
            _say("A session with the client of openapi-typescript and openapi-fetch")
            _run([*typescript, url])
        _lint()
    except subprocess.CalledProcessError as error:
        print(f"\nThis has failed: {' '.join(map(str, error.cmd))}")
        return 1
    _say("Both clients work, and both linters are silent")
    return 0


def _missing() -> str | None:
    """Return a sentence on what is missing, or None."""
    hint = "Debian: apt-get install nodejs npm. Elsewhere: nodejs.org."
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            return f"make clients needs Node.js {_OLDEST_NODE} or later with npm, and there is no '{program}'. {hint}"
    found = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    version = re.match(r"v(\d+)", found)
    if version is None or int(version[1]) < _OLDEST_NODE:
        return f"make clients needs Node.js {_OLDEST_NODE} or later, and this is {found}. {hint}"
    return None


def _python_client() -> Sequence[str | Path]:
    """Generate the client in an environment of its own; return the command of its session, without the URL."""
    _say("openapi-python-client")
    environment = _BUILD / "python"
    if not (environment / "bin" / "python").exists():
        _run([sys.executable, "-m", "venv", environment])
    python = environment / "bin" / "python"
    pip: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "-r", _HERE / "requirements.txt"])
    config: list[str | Path] = ["--config", _HERE / "openapi-python-client.yaml"]
    config += ["--output-path", _BUILD / "python-client", "--path", _DOCUMENT]
    # The generator calls ruff, which lies beside it.
    strict = ["--overwrite", "--fail-on-warning"]
    path = os.pathsep.join([str(environment / "bin"), os.environ["PATH"]])
    _run([environment / "bin" / "openapi-python-client", "generate", *config, *strict], PATH=path)
    _run([*pip, "--no-deps", "--force-reinstall", _BUILD / "python-client"])
    return [python, _BUILD / "session.py"]


def _typescript_client() -> Sequence[str | Path]:
    """Generate the types and compile the session; return the command of the session, without the URL."""
    _say("openapi-typescript and openapi-fetch")
    _run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"])
    _run([_tool("openapi-typescript"), _DOCUMENT, "-o", _BUILD / "api.ts"])
    _run([_tool("tsc")])
    return ["node", _BUILD / "built" / "session.js"]


def _lint() -> None:
    _say("redocly lint")
    _run([_tool("redocly"), "lint", _DOCUMENT, "--config", _HERE / "redocly.yaml"], **_QUIET)
    _say("spectral lint")
    _run([_tool("spectral"), "lint", _DOCUMENT, "--ruleset", _HERE / "spectral.yaml", "--fail-severity=hint"])


def _tool(name: str) -> Path:
    return _BUILD / "node_modules" / ".bin" / name


def _run(argv: Sequence[str | Path], **environment: str) -> None:
    """Run a command in the build folder. Raises `CalledProcessError`."""
    subprocess.run(argv, check=True, cwd=_BUILD, env={**os.environ, **environment})


def _say(title: str) -> None:
    print(f"\n== {title}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
