"""Errors of the commands that run a service on this machine. Each message is a sentence for the terminal."""

from __future__ import annotations


class LocalServiceError(Exception):
    """A command cannot run the service on this machine. `code` is the exit code of the command."""

    def __init__(self, sentence: str, code: int = 1) -> None:
        super().__init__(sentence)
        self.code = code


class UpError(LocalServiceError):
    """`gantry up` cannot start the service."""


class DemoError(LocalServiceError):
    """`gantry demo` cannot run, or its service did not start."""


class LocalCommandError(LocalServiceError):
    """A command of the service, `python -m jobs ...`, failed. The exit code is that of the command."""
