"""`python -m benchmarks.bare PORT`: the yardstick of the API: one route that returns a small JSON, and nothing else.

FastAPI and uvicorn as the service has them (api/__main__.py), without a log and without middleware.
"""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI

app = FastAPI()


@app.get("/ping")
async def ping() -> dict[str, str]:
    """Nothing is looked up."""
    return {"status": "alive"}


def main() -> None:
    uvicorn.run(app, port=int(sys.argv[1]), log_config=None, access_log=False, server_header=False)


if __name__ == "__main__":
    main()
