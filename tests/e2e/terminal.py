"""A terminal with a person at it: the command runs on a pseudo-terminal, which answers what terminals answer."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from typing import Final

# Device attributes: asked, and answered with or without 4, which is Sixel.
_ASKED: Final = b"\x1b[c"
SIXEL: Final = b"\x1b[?62;4;22c"
PLAIN: Final = b"\x1b[?62;22c"
_SECONDS: Final = 120
# `gantry`, but that it waits for that answer longer than the 0.1 s in which a busy machine may give none.
_PATIENT_GANTRY: Final = f"""
import sys
from textual_image import _terminal
from gantry.cli.app import main
ask = _terminal.capture_terminal_response
_terminal.capture_terminal_response = lambda start_marker, end_marker, timeout=None: ask(
    start_marker, end_marker, {_SECONDS} if end_marker == "c" else timeout
)
sys.exit(main())
"""


def on_terminal(words: Sequence[str], env: Mapping[str, str], attributes: bytes) -> tuple[int, bytes]:
    """`gantry WORDS`: its exit code, and all that reached the screen of 100 x 40 characters of 10 x 20 pixels."""
    near, far = pty.openpty()
    termios.tcsetwinsize(far, (40, 100))
    argv = [sys.executable, "-c", _PATIENT_GANTRY, *words]
    child = subprocess.Popen(
        argv, env={**env, "TERM": "xterm-256color", "COLORTERM": "truecolor"}, stdin=far, stdout=far, stderr=far
    )
    os.close(far)
    screen, answered, until = b"", 0, time.monotonic() + _SECONDS
    try:
        while time.monotonic() < until:
            if not select.select([near], [], [], 0.2)[0]:
                continue
            try:
                screen += os.read(near, 65536)
            except OSError:  # the other side is closed
                break
            while screen.count(_ASKED) > answered:
                os.write(near, attributes)
                answered += 1
        return child.wait(_SECONDS), screen
    finally:
        child.kill()
        child.wait()
        os.close(near)
