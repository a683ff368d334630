"""Measurements: each prints what it measured, and writes what the docs quote."""

from typing import Final

GOAL_MISSED: Final = 3
"""Exit code of a measurement that was made, and whose figure is not what it is to be."""
