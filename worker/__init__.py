"""Execution: where learning meets the record."""

import os

# Celery would rename the worker's processes, over the environment that stands behind their commands in memory.
os.environ.setdefault("NOSETPS", "1")
