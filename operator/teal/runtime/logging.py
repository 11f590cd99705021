"""Structured logs: one line for each event, as JSON or as text, with the resource that it is about.

kopf's own loggers start at WARNING: below that, Teal logs the same facts itself.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime

from teal.api.values import rfc3339
from teal.controller import context
from teal.runtime.settings import LogFormat

LEVELS = {
    **dict.fromkeys(("kopf", "aiohttp.access", "asyncio", "httpx", "httpcore"), logging.WARNING),
    "kopf._core.reactor.running": logging.ERROR,  # it warns that it does not handle signals, which is intended
}


class JsonFormatter(logging.Formatter):
    """One JSON object for each line."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **context.current(),
        }
        if record.exc_info:
            entry["error"] = "".join(traceback.format_exception(*record.exc_info)).rstrip()
        return json.dumps(entry, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """For people: time, level, resource, message."""

    def format(self, record: logging.LogRecord) -> str:
        about = " ".join(context.current().values())
        line = f"{_time(record)} {record.levelname:<7} {f'[{about}] ' if about else ''}{record.getMessage()}"
        if record.exc_info:
            line += "\n" + "".join(traceback.format_exception(*record.exc_info)).rstrip()
        return line


FORMATTERS: dict[LogFormat, type[logging.Formatter]] = {"json": JsonFormatter, "text": TextFormatter}


def configure(level: str, log_format: LogFormat) -> None:
    """Send all logs to stderr: from `level` on, and those of verbose libraries from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(FORMATTERS[log_format]())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name, least in LEVELS.items():
        logging.getLogger(name).setLevel(least)


def _time(record: logging.LogRecord) -> str:
    return rfc3339(datetime.fromtimestamp(record.created, UTC), "milliseconds")
