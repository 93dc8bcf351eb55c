"""
In which line of a TOML document something stands, which the standard library's reader does not tell.

Only for documents that `tomllib` has read: what is not TOML was refused before, so this looks for the ends of things
and checks nothing (https://toml.io/en/v1.0.0).
"""

from __future__ import annotations

__all__ = ["at_line", "lines_of"]

import re
from collections.abc import Callable

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_KEY = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""")
_TEXT = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}(?!")' + r"|'''.*?'{3,5}(?!')" + r"""|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""", re.DOTALL
)
_PLAIN = re.compile(r"[^,\]}#\n]+")


def lines_of(text: str) -> dict[str, int]:
    """The line of each table, key and element of an array, by its path: `packages[3].wheels[0].url`."""
    return _Scan(text).found


def at_line(lines: dict[str, int], where: str) -> int:
    """The line of a path, or of the nearest thing around it that the document has; 0 where there is none."""
    while where:
        if where in lines:
            return lines[where]
        where = where[: max(where.rfind("."), where.rfind("["), 0)]
    return 0


class _Scan:
    def __init__(self, text: str) -> None:
        self.text = text
        self.found: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._line, self._counted = 1, 0
        self._at = 0
        self._document()

    def _document(self) -> None:
        table = ""
        self._skip(_BLANK)
        while self._at < len(self.text):
            if self.text.startswith("[[", self._at):
                table = self._table(2)
            elif self.text[self._at] == "[":
                table = self._table(1)
            else:
                self._pair(table)
            self._skip(_BLANK)

    def _table(self, brackets: int) -> str:
        line = self._here()
        self._at += brackets
        path = ""
        parts = self._keys()
        for index, part in enumerate(parts):
            path = _joined(path, part)
            last = index == len(parts) - 1
            if last and brackets == 2:
                self._counts[path] = self._counts.get(path, -1) + 1
            if path in self._counts:  # a header inside an array of tables speaks of its last element
                self.found.setdefault(path, line)
                path = f"{path}[{self._counts[path]}]"
            self.found.setdefault(path, line)
        self._at += brackets
        return path

    def _pair(self, table: str) -> None:
        line = self._here()
        path = table
        for part in self._keys():
            path = _joined(path, part)
            self.found.setdefault(path, line)
        self._at += 1  # the equals sign
        self._skip(_SPACE)
        self._value(path)

    def _keys(self) -> list[str]:
        import tomllib

        parts: list[str] = []
        while True:
            self._skip(_SPACE)
            match = _KEY.match(self.text, self._at)
            if match is None:
                return parts
            key = match[0]
            parts.append(next(iter(tomllib.loads(f"{key} = 0"))) if key[0] in "\"'" else key)
            self._at = match.end()
            self._skip(_SPACE)
            if not self.text.startswith(".", self._at):
                return parts
            self._at += 1

    def _value(self, path: str) -> None:
        opening = self.text[self._at : self._at + 1]
        if opening == "[":
            self._inside("]", lambda index: self._element(f"{path}[{index}]"))
        elif opening == "{":
            self._inside("}", lambda _: self._pair(path))
        else:
            match = (_TEXT if opening in {'"', "'"} else _PLAIN).match(self.text, self._at)
            self._at = match.end() if match else self._at + 1

    def _element(self, path: str) -> None:
        self.found.setdefault(path, self._here())
        self._value(path)

    def _inside(self, closing: str, read: Callable[[int], None]) -> None:
        self._at += 1
        index = 0
        self._skip(_BLANK)
        while self._at < len(self.text) and self.text[self._at] != closing:
            read(index)
            index += 1
            self._skip(_BLANK)
            if self.text.startswith(",", self._at):
                self._at += 1
            self._skip(_BLANK)
        self._at += 1

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self._at)
        assert match is not None
        self._at = match.end()

    def _here(self) -> int:
        self._line += self.text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line


def _joined(path: str, key: str) -> str:
    shown = key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else f'"{key}"'
    return f"{path}.{shown}" if path else shown
