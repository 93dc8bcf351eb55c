"""What readers of model files share: what they found, how much they may look at, and how they say that they cannot."""

from __future__ import annotations

from typing import Callable

_LONGEST_WORD = 256
_MOST_NAMES = 100_000


class Unreadable(ValueError):
    """The bytes are not the whole, well-formed file that they begin as."""


class OutOfReach(Unreadable):
    """They may be; but the stream that they come from cannot be sought, and what is needed has gone by."""


class Limits:
    """
    How much of one model is looked at, so that a hostile one cannot take all memory or time. One that is not `hashed`
    is read as far as its format is, and no digest is that of the file.
    """

    def __init__(
        self,
        unpacked_bytes: int = 64 << 30,
        opcodes: int = 30_000_000,
        stack: int = 5_000_000,
        memo: int = 10_000_000,
        values: int = 5_000_000,
        held_bytes: int = 16 << 20,
        hashed: bool = True,
    ) -> None:
        self.unpacked_bytes = unpacked_bytes
        self.opcodes = opcodes
        self.stack = stack
        self.memo = memo
        self.values = values
        self.held_bytes = held_bytes
        self.hashed = hashed


class Found:
    """
    What a model says of itself. `modules` holds what is imported by name, apart from `classes`; `versions` are pairs of
    distribution and version that wrote it; `properties` what else decides how it is read; `notes` say what it refers
    to and does not tell; `references` are the places that it names, as pairs of key and path.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.classes: set[str] = set()
        self.modules: set[str] = set()
        self.versions: set[tuple[str, str]] = set()
        self.properties: set[tuple[str, str]] = set()
        self.notes: set[str] = set()
        self.references: set[tuple[str, str]] = set()
        self.persistent: Callable[[object], bool] | None = None
        """Takes a persistent id of a pickle, where its reader knows them; answers whether it knew this one."""
        self.arrays = 0
        self.opcodes = 0
        self.values = 0

    def refers_to(self, module: str, qualname: str) -> str:
        """Note a class or function; returns it as `module:qualname`."""
        name = module + ":" + qualname
        self._room()
        self.classes.add(name)
        return name

    def needs(self, module: str) -> None:
        """Note a module that loads it, or that it imports."""
        self._room()
        self.modules.add(_word(module))

    def written_by(self, distribution: str, version: object) -> None:
        """Note a release that the file says it was written by; what is no short text is left out."""
        if isinstance(version, str) and 0 < len(version) <= _LONGEST_WORD:
            self._room()
            self.versions.add((distribution, _word(version)))

    def says(self, name: str, value: object) -> None:
        """Note a property; long texts are cut, and nothing is not a value."""
        if value is None or value == "":
            return
        self._room()
        self.properties.add((_word(name), _word(str(value).lower() if isinstance(value, bool) else str(value))))

    def count(self, values: int = 1) -> None:
        """Note that values went by. Raises Unreadable where they are too many."""
        self.values += values
        if self.values > self.limits.values:
            raise Unreadable("it holds more than %d values" % self.limits.values)

    def _room(self) -> None:
        if len(self.classes) + len(self.modules) + len(self.properties) + len(self.versions) > _MOST_NAMES:
            raise Unreadable("it refers to more than %d names" % _MOST_NAMES)


def _word(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text[:_LONGEST_WORD]).strip()
