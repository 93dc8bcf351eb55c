"""
Keras models in HDF5: the attributes of the root group, read by
https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html, and nothing else of the file.
"""

from __future__ import annotations

from typing import Iterator

from envparity.collectors.formats.documents import BACKEND, read_classes
from envparity.collectors.formats.found import Found, Unreadable
from envparity.collectors.formats.streams import Anywhere, Source

_MOST_MESSAGES = 10_000
_LONGEST_BLOCK = 1 << 20
_LONGEST_TEXT = 64 << 20
_ATTRIBUTE, _CONTINUATION, _ATTRIBUTE_INFO = 0x0C, 0x10, 0x15
_WANTED = ("keras_version", "backend", "model_config")


def read_hdf5(source: Source, found: Found) -> str:
    """
    A Keras model in HDF5: release, backend, and the classes of its configuration.

    Raises:
        Unreadable: the file is cut short or damaged.
    """
    file = _File(source.anywhere(), found)
    attributes = dict(file.attributes())
    if "keras_version" not in attributes:
        found.notes.add(
            "its attributes are stored in a form that is not read"
            if file.stored_densely
            else "an HDF5 file that no Keras wrote: what it needs is not read"
        )
        return "hdf5"
    found.written_by("keras", attributes["keras_version"].decode("utf-8", "replace"))
    found.says("backend", attributes.get("backend", b"").decode("utf-8", "replace"))
    found.needs("keras")
    found.notes.add(BACKEND)
    if "model_config" in attributes:
        read_classes([attributes["model_config"]], found, "module", "class_name")
    else:
        found.notes.add("it holds weights without the configuration of their model")
    return "keras-hdf5"


class _File:
    """The root group of an HDF5 file."""

    def __init__(self, data: Anywhere, found: Found) -> None:
        self.data = data
        self.found = found
        self.stored_densely = False
        if data.read(0, 8) != b"\x89HDF\r\n\x1a\n":
            raise Unreadable("it is no HDF5 file")
        version = data.number(8, 1)
        if version in (0, 1):
            self.offset_bytes, self.length_bytes = data.number(13, 1), data.number(14, 1)
            at = 24 + (4 if version else 0)
            # Base, free space, end of file, driver; then the root's entry: its name, and its header.
            end, root = at + 2 * self.offset_bytes, at + 5 * self.offset_bytes
        elif version in (2, 3):
            self.offset_bytes, self.length_bytes = data.number(9, 1), data.number(10, 1)
            end, root = 12 + 2 * self.offset_bytes, 12 + 3 * self.offset_bytes
        else:
            raise Unreadable("its superblock has the version %d, which is not known" % version)
        if self.offset_bytes not in (2, 4, 8) or self.length_bytes not in (2, 4, 8):
            raise Unreadable("its superblock is damaged")
        if data.number(end, self.offset_bytes) > data.size:
            raise Unreadable("it is cut short")
        self.root = data.number(root, self.offset_bytes)

    def attributes(self) -> Iterator[tuple[str, bytes]]:
        """The wanted attributes of the root that are texts."""
        for kind, message in self._messages():
            if kind == _ATTRIBUTE:
                name, value = self._attribute(message)
                if name in _WANTED:
                    yield name, value
            elif kind == _ATTRIBUTE_INFO:
                self.stored_densely = True

    def _messages(self) -> Iterator[tuple[int, bytes]]:
        if self.data.read(self.root, 4) == b"OHDR":
            flags = self.data.number(self.root + 5, 1)
            at = self.root + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
            size = 1 << (flags & 3)
            blocks = [(at + size, self.data.number(at, size))]
            head = 4 + (2 if flags & 4 else 0)
        else:
            if self.data.number(self.root, 1) != 1:
                raise Unreadable("its root group is damaged")
            blocks = [(self.root + 16, self.data.number(self.root + 8, 4))]
            flags, head = -1, 8
        count, seen = 0, set()
        while blocks:
            start, size = blocks.pop(0)
            if size > _LONGEST_BLOCK or start in seen:
                raise Unreadable("its root group is damaged")
            seen.add(start)
            block, at = self.data.read(start, size), 0
            while at + head <= len(block):
                count += 1
                if count > _MOST_MESSAGES:
                    raise Unreadable("its root group is damaged")
                if flags < 0:
                    kind, length = _number(block, at, 2), _number(block, at + 2, 2)
                else:
                    kind, length = block[at], _number(block, at + 1, 2)
                body = block[at + head : at + head + length]
                at += head + length
                if kind == _CONTINUATION:
                    place = _number(body, 0, self.offset_bytes)
                    longer = _number(body, self.offset_bytes, self.length_bytes)
                    # In the newer form it is framed by a signature and a checksum.
                    blocks.append((place, longer) if flags < 0 else (place + 4, longer - 8))
                else:
                    yield kind, body

    def _attribute(self, message: bytes) -> tuple[str, bytes]:
        version = message[0]
        if version not in (1, 2, 3):
            raise Unreadable("an attribute of it has the version %d, which is not known" % version)
        sizes = [_number(message, 2 + 2 * index, 2) for index in range(3)]
        padded = [(size + 7) // 8 * 8 if version == 1 else size for size in sizes]
        at = 9 if version == 3 else 8
        name = message[at : at + sizes[0]].rstrip(b"\0").decode("utf-8", "replace")
        kind = message[at + padded[0] : at + padded[0] + sizes[1]]
        value = message[at + sum(padded) :]
        if name not in _WANTED:
            return name, b""
        # A datatype begins with its class: 3 is a text of a fixed length, 9 one of any length (or a list).
        if kind[0] & 15 == 3:
            return name, value[: _number(kind, 4, 4)].rstrip(b"\0 ")
        if kind[0] & 15 == 9 and kind[1] & 15 == 1:
            place = _number(value, 4, self.offset_bytes)
            return name, self._heap_object(place, _number(value, 4 + self.offset_bytes, 4))[: _number(value, 0, 4)]
        raise Unreadable("the attribute `%s` is no text" % name)

    def _heap_object(self, place: int, wanted: int) -> bytes:
        """One object of a global heap."""
        head = 8 + self.length_bytes
        if self.data.read(place, 4) != b"GCOL":
            raise Unreadable("it refers to a heap that is not there")
        end = place + self.data.number(place + 8, self.length_bytes)
        at = place + 8 + self.length_bytes
        while at + head <= end:
            self.found.count()
            index, size = self.data.number(at, 2), self.data.number(at + 8, self.length_bytes)
            if index == wanted:
                if size > _LONGEST_TEXT:
                    raise Unreadable("a text in it is %d bytes long" % size)
                return self.data.read(at + head, size)
            if index == 0:
                break
            at += head + (size + 7) // 8 * 8
        raise Unreadable("it refers to a text that is not there")


def _number(data: bytes, at: int, count: int) -> int:
    if at + count > len(data):
        raise Unreadable("a message in it is cut short")
    return int.from_bytes(data[at : at + count], "little")
