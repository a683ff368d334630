"""The colours of curves, the same in plots, in the terminal and in the dashboard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

# The palette of Okabe and Ito (2008). People with any kind of colour vision can distinguish its colours.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def colours(names: Sequence[str]) -> dict[str, str]:
    """Return the colour of each curve in a plot of `names`, in order."""
    return {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(names)}
