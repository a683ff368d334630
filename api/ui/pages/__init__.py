"""The pages, a file each: what they ask, and how it is shown."""

from __future__ import annotations

from typing import Final

from api.ui.pages import compare, datasets, job, jobs, submit, workers

PAGES: Final = (jobs, submit, job, compare, datasets, workers)
