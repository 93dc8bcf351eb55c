"""Protocol buffers read forwards, field by field (https://protobuf.dev/programming-guides/encoding/)."""

from __future__ import annotations

from typing import Iterator

from envparity.collectors.formats.found import Found, Unreadable
from envparity.collectors.formats.streams import Stream

VARINT, LENGTH = 0, 2
_FIXED = {1: 8, 5: 4}
_LONGEST_TEXT = 1 << 12
_HIGHEST = 64


class Message:
    """
    One message: its fields as they come, as `(number, wire type, value)`. The value of a field of bytes is how many
    they are: take them with `text`, go into them with `inner`, or leave them, and they are stepped over.
    """

    def __init__(self, stream: Stream, found: Found, length: int = -1) -> None:
        self.stream = stream
        self.found = found
        self.end = stream.position + length if length >= 0 else -1
        self.field_end = 0

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        stream = self.stream
        while True:
            if self.field_end:
                stream.skip(self.field_end - stream.position)
                self.field_end = 0
            if stream.position == self.end or (self.end < 0 and stream.at_end()):
                return
            self.found.count()
            tag = self._varint()
            number, wire = tag >> 3, tag & 7
            if not number or wire not in (0, 1, 2, 5):
                raise Unreadable("it is no protocol buffer")
            if wire == VARINT:
                value = self._varint()
            elif wire == LENGTH:
                value = self._varint()
                self.field_end = stream.position + value
            else:
                value = stream.number(_FIXED[wire])
            if self.end >= 0 and max(stream.position, self.field_end) > self.end:
                raise Unreadable("a message in it is longer than what holds it")
            yield number, wire, value

    def text(self, length: int) -> str:
        """A field of bytes as text; one that is too long is cut."""
        return self.stream.take(min(length, _LONGEST_TEXT)).decode("utf-8", "replace")

    def inner(self, length: int) -> Message:
        """A field of bytes as a message."""
        return Message(self.stream, self.found, length)

    def texts(self, length: int) -> dict[int, str]:
        """
        The fields of a message that are texts or numbers, by number: the first of each. Those of bytes are cut.
        """
        fields: dict[int, str] = {}
        inner = self.inner(length)
        for number, wire, value in inner:
            if number <= _HIGHEST and number not in fields:
                fields[number] = inner.text(value) if wire == LENGTH else str(value)
        return fields

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self.stream.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise Unreadable("it is no protocol buffer")
