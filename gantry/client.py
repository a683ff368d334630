"""The client of the public HTTP API, for Python programs and for the command `gantry`.

    with Client("http://127.0.0.1:8000") as client:
        job = client.submit({"dataset": "fashion-mnist-mini", "total_steps": 2000})
        job = client.wait(job["id"])
        steps, loss = client.arrays(job["id"], ["loss_d"])["loss_d"]
        client.images(job["id"], labels=["Sneaker"])[0].image.show()

docs/python.md explains it step by step. Methods return the JSON of the API, except where their type says otherwise.
"""

from __future__ import annotations

from gantry.connection import DEFAULT_URL, Json
from gantry.endpoints.access import AccessEndpoints
from gantry.endpoints.datasets import DatasetEndpoints
from gantry.endpoints.jobs import ENDED, JobEndpoints, stopping
from gantry.endpoints.results import ResultEndpoints
from gantry.endpoints.service import ServiceEndpoints
from gantry.endpoints.webhooks import WebhookEndpoints
from gantry.errors import ApiError, BadSettingError, UnreachableError

__all__ = ["DEFAULT_URL", "ENDED", "ApiError", "BadSettingError", "Client", "Json", "UnreachableError", "stopping"]


class Client(JobEndpoints, ResultEndpoints, DatasetEndpoints, WebhookEndpoints, AccessEndpoints, ServiceEndpoints):
    """The client of one service. Close it, or use it in a `with` block.

    Every method raises `ApiError` if the service refuses, and `UnreachableError` if no service answers.
    """
