"""Contents that lie deflated in an archive."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from envparity.oci.entries import Deflated


class Stored(Deflated):
    def __init__(self, data: bytes, stream: bytes) -> None:
        self.data, self.stream = data, stream

    def __call__(self) -> BinaryIO:
        return io.BytesIO(self.data)

    def pieces(self) -> Iterator[tuple[bytes, bytes]]:
        """Two of them, of which neither is what the other one packs."""
        yield self.data[:1000], self.stream[:10]
        yield self.data[1000:], self.stream[10:]


def deflated(data: bytes, level: int = 9) -> Stored:
    """A content as a raw deflate stream of zlib, of this level."""
    pack = zlib.compressobj(level, wbits=-zlib.MAX_WBITS)
    return Stored(data, pack.compress(data) + pack.flush())
