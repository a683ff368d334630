"""Errors of the commands that run a service on this machine. Each message is a sentence for the terminal."""

from __future__ import annotations


class LocalServiceError(Exception):
    """The service on this machine cannot do what the command asks; `code` is the command's exit code."""

    def __init__(self, sentence: str, code: int = 1) -> None:
        super().__init__(sentence)
        self.code = code


class UpError(LocalServiceError):
    """`gantry up` cannot start the service."""


class DemoError(LocalServiceError):
    """`gantry demo` cannot run, or its service did not start."""


class LocalCommandError(LocalServiceError):
    """A process of the service refused a request, with its own exit code."""
