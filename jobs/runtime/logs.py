"""Logs: JSON lines on stderr, one event a line, for every process of the service.

Control characters, line ends and all characters outside ASCII are escaped. Secrets are removed.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from jobs.runtime.redaction import redact
from jobs.runtime.settings import Settings


def setup(settings: Settings, process: str) -> None:
    """Send all logs of this process, those of libraries too, to stderr as JSON. `process` is its name there."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
                _without_secrets,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    for noisy in ("amqp", "kombu", "celery.redirected", "httpx2", "httpcore2", "matplotlib", "PIL", "alembic"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    structlog.contextvars.bind_contextvars(process=process)


def _without_secrets(logger: object, method: str, line: Any) -> str:
    # Escape DEL, the only control character that JSON leaves as it is.
    return redact(str(line).replace("\x7f", "\\u007f"))
