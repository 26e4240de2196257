"""The log: JSON lines on standard error, ours and those of the libraries, from `log_level` on.

No line holds an address, a name, a token or a full client address: whoever logs sees to it.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, TextIO

import structlog

_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
]


class _StandardError(logging.StreamHandler[TextIO]):
    """Writes to what standard error is at the moment: a progress bar moves it while it is shown."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, _stream: TextIO) -> None:
        raise AttributeError("always standard error")


class _Line:
    """A logger of structlog's that writes to what standard error is at the moment."""

    def msg(self, line: str) -> None:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()

    debug = info = warning = error = critical = exception = log = msg


def configure(level: str) -> None:
    """Log from `level` (debug, info, warning or error) on. A second call replaces the first."""
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*_SHARED, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_args: _Line(),
        cache_logger_on_first_use=False,
    )
    out = _StandardError()
    out.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [each for each in root.handlers if not isinstance(each, _StandardError)]
    root.addHandler(out)
    # Of the libraries, what went wrong; their chatter may hold what a visitor sent.
    root.setLevel(max(number, logging.WARNING))


def configure_beside_a_person(level: str) -> None:
    """The same for a command that says itself how it goes: of the log, only what went wrong."""
    configure("warning" if level == "info" else level)
