"""
A stored layer as the stream of its tar: decompressed, limited and checked on the way.

What the media type says about compression is not believed: the first bytes are looked at.
"""

from __future__ import annotations

__all__ = ["UNPACK_LIMITS", "CheckedBlob", "LayerStream", "UnpackLimits", "codec_of", "open_blob_checked", "open_layer"]

import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol, cast

from envparity.errors import IntegrityError, MalformedError, UnsupportedError
from envparity.oci.entries import shown
from envparity.oci.extent import Extent
from envparity.oci.image import Place
from envparity.oci.spec import Descriptor, split_digest

CHUNK = 1 << 18
_ROOM = 1 << 24  # a thread that hashes a piece of this size seldom waits for one that runs Python

_MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x04\x22\x4d\x18", "lz4"),
)


@dataclass(frozen=True, slots=True)
class UnpackLimits:
    """
    How far a layer may grow. Past `ratio_from_bytes`, more than `ratio` bytes out of each byte in is a bomb: real
    layers reach 3 to 20, gzip can reach 1,030 and zstd more.
    """

    total_bytes: int = 256 << 30
    ratio: int = 400
    ratio_from_bytes: int = 64 << 20


UNPACK_LIMITS = UnpackLimits()


def codec_of(first: bytes) -> str:
    """The compression that the first bytes of a blob show: `gzip`, `zstd`, `bzip2`, `xz`, `lz4` or `none`."""
    if len(first) >= 4 and first[1:4] == b"\x2a\x4d\x18" and 0x50 <= first[0] <= 0x5F:
        return "zstd"  # a skippable frame (RFC 8878, 3.1.2)
    return next((name for magic, name in _MAGIC if first.startswith(magic)), "none")


def open_layer(
    place: Place,
    descriptor: Descriptor,
    diff_id: str,
    *,
    name: str = "",
    limits: UnpackLimits = UNPACK_LIMITS,
) -> LayerStream:
    """
    Open a layer as its tar.

    The blob's size and digest and the diffID are checked when the stream is read to its end, which then raises
    instead of ending. A reader that stops early has read unchecked bytes.

    Args:
        name: how errors name it, such as `oci:dir@sha256:… layer 3/7`.

    Raises:
        IntegrityError: blob or tar are not what their digests say, or the compressed data is damaged.
        MalformedError: the layer grows over a limit, or holds something behind its end.
        UnsupportedError: a compression or encryption that is not read.
    """
    name = name or f"layer {descriptor.digest[:19]}"
    algorithm, _ = split_digest(descriptor.digest)
    split_digest(diff_id)
    if descriptor.media_type.endswith("+encrypted"):
        raise UnsupportedError(
            f"{name} is encrypted", hint="decrypt the image first, with `skopeo copy --decryption-key`"
        )
    blob = CheckedBlob(place.open_blob(descriptor.digest), descriptor, algorithm, name)
    try:
        codec = codec_of(blob.peek())
        if codec not in _DECODERS:
            blob.require()  # a damaged blob is said to be that first
            raise UnsupportedError(
                f"{name} is compressed with {codec}, which no image may use", hint="use gzip or zstd"
            )
        return LayerStream(blob, _DECODERS[codec](blob), diff_id, name, limits, codec)
    except BaseException:
        blob.close()
        raise


@contextmanager
def open_blob_checked(place: Place, descriptor: Descriptor, name: str) -> Iterator[CheckedBlob]:
    """A blob of any kind; when the block ends well, its size and digest have been checked. Raises IntegrityError."""
    algorithm, _ = split_digest(descriptor.digest)
    blob = CheckedBlob(place.open_blob(descriptor.digest), descriptor, algorithm, name)
    try:
        yield blob
        blob.require()
    finally:
        blob.close()


