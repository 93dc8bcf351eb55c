"""
What was learned of whole images, kept in the cache: an image that was read before is not put together again.

The digest of an image says what is in it, and the code that reads says what is seen in it; so an Environment is known
by both. With another envparity, or one that was changed, the image is read anew from what is known of its layers.
"""

from __future__ import annotations

__all__ = ["KnownImages", "reading_code"]

import hashlib
import sys
from pathlib import Path

import msgspec

from envparity import __version__
from envparity.cache import Cache
from envparity.errors import EnvparityError
from envparity.oci.image import Image
from envparity.sources.reading import image_origin
from envparity.values import Environment


class _Note(msgspec.Struct, frozen=True):
    sha256: str


class KnownImages:
    """The images that this machine has read, with or without every file of them hashed."""

    def __init__(self, cache: Cache, verify_files: bool) -> None:
        self._cache = cache
        code = reading_code(Path(__file__).parent.parent)
        self._rule = hashlib.sha256(f"{verify_files} {code}".encode()).hexdigest()[:16]

    def recall(self, image: Image, reference: str) -> Environment | None:
        """The Environment of an image, as of now; None where it was not read yet, or what was noted is damaged."""
        note = self._cache.note(self._key(image), _Note)
        data = self._cache.checked_bytes(note.sha256) if note is not None else None
        if data is None:
            return None
        try:
            found = msgspec.msgpack.decode(data, type=Environment)
        except msgspec.DecodeError:
            return None
        return msgspec.structs.replace(found, origin=image_origin(image.digest, reference))

    def learn(self, image: Image, environment: Environment) -> None:
        """Remember an image whose layers have been checked. That it cannot be noted is no reason to fail."""
        try:
            data = msgspec.msgpack.encode(environment)
        except UnicodeEncodeError:
            return  # a name that is no text; MessagePack cannot carry it
        try:
            self._cache.write_note(self._key(image), _Note(self._cache.keep(data)))
        except EnvparityError:
            return

    def _key(self, image: Image) -> str:
        return f"image-{self._rule}-{image.digest.replace(':', '-')}"


def reading_code(folder: Path) -> str:
    """What tells the code in a folder from any other: of each module its name, size and time."""
    told = [__version__, sys.version]
    for file in sorted(folder.rglob("*.py")):
        status = file.stat()
        told.append(f"{file} {status.st_size} {status.st_mtime_ns}")
    return "\n".join(told)
