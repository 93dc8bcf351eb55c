"""A port of the loopback for a server that takes no socket of ours, only a number."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def port_of_its_own() -> Iterator[int]:
    """
    A port that nobody else is given while the block runs.

    It stays bound, and nobody listens at it: the kernel then gives it to no one who asks for any port, and a server
    that sets SO_REUSEADDR, as all but the oddest do, can take it all the same
    (https://man7.org/linux/man-pages/man7/socket.7.html).
    """
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