class CheckedBlob:
    """The stored bytes, counted and hashed while they are read."""

    def __init__(self, stream: BinaryIO, descriptor: Descriptor, algorithm: str, name: str) -> None:
        self._stream = stream
        self._descriptor = descriptor
        self._algorithm = algorithm
        self._hash = hashlib.new(algorithm)
        self._ahead = b""
        self._is_abandoned = False
        self.name = name
        self.digest = descriptor.digest
        self.promised_bytes = descriptor.size_bytes
        self.read_bytes = 0

    @property
    def extent(self) -> Extent | None:
        """The same bytes where they lie on this disk, to be read by another thread; None where they do not."""
        raw = getattr(self._stream, "raw", None)
        return raw.again() if isinstance(raw, Extent) else None

    def require_unchanged(self) -> None:
        """Raise IntegrityError where the file on this disk was written to since it was opened."""
        raw = getattr(self._stream, "raw", None)
        if isinstance(raw, Extent):
            raw.require_unchanged(self.name)

    def abandon(self) -> None:
        """Let `require` in another thread fail soon, rather than read on for nobody."""
        self._is_abandoned = True

    def peek(self) -> bytes:
        """The first bytes, which the next `read` gives again."""
        if not self._ahead:
            self._ahead = self._pull(CHUNK)
        return self._ahead

    def read(self, size: int = CHUNK) -> bytes:
        """At most `size` bytes. Raises IntegrityError as soon as there are more than were promised."""
        if self._ahead:
            data, self._ahead = self._ahead[:size], self._ahead[size:]
            return data
        return self._pull(size)

    def _pull(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._hash.update(data)
        self._count(len(data))
        return data

    def _pull_into(self, room: memoryview) -> int:
        if self._is_abandoned:
            raise IntegrityError(f"{self.name} is no longer wanted, and was not checked")
        count = cast(io.BufferedReader, self._stream).readinto(room)
        self._hash.update(room[:count])
        self._count(count)
        return count

    def _count(self, more: int) -> None:
        self.read_bytes += more
        if self.read_bytes > self._descriptor.size_bytes:
            raise IntegrityError(
                f"{self.name}: blob {self._descriptor.digest} should have {self._descriptor.size_bytes} bytes "
                "and has more"
            )

    def require(self) -> None:
        """Read what is left, and raise IntegrityError unless size and digest are those that were promised."""
        self._ahead = b""
        room = memoryview(bytearray(_ROOM))
        while self._pull_into(room):
            pass
        if self.read_bytes != self._descriptor.size_bytes:
            raise IntegrityError(
                f"{self.name}: blob {self._descriptor.digest} should have {self._descriptor.size_bytes} bytes "
                f"and has {self.read_bytes}"
            )
        found = f"{self._algorithm}:{self._hash.hexdigest()}"
        if found != self._descriptor.digest:
            raise IntegrityError(
                f"{self.name}: the blob is not what its digest says: expected {self._descriptor.digest}, got {found}"
            )

    def close(self) -> None:
        """Close the stored file."""
        self._stream.close()


class _Decoder(Protocol):
    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end. Raises _Damage, or EnvparityError."""
        ...


class _Damage(Exception):
    """The compressed data cannot be decoded."""


class _Plain:
    def __init__(self, blob: CheckedBlob) -> None:
        self._blob = blob

    def read(self, size: int, /) -> bytes:
        return self._blob.read(size)


class _Gzip:
    """All members of a gzip file, one after the other, with their checksums (RFC 1952, 2.2)."""

    def __init__(self, blob: CheckedBlob) -> None:
        from isal import isal_zlib

        self._zlib: Any = isal_zlib
        self._blob = blob
        self._inflate = isal_zlib.decompressobj(31)
        self._input = b""
        self._done = False

    def read(self, size: int, /) -> bytes:
        while not self._done:
            if not self._input:
                self._input = self._blob.read()
                if not self._input and not self._inflate.eof:
                    raise _Damage("the gzip data is cut short")
            if self._inflate.eof:
                if not self._input:
                    self._done = True
                    break
                if len(self._input) < 2:
                    self._input += self._blob.read()
                if self._input[:2] != b"\x1f\x8b":
                    raise MalformedError(f"{self._blob.name} has data behind its last gzip member")
                self._inflate = self._zlib.decompressobj(31)
            try:
                data: bytes = self._inflate.decompress(self._input, size)
            except self._zlib.error as error:
                raise _Damage(f"the gzip data is damaged: {error}") from error
            self._input = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
            if data:
                return data
        return b""


class _Zstd:
    def __init__(self, blob: CheckedBlob) -> None:
        import zstandard

        self._error = zstandard.ZstdError
        decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 27)
        # The reader asks its source for `read(n)` only.
        self._stream = decompressor.stream_reader(cast(BinaryIO, _Counted(blob)), read_across_frames=True)

    def read(self, size: int, /) -> bytes:
        try:
            return self._stream.read(size)
        except self._error as error:
            raise _Damage(f"the zstd data is damaged: {error}") from error


class _Counted(io.RawIOBase):
    """A blob as a file, for a library that wants one."""

    def __init__(self, blob: CheckedBlob) -> None:
        super().__init__()
        self._blob = blob

    def read(self, size: int = -1, /) -> bytes:
        return self._blob.read(size if size > 0 else CHUNK)


class _Streams:
    """All streams of an xz or bzip2 file, one after the other."""

    def __init__(
        self, blob: CheckedBlob, name: str, begin: Callable[[], Any], errors: tuple[type[Exception], ...]
    ) -> None:
        self._blob = blob
        self._name = name
        self._begin = begin
        self._errors = errors
        self._decompressor = begin()
        self._ended = False

    def read(self, size: int, /) -> bytes:
        while not self._ended:
            if self._decompressor.eof:
                # xz pads its streams with zeros ("stream padding", section 2.2 of its format).
                left = self._decompressor.unused_data.lstrip(b"\0") or self._blob.read()
                if not left:
                    self._ended = True
                    break
                if not left.strip(b"\0"):
                    continue
                self._decompressor = self._begin()
                data = self._decode(left, size)
            elif self._decompressor.needs_input:
                more = self._blob.read()
                if not more:
                    raise _Damage(f"the {self._name} data is cut short")
                data = self._decode(more, size)
            else:
                data = self._decode(b"", size)
            if data:
                return data
        return b""

    def _decode(self, data: bytes, size: int) -> bytes:
        try:
            decoded: bytes = self._decompressor.decompress(data, size)
        except self._errors as error:
            raise _Damage(f"the {self._name} data is damaged: {error}") from error
        return decoded


def _xz(blob: CheckedBlob) -> _Streams:
    import lzma

    # The dictionary that a stream asks for is memory of ours; `xz -9` wants 64 MiB.
    def begin() -> Any:
        return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=128 << 20)

    return _Streams(blob, "xz", begin, (lzma.LZMAError,))


def _bzip2(blob: CheckedBlob) -> _Streams:
    import bz2

    return _Streams(blob, "bzip2", bz2.BZ2Decompressor, (OSError, ValueError))


_DECODERS: dict[str, Any] = {"none": _Plain, "gzip": _Gzip, "zstd": _Zstd, "xz": _xz, "bzip2": _bzip2}


class LayerStream(io.RawIOBase):
    """The tar of a layer, as `open_layer` gives it. `codec` is the compression that was found."""

    def __init__(
        self, blob: CheckedBlob, decoder: _Decoder, diff_id: str, name: str, limits: UnpackLimits, codec: str
    ) -> None:
        super().__init__()
        self._blob = blob
        self._decoder = decoder
        self._diff_id = diff_id
        self._name = name
        self._limits = limits
        # A plain tar is its own blob, whose digest is checked anyway; hashing it twice would be most of the cost.
        self._is_blob = codec == "none" and diff_id == blob.digest
        self._hash = hashlib.new(diff_id.partition(":")[0])
        self._ended = False
        self.codec = codec
        self.size_bytes = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes of the tar; none at its end, when everything has been checked."""
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        if self._ended or not size:
            return b""
        try:
            data = self._decoder.read(min(size, CHUNK))
        except _Damage as damage:
            # A damaged blob is told from a blob that was made wrong: the first one has another digest too.
            self._blob.require()
            raise IntegrityError(f"{self._name}: {shown(str(damage))}") from damage
        except MalformedError:
            self.require_blob()
            raise
        if not data:
            self._finish()
            return b""
        if not self._is_blob:
            self._hash.update(data)
        self.size_bytes += len(data)
        self._check_growth()
        return data

    def readinto(self, buffer: Any, /) -> int:
        """As for any raw file."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    @property
    def extent(self) -> Extent | None:
        """
        The tar, where it lies as it is on this disk: it can be read there while another thread checks this stream by
        `drain`. Raises MalformedError where it is larger than any layer may be.
        """
        extent = self._blob.extent if self._is_blob else None
        if extent is not None and extent.size_bytes > self._limits.total_bytes:
            extent.close()
            raise self._too_large()
        return extent

    def require_unchanged(self) -> None:
        """Raise IntegrityError where the file on this disk was written to since it was opened."""
        self._blob.require_unchanged()

    def abandon(self) -> None:
        """Let `drain` in another thread fail soon."""
        self._blob.abandon()

    def require_blob(self) -> None:
        """Check the stored bytes alone, after what they unpack to made no sense. Raises IntegrityError."""
        self._blob.require()

    def drain(self) -> None:
        """Read what is left, so that everything has been checked."""
        if self._is_blob and self._blob.promised_bytes <= self._limits.total_bytes:
            self._blob.require()
            self.size_bytes = self._blob.read_bytes
        while self.read(CHUNK):
            pass

    def close(self) -> None:
        """Close the stored file as well."""
        if not self.closed:
            self._blob.close()
        super().close()

    def _check_growth(self) -> None:
        limits = self._limits
        if self.size_bytes > limits.total_bytes:
            raise self._too_large()
        if self.size_bytes > limits.ratio_from_bytes and self.size_bytes > limits.ratio * max(self._blob.read_bytes, 1):
            raise MalformedError(
                f"{self._name} is a decompression bomb: {self.size_bytes} bytes out of {self._blob.read_bytes} "
                f"(limit `ratio` {limits.ratio})"
            )

    def _too_large(self) -> MalformedError:
        limit = self._limits.total_bytes
        return MalformedError(f"{self._name} unpacks to more than {limit} bytes (limit `total_bytes`)")

    def _finish(self) -> None:
        self._ended = True
        self._blob.require()
        if self._is_blob:
            return
        found = f"{self._diff_id.partition(':')[0]}:{self._hash.hexdigest()}"
        if found != self._diff_id:
            raise IntegrityError(
                f"{self._name}: its tar is not what the config says: expected {self._diff_id}, got {found}"
            )
