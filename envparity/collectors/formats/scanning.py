"""
JSON and UBJSON of any size, read forwards: each scalar with the path to it, and nothing kept.

`json.loads` holds the whole document as objects, forty times its size for a hostile one, and falls over deep nesting.
"""

from __future__ import annotations

import json
import re
from typing import Callable, Iterable, Iterator, Tuple, Union

from envparity.collectors.formats.found import Found, Unreadable
from envparity.collectors.formats.streams import Stream

Path = Tuple[Union[str, int], ...]
Value = Union[str, int, float, bool, None]

_DEEPEST = 1000
_LONGEST_TEXT = 1 << 20
_FIRST_NUMBERS = 8

_TEXT = rb'"[^"\\]*(?:\\.[^"\\]*){0,9999}"'
_TOKEN = re.compile(rb"[\s,:]*(" + _TEXT + rb"|[{}\[\]]|[^\s,:\"{}\[\]]+|\Z)", re.DOTALL)
_BETWEEN_BRACKETS = re.compile(rb"(?:[^\"{}\[\]]{0,64}" + _TEXT + rb"){1,999}", re.DOTALL)
_INSIDE = re.compile(rb'[^"\\]*(?:\\.[^"\\]*){0,9999}', re.DOTALL)
_NUMBERS = re.compile(rb"[\s,]*(?:[-+0-9.eE]+[\s,]+){1,999}")
_CONSTANTS = {b"true": True, b"false": False, b"null": None}


