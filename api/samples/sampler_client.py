"""How the face asks the sampler: its private HTTP, and what its refusals mean here."""

from __future__ import annotations

from typing import Any, Final

import httpx2

from api.http.errors import ExportUnavailableError
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

# Drawing 1024 images with a large generator on a CPU that trains at the same time takes its time.
_LIMITS: Final = httpx2.Timeout(120, connect=2, pool=10)

_PAINTER: Final = "The sampler"
# To one who asked for no images it must be said why the sampler matters.
_ESTIMATOR: Final = "The sampler, which makes the estimate of a dry run,"


class SamplerClient:
    """One process's connections to the sampler at `url` (http://host:port or unix:/path)."""

    def __init__(self, url: str) -> None:
        base_url, socket = sampler_address(url)
        # No proxy of the environment lies between two processes of one service.
        self._client = httpx2.AsyncClient(
            base_url=base_url,
            transport=httpx2.AsyncHTTPTransport(uds=socket) if socket else None,
            timeout=_LIMITS,
            trust_env=False,
        )

    async def draw(self, request: dict[str, Any]) -> bytes:
        """The images of `request`, in its format. Raises `CheckpointNotFoundError`, `ArtifactLostError`, `Sampler…`."""
        return await self._call("POST", "/draw", request["checkpoint_id"], json=request)

    async def export(self, checkpoint_id: str, format: str) -> bytes:
        """A generator in another format. Raises as `draw` does, and `ExportUnavailable`."""
        parameters = {"checkpoint_id": checkpoint_id, "format": format}
        return await self._call("GET", "/export", checkpoint_id, params=parameters)

    async def contact_sheet(self, request: dict[str, Any]) -> bytes:
        """Real images of a data set. Raises `DatasetNotFoundError`, `DatasetAwayError`, `Sampler…`."""
        return await self._call("POST", "/contact-sheet", request["dataset_id"], json=request)

    async def estimate(self, spec: TrainSpec, dataset: DatasetInfo) -> dict[str, Any]:
        """What training `spec` would take. Raises `SamplerUnavailableError`, `SamplerBusyError`."""
        body = {"spec": spec.model_dump(mode="json"), "dataset": dataset.model_dump(mode="json")}
        response = await self._send("POST", "/estimate", _ESTIMATOR, json=body)
        if response.status_code != 200:
            raise _refusal(response, "", _ESTIMATOR)
        estimate: dict[str, Any] = response.json()
        return estimate

    async def close(self) -> None:
        await self._client.aclose()

    async def _call(self, method: str, path: str, of: str, **content: Any) -> bytes:
        response = await self._send(method, path, _PAINTER, **content)
        if response.status_code != 200:
            raise _refusal(response, of, _PAINTER)
        return response.content

    async def _send(self, method: str, path: str, who: str, **content: Any) -> httpx2.Response:
        try:
            return await self._client.request(method, path, **content)
        except httpx2.TimeoutException as error:
            raise SamplerUnavailableError(f"{who} did not answer in time.") from error
        except httpx2.TransportError as error:
            raise SamplerUnavailableError(f"{who} cannot be reached; is `gantry sampler` running?") from error


def _refusal(response: httpx2.Response, of: str, who: str) -> Exception:
    """What it means here; `of` is the id of what was asked for."""
    said = _said(response)
    detail = str(said.get("detail") or f"it answered {response.status_code}")
    match said.get("code"):
        case "checkpoint-not-found":
            return CheckpointNotFoundError(of)
        case "dataset-not-found":
            return DatasetNotFoundError(of)
        case "dataset-away":
            return DatasetAwayError(detail)
        case "sampler-busy":
            return SamplerBusyError(f"{who} has as much to do as it lets wait; try again in a moment.")
        case "artifact-lost":
            return ArtifactLostError(detail)
        case "export-unavailable":
            return ExportUnavailableError(detail)
        case _:
            return SamplerUnavailableError(f"{who} could not do this: {detail}.")


def _said(response: httpx2.Response) -> dict[str, Any]:
    if not response.headers.get("content-type", "").startswith("application/json"):
        return {}
    said = response.json()
    return said if isinstance(said, dict) else {}
