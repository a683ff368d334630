"""Execution: Celery tasks, trainer processes and the sampler. Here the learning code meets the record."""

import os

# Keep Celery from renaming its processes: it would overwrite the environment, which follows the command in memory.
os.environ.setdefault("NOSETPS", "1")
