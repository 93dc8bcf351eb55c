"""Layers that are checked by threads of their own, while somebody reads them."""

from __future__ import annotations

__all__ = ["Proofs"]

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from envparity.errors import EnvparityError
from envparity.oci.unpack import LayerStream

_MOST_OPEN = 64


class Proofs:
    """
    The checks that run. At the end of the block all of them have ended well, or the first error of theirs is raised, in
    the place of any other error of the block: what a layer looks like means nothing if it is not the promised one.

    Args:
        advance: is told how many bytes of each layer were checked.
    """

    def __init__(self, advance: Callable[[int], None] = lambda size: None) -> None:
        self._advance = advance
        self._pool = ThreadPoolExecutor(min(os.cpu_count() or 1, 4), thread_name_prefix="proof")
        self._ahead: list[tuple[LayerStream, Future[None]]] = []
        self._lock = threading.Lock()

    def begin(self, stream: LayerStream) -> None:
        """
        Check a layer that lies on this disk, and that its file is not written to meanwhile; then close it.

        Raises:
            IntegrityError: an earlier layer is not the promised one.
        """

        def check() -> None:
            with stream:
                stream.drain()
                stream.require_unchanged()
                self._advance(stream.size_bytes)

        with self._lock:
            self._ahead.append((stream, self._pool.submit(check)))
            oldest = self._ahead[-_MOST_OPEN][1] if len(self._ahead) >= _MOST_OPEN else None
        if oldest is not None:
            oldest.result()  # every check has files open

    def __enter__(self) -> Proofs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None or issubclass(kind, Exception):
                for _stream, check in self._ahead:
                    try:
                        check.result()
                    except EnvparityError as found:
                        raise found from error
        finally:
            for stream, _ in self._ahead:
                stream.abandon()
            self._pool.shutdown(cancel_futures=True)
            for stream, _ in self._ahead:
                stream.close()