def scan_json(
    pieces: Iterable[bytes], found: Found, into: Callable[[Path], bool] = lambda path: True
) -> Iterator[tuple[Path, Value]]:
    """
    Every scalar of a JSON document with its path: keys, and numbers for the places in a list.

    Of a list of numbers the first few come; a text that is longer than 1 MiB comes as an empty one. The brackets are
    checked, the rest of the grammar is not: this finds things in documents that another program reads.

    Args:
        into: whether the object or list at a path is worth looking into; what is in any other is passed over quickly.

    Raises:
        Unreadable: it is cut short or damaged, nested too deep, or holds too many values.
    """
    cursor = _Cursor(pieces)
    objects: list[bool] = []
    path: list[str | int] = []
    wants_key = started = False
    while True:
        if objects and not objects[-1]:
            run = cursor.match(_NUMBERS)
            if run:
                found.count(1 + len(run) // 16)
                for word in run[:512].replace(b",", b" ").split()[: max(0, _FIRST_NUMBERS - int(path[-1]) - 1)]:
                    path[-1] = int(path[-1]) + 1
                    yield tuple(path), _number(word)
                continue
        token = cursor.token()
        if not token:
            if objects or not started:
                raise Unreadable("it is cut short")
            return
        if started and not objects:
            raise Unreadable("bytes follow its end")
        found.count()
        first = token[:1]
        if first in b"}]":
            if not objects or objects.pop() != (first == b"}"):
                raise Unreadable("its brackets do not match")
            path.pop()
            wants_key = bool(objects) and objects[-1]
            continue
        if wants_key:
            if first != b'"':
                raise Unreadable("it is not JSON")
            path[-1] = _text(token)
            wants_key = False
            continue
        started = True
        if objects and not objects[-1]:
            path[-1] = int(path[-1]) + 1
        if first in b"{[":
            if len(objects) >= _DEEPEST:
                raise Unreadable("it is nested too deep")
            if into(tuple(path)):
                objects.append(first == b"{")
                path.append("" if objects[-1] else -1)
                wants_key = objects[-1]
                continue
            _pass_over(cursor, found, first == b"{")
        else:
            yield tuple(path), _text(token) if first == b'"' else _number(token)
        wants_key = bool(objects) and objects[-1]


def _pass_over(cursor: _Cursor, found: Found, is_object: bool) -> None:
    """Step over the rest of an object or list, with what is in it."""
    objects = [is_object]
    while objects:
        if not cursor.match(_NUMBERS) and not cursor.match(_BETWEEN_BRACKETS):
            token = cursor.token()
            if not token:
                raise Unreadable("it is cut short")
            if token in (b"{", b"["):
                if len(objects) >= _DEEPEST:
                    raise Unreadable("it is nested too deep")
                objects.append(token == b"{")
            elif token in (b"}", b"]") and objects.pop() != (token == b"}"):
                raise Unreadable("its brackets do not match")
        found.count()


class _Cursor:
    """Tokens over pieces: one that touches the end of what is there is read again with more."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.pieces = iter(pieces)
        self.data = b""
        self.at = 0
        self.ended = False

    def match(self, pattern: re.Pattern[bytes]) -> bytes:
        found = pattern.match(self.data, self.at)
        if not found:
            return b""
        self.at = found.end()
        return found.group()

    def token(self) -> bytes:
        """The next token; empty at the end. A text that is too long comes as an empty text."""
        while True:
            found = _TOKEN.match(self.data, self.at)
            if found:
                token = found[1]
                if token and (found.end() < len(self.data) or self.ended or token[:1] in b'"{}[]'):
                    self.at = found.end()
                    return token
                if not token and self.ended:
                    return b""
                self.at = found.start(1)
            elif self.ended:
                raise Unreadable("it is cut short")
            if len(self.data) - self.at > _LONGEST_TEXT:
                start = self.data[self.at : self.at + _LONGEST_TEXT].lstrip(b" \t\r\n,:")
                if start[:1] != b'"':
                    raise Unreadable("it is not JSON")
                self.at = self.data.index(b'"', self.at)
                return self._over_text()
            self._more()

    def _over_text(self) -> bytes:
        self.at += 1
        while True:
            found = _INSIDE.match(self.data, self.at)
            self.at = found.end() if found else self.at
            left = self.data[self.at : self.at + 2]
            if left[:1] == b'"':
                self.at += 1
                return b'""'
            if len(left) < 2:  # nothing, or a backslash without its letter
                if self.ended:
                    raise Unreadable("it is cut short")
                self._more()

    def _more(self) -> None:
        piece = next(self.pieces, b"")
        self.ended = not piece
        self.data = self.data[self.at :] + piece
        self.at = 0


def _text(token: bytes) -> str:
    try:
        if b"\\" in token:
            return str(json.loads(token.decode("utf-8"), strict=False))
        return token[1:-1].decode("utf-8")
    except (UnicodeDecodeError, ValueError):
        raise Unreadable("a text in it is not valid") from None


def _number(word: bytes) -> Value:
    if word in _CONSTANTS:
        return _CONSTANTS[word]
    try:
        return int(word) if len(word) < 20 and word.lstrip(b"-").isdigit() else float(word)
    except ValueError:
        raise Unreadable("it is not JSON") from None


_FIXED = {b"i": 1, b"U": 1, b"I": 2, b"l": 4, b"L": 8, b"d": 4, b"D": 8, b"C": 1}
_WORDS = {b"T": True, b"F": False, b"Z": None}


def scan_ubjson(stream: Stream, found: Found) -> Iterator[tuple[Path, Value]]:
    """
    The same of UBJSON (https://ubjson.org), as XGBoost writes it. Arrays of one type are stepped over, after the first
    few numbers; a number with a fraction comes as None.
    """
    # Of each container that is open: whether it is an object, the type of its values, how many are left (-1: it ends
    # with a bracket).
    opened: list[tuple[bool, bytes]] = []
    left: list[int] = []
    path: list[str | int] = []
    started = False
    while opened or not started:
        if left and left[-1] == 0:
            left.pop()
            opened.pop()
            path.pop()
            continue
        started = True
        kind = opened[-1][1] if opened else b""
        if opened:
            in_object = opened[-1][0]
            if left[-1] < 0:
                marker = stream.take(1)
                while marker == b"N":
                    marker = stream.take(1)
                if marker == (b"}" if in_object else b"]"):
                    left[-1] = 0
                    continue
                if in_object:
                    path[-1] = _ubj_text(stream, marker)
                    kind = kind or stream.take(1)
                else:
                    kind = marker
            else:
                left[-1] -= 1
                if in_object:
                    path[-1] = _ubj_text(stream, stream.take(1))
                kind = kind or stream.take(1)
            if not in_object:
                path[-1] = int(path[-1]) + 1
        else:
            kind = stream.take(1)
        found.count()
        if kind in (b"{", b"["):
            if len(opened) >= _DEEPEST:
                raise Unreadable("it is nested too deep")
            inner, count = _ubj_container(stream)
            if kind == b"[" and inner in _FIXED and count >= 0:
                yield from _ubj_numbers(stream, tuple(path), inner, count)
                continue
            if count >= 0 and inner in _WORDS:
                continue  # values that take no bytes
            opened.append((kind == b"{", inner))
            left.append(count)
            path.append("" if kind == b"{" else -1)
        elif kind in (b"S", b"H"):
            yield tuple(path), _ubj_text(stream, stream.take(1))
        elif kind in _WORDS:
            yield tuple(path), _WORDS[kind]
        elif kind in _FIXED:
            data = stream.take(_FIXED[kind])
            yield tuple(path), None if kind in b"dDC" else int.from_bytes(data, "big", signed=kind != b"U")
        else:
            raise Unreadable("it is not UBJSON")


def _ubj_container(stream: Stream) -> tuple[bytes, int]:
    """The type of all its values (`$`) and their number (`#`), where they are said; else nothing, and -1."""
    inner = b""
    if stream.peek() == b"$":
        inner = stream.take(2)[1:]
        if stream.peek() != b"#":
            raise Unreadable("it is not UBJSON")
    if stream.peek() != b"#":
        return b"", -1
    return inner, _ubj_length(stream, stream.take(2)[1:])


def _ubj_numbers(stream: Stream, path: Path, inner: bytes, count: int) -> Iterator[tuple[Path, Value]]:
    size = _FIXED[inner]
    for index in range(min(count, _FIRST_NUMBERS)):
        data = stream.take(size)
        yield (*path, index), None if inner in b"dDC" else int.from_bytes(data, "big", signed=inner != b"U")
    stream.skip(max(0, count - _FIRST_NUMBERS) * size)


def _ubj_length(stream: Stream, marker: bytes) -> int:
    if marker not in (b"i", b"U", b"I", b"l", b"L"):
        raise Unreadable("it is not UBJSON")
    length = int.from_bytes(stream.take(_FIXED[marker]), "big", signed=marker != b"U")
    if length < 0:
        raise Unreadable("a length in it is negative")
    return length


def _ubj_text(stream: Stream, marker: bytes) -> str:
    length = _ubj_length(stream, marker)
    if length > _LONGEST_TEXT:
        stream.skip(length)
        return ""
    return stream.take(length).decode("utf-8", "replace")
