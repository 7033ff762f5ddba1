"""Logs: structlog to standard error, for a person on a terminal or as JSON lines for a machine."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(style: str, level: str) -> None:
    """Set the process up to log. `style`: console, json, or auto (console on a terminal, else json)."""
    console = style == "console" or (style == "auto" and sys.stderr.isatty())
    # The default formatter shows the local variables of every frame, keys and other people's prompts among them.
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    renderer: Any = plain if console else structlog.processors.JSONRenderer()
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if not console:
        processors.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    _route_library_logs(level)


def _route_library_logs(level: str) -> None:
    """What libraries say through `logging` (Granian, Litestar, httpx) joins our stream, from warnings up."""
    logging.basicConfig(
        handlers=[_Forward()],
        level=logging.DEBUG if level == "debug" else logging.WARNING,
        force=True,
        format="%(message)s",
    )
    for name in ("httpx", "httpcore", "asyncio", "watchfiles"):
        logging.getLogger(name).setLevel(logging.WARNING)


class _Forward(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        structlog.get_logger(record.name).log(record.levelno, text, exc_info=record.exc_info or None)
