"""The client of the sampler: requests to its private HTTP interface, and its errors as errors of the API."""

from __future__ import annotations

import ssl
from typing import Any, Final

import httpx2

from api.http.errors import SamplerExportError
from gan.spec import DatasetInfo, TrainSpec
from jobs.errors import (
    ArtifactLostError,
    CheckpointNotFoundError,
    DatasetAwayError,
    DatasetNotFoundError,
    SamplerBusyError,
    SamplerUnavailableError,
)
from jobs.runtime.settings import sampler_address

# To draw 1024 images with a large generator on a CPU that also trains takes long.
_TIMEOUT: Final = httpx2.Timeout(120, connect=2, pool=10)

_SAMPLER: Final = "The sampler"
# The caller of a dry run asked for no images: the message says what the sampler has to do with it.
_ESTIMATOR: Final = "The sampler, which computes the estimate of a dry run,"


class SamplerClient:
    """The connections of one process to the sampler at `url` (http://host:port or unix:/path)."""

    def __init__(self, url: str) -> None:
        base_url, socket = sampler_address(url)
        # Without TLS nothing is verified. The default would read all certificates of this machine, which takes 30 ms.
        tls = True if base_url.startswith("https://") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # trust_env=False: requests between two processes of one service must not go through a proxy.
        self._client = httpx2.AsyncClient(
            base_url=base_url,
            transport=httpx2.AsyncHTTPTransport(uds=socket, verify=tls) if socket else None,
            timeout=_TIMEOUT,
            trust_env=False,
            verify=tls,
        )

    async def draw(self, request: dict[str, Any]) -> bytes:
        """Return the images of `request`, in its format.

        Raises `CheckpointNotFoundError`, `ArtifactLostError`, `SamplerBusyError` and `SamplerUnavailableError`.
        """
        return await self._call("POST", "/draw", request["checkpoint_id"], json=request)

    async def export(self, checkpoint_id: str, format: str) -> bytes:
        """Return a generator in another format. Raises what `draw` raises, and `SamplerExportError`."""
        parameters = {"checkpoint_id": checkpoint_id, "format": format}
        return await self._call("GET", "/export", checkpoint_id, params=parameters)

    async def contact_sheet(self, request: dict[str, Any]) -> bytes:
        """Return a PNG of real images of a data set.

        Raises `DatasetNotFoundError`, `DatasetAwayError`, `SamplerBusyError` and `SamplerUnavailableError`.
        """
        return await self._call("POST", "/contact-sheet", request["dataset_id"], json=request)

    async def estimate(self, spec: TrainSpec, dataset: DatasetInfo) -> dict[str, Any]:
        """Return what training `spec` would need. Raises `SamplerUnavailableError` and `SamplerBusyError`."""
        body = {"spec": spec.model_dump(mode="json"), "dataset": dataset.model_dump(mode="json")}
        response = await self._send("POST", "/estimate", _ESTIMATOR, json=body)
        if response.status_code != 200:
            raise _error_of(response, "", _ESTIMATOR)
        estimate: dict[str, Any] = response.json()
        return estimate

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _call(self, method: str, path: str, resource_id: str, **content: Any) -> bytes:
        response = await self._send(method, path, _SAMPLER, **content)
        if response.status_code != 200:
            raise _error_of(response, resource_id, _SAMPLER)
        return response.content

    async def _send(self, method: str, path: str, subject: str, **content: Any) -> httpx2.Response:
        try:
            return await self._client.request(method, path, **content)
        except httpx2.TimeoutException as error:
            raise SamplerUnavailableError(f"{subject} did not respond in time.") from error
        except httpx2.TransportError as error:
            raise SamplerUnavailableError(f"{subject} cannot be reached; is `gantry sampler` running?") from error


def _error_of(response: httpx2.Response, resource_id: str, subject: str) -> Exception:
    """Return the API's error for an error of the sampler; `resource_id` is the requested checkpoint or data set."""
    body = _json_body(response)
    detail = str(body.get("detail") or f"it responded with status {response.status_code}")
    match body.get("code"):
        case "checkpoint-not-found":
            return CheckpointNotFoundError(resource_id)
        case "dataset-not-found":
            return DatasetNotFoundError(resource_id)
        case "dataset-away":
            return DatasetAwayError(detail)
        case "sampler-busy":
            return SamplerBusyError(f"{subject} is busy, and its queue is full; try again in a moment.")
        case "artifact-lost":
            return ArtifactLostError(detail)
        case "export-unavailable":
            return SamplerExportError(detail)
        case _:
            return SamplerUnavailableError(f"{subject} could not do this: {detail}.")


def _json_body(response: httpx2.Response) -> dict[str, Any]:
    if not response.headers.get("content-type", "").startswith("application/json"):
        return {}
    body = response.json()
    return body if isinstance(body, dict) else {}
