"""`python -m benchmarks.bare PORT`: a server with one route that returns a small JSON, to compare the API with.

FastAPI and uvicorn as the service has them (api/__main__.py), without a log and without middleware.
"""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI

app = FastAPI()


@app.get("/ping")
async def ping() -> dict[str, str]:
    """Return a constant."""
    return {"status": "alive"}


def main() -> None:
    """Serve the route on the port that is the first argument."""
    uvicorn.run(app, port=int(sys.argv[1]), log_config=None, access_log=False, server_header=False)


if __name__ == "__main__":
    main()
