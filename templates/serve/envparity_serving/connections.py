"""Connections of HTTP that wait for no client, and say what happens on them as the log does."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Callable, Optional

from uvicorn.protocols.http.h11_impl import H11Protocol


class AsLine(logging.Handler):
    """What uvicorn has to say, as a line of the log: never what a client sent."""

    def __init__(self, log: Callable[..., None]) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        fault = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
        more = {"fault": fault} if fault else {}
        self._log("server", record.levelname.lower(), message=record.getMessage().partition("\n")[0][:200], **more)


def ending_after(seconds: float) -> type:
    """
    The class of connections that are closed where no whole request came for so long. uvicorn itself waits for ever for
    the head of a first one: so as many silent clients as it takes connections would be its end.
    """

    class Ending(H11Protocol):  # type: ignore[misc]
        _end: Optional[asyncio.TimerHandle] = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._wait()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._wait()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._wait()

        def connection_lost(self, exc: Optional[Exception]) -> None:
            self._stop()
            super().connection_lost(exc)

        def _wait(self) -> None:
            if self.cycle is not None and not self.cycle.response_complete:
                self._stop()
            elif self._end is None:
                self._end = self.loop.call_later(seconds, self.transport.close)

        def _stop(self) -> None:
            if self._end is not None:
                self._end.cancel()
                self._end = None

    return Ending
