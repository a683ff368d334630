"""The sandbox of a process that handles untrusted input."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox needs Linux")


def run(script: str, *arguments: object) -> str:
    """Run `script` in a process of its own, with `sandbox` imported. Return its output."""
    begin = "import os, socket, sys; from pathlib import Path; from gan import sandbox\n"
    words = [sys.executable, "-c", begin + script, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=120).stdout.strip()


def kernel_has_landlock() -> bool:
    """Return whether this kernel can restrict the writes of a process."""
    return run("print(sandbox.write_only_in([]))") == "True"


TRIES = """
def tried(what):
    try:
        what()
    except OSError as error:
        return type(error).__name__
    return "done"
"""


@LINUX
def test_nothing_is_written_created_or_removed_outside(tmp_path: Path) -> None:
    if not kernel_has_landlock():
        pytest.skip("this kernel has no Landlock")
    inside, outside, named = tmp_path / "in", tmp_path / "out", tmp_path / "named"
    for folder in (inside, outside):
        folder.mkdir()
    (outside / "there").write_text("untouched")
    named.write_text("as it was")
    output = run(
        TRIES
        + """
inside, outside, named = map(Path, sys.argv[1:])
assert sandbox.write_only_in([inside], [named])
print(tried(lambda: (inside / "a").write_text("x")), tried(lambda: (inside / "a").replace(inside / "b")))
print(tried(lambda: (inside / "d").mkdir()), tried(lambda: named.write_text("new")))
print(tried(lambda: (outside / "there").write_text("x")), tried(lambda: (outside / "new").write_text("x")))
print(tried(lambda: (outside / "there").unlink()), tried(lambda: (outside / "d").mkdir()))
print(tried(lambda: (inside / "b").replace(outside / "b")))
print(tried(lambda: (inside / "s").symlink_to(outside / "there")))
print(tried(lambda: (inside / "s").write_text("x")), (outside / "there").read_text())
""",
        *(inside, outside, named),
    )
    words = output.split()
    assert words[:4] == ["done"] * 4
    assert set(words[4:9]) <= {"PermissionError", "OSError"}, words
    assert words[10:] == ["PermissionError", "untouched"] and named.read_text() == "new"
    assert sorted(path.name for path in outside.iterdir()) == ["there"]


@LINUX
def test_a_restricted_process_cannot_read_the_memory_of_another_process() -> None:
    if not kernel_has_landlock():
        pytest.skip("this kernel has no Landlock")
    script = TRIES + "print(tried(lambda: open(f'/proc/{sys.argv[1]}/mem').close()))"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        alone = run(script, other.pid)
        restricted = run(script.replace("print(", "sandbox.write_only_in([])\nprint("), other.pid)
        other.communicate(b"\n")
    assert restricted == "PermissionError" and alone in ("done", "PermissionError")


@LINUX
def test_a_process_that_has_left_the_network_reaches_no_server() -> None:
    script = """
server = socket.create_server(("127.0.0.1", 0))
left = sandbox.leave_network()
try:
    socket.create_connection(server.getsockname(), timeout=5)
    reached = True
except OSError:
    reached = False
print(left, reached)
"""
    left, reached = run(script).split()
    if left == "False":
        pytest.skip("this kernel does not let this user create a network namespace")
    assert reached == "False"


def test_a_limit_cannot_be_raised() -> None:
    script = """
import resource
sandbox.limit({resource.RLIMIT_NOFILE: 64, resource.RLIMIT_CORE: 0})
sandbox.limit({resource.RLIMIT_NOFILE: 128})
print(*resource.getrlimit(resource.RLIMIT_NOFILE), *resource.getrlimit(resource.RLIMIT_CORE))
"""
    assert run(script).split() == ["64", "64", "0", "0"]
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] != 64
