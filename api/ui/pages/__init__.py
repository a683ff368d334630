"""The pages, a file each: what they ask, and how it is shown."""

from __future__ import annotations

from typing import Final

from api.ui.pages import compare, dataset, datasets, job, jobs, sign_in, submit, upload, workers

# Uploads stand before the data sets, each of which is found by its name.
PAGES: Final = (jobs, submit, job, compare, datasets, upload, dataset, workers, sign_in)
