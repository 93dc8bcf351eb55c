"""The shapes that collectors know: a `Tree` that they read from, a `Fact` that they yield, and what is between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO, Dict, List, Optional, Protocol, Tuple

if TYPE_CHECKING:
    from envparity.collectors.records import Record

Fact = Dict[str, Any]
"""
`{"kind": K, ...}` with the field names of `envparity/values/environment.py`. K is a section's fact (`python`, `system`,
`host`, `cpu`, `distribution`, `native-library`, `module`, …), a `gap`, or a `section` (it was read, even if
nothing is in it).
"""

Owner = Tuple[str, str, str]
"""Kind (`wheel`, `conda`, `dpkg`, `apk`, `rpm`, `interpreter`), name and version of what owns a file, or nothing."""

Native = Tuple[str, str, str]
"""A library that a RECORD lists: its path, and name and version of the distribution."""

Read = Tuple[List[Fact], List[str], Optional[Dict[str, List[str]]], "Optional[Record]"]
"""
One metadata: its distribution and gaps; the native libraries, and what else others ask for, that its RECORD lists; and
the RECORD itself, where it is wanted.
"""


class Tree(Protocol):
    """
    A narrow read-only view of a place. Paths are absolute and posix; links are followed inside the tree only.

    Every method but `kind` and `is_link` raises OSError for what is absent, unreadable or of another kind.
    """

    def entries(self, path: str) -> List[str]:
        """The sorted names in a folder."""

    def kind(self, path: str) -> Optional[str]:
        """`file`, `folder`, `other` (FIFO, device, socket) or None, with links followed."""

    def is_link(self, path: str) -> bool:
        """Whether the path itself is a symbolic link."""

    def read(self, path: str, limit: int = 16 << 20) -> bytes:
        """A regular file's bytes; OSError with EFBIG over the limit. Never opens anything but regular files."""

    def size(self, path: str) -> int:
        """A regular file's size in bytes."""

    def sha256(self, path: str) -> str:
        """A regular file's digest, in lower-case hexadecimal."""

    def resolve(self, path: str) -> str:
        """The path with every link in it followed."""

    def open(self, path: str) -> BinaryIO:
        """A regular file, to be read in pieces."""
