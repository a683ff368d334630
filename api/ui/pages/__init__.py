"""The pages, one file each: their calls to the service and their elements."""

from __future__ import annotations

from typing import Final

from api.ui.pages import compare, dataset, datasets, job, jobs, sign_in, submit, upload, workers

# The route of `upload` must come before that of `dataset`, which matches any name.
PAGES: Final = (jobs, submit, job, compare, datasets, upload, dataset, workers, sign_in)
