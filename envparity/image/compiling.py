"""
Sources to byte code: the same bytes for one source in every process of one version of Python.

This file is sent as text to the interpreter whose byte code is wanted (`image/bytecode.py`), or lies in the folder of
a Dockerfile: that interpreter need not have envparity. Standard library only, from Python 3.8 on. What is compiled is
never run.

What differs between processes, and is made equal here:

- a string is interned or not by what the process compiled before, and marshal writes that: here all are interned;
- marshal flags an object as shared by its number of references at that moment (`w_ref` in Python/marshal.c): the code
  is read back, so that nothing but itself refers to its objects, and each string is held once more;
- before 3.11 marshal writes a frozenset in the order of its hashes. Those of strings follow PYTHONHASHSEED, which is
  fixed; that of `None` is an address, so a source with such a set is left as it is.
"""

from __future__ import annotations

import marshal
import sys
from importlib import util

TYPE_CHECKING = False
if TYPE_CHECKING:  # to import `typing` takes as long as to start Python and to compile a small package
    from typing import Any

CHUNK = 4
"""Bytes of a length on the wire."""

_Code = type(compile("", "", "exec"))
_HAS_QUALNAME = hasattr(_Code, "co_qualname")
_SORTS_SETS = sys.version_info >= (3, 11)
_UNCHECKED_HASH = 1


class UnstableError(ValueError):
    """A constant that marshal writes in an order of its own in each process."""


def compiled(source: bytes, path: str) -> bytes:
    """
    The content of the `.pyc` of a module that will lie at `path`: an unchecked hash-based one
    (https://peps.python.org/pep-0552/), with assertions and docstrings.

    Raises:
        Exception: whatever the compiler says of a source that is none.
    """
    file_name = sys.intern(path)
    code = compile(source, file_name, "exec", dont_inherit=True, optimize=0)
    plain = _plain(code, file_name)  # to the end: it holds each string once more, wherever the process has others
    alone = marshal.loads(marshal.dumps(plain))  # noqa: S302 (what was written a moment before)
    data = marshal.dumps(alone)
    return util.MAGIC_NUMBER + _UNCHECKED_HASH.to_bytes(4, "little") + util.source_hash(source) + data


def _plain(code: Any, file_name: str) -> Any:
    """The same code with every string interned."""
    changes: dict[str, Any] = {
        "co_consts": tuple([each if each is None else _constant(each, file_name) for each in code.co_consts]),
        "co_filename": file_name,
        "co_name": sys.intern(code.co_name),
    }
    if _HAS_QUALNAME:
        changes["co_qualname"] = sys.intern(code.co_qualname)
    return code.replace(**changes)


def _constant(value: Any, file_name: str) -> Any:
    kind = type(value)
    if kind is str:
        return sys.intern(value)
    if kind is _Code:
        return _plain(value, file_name)
    if kind is tuple:
        return tuple([_constant(each, file_name) for each in value])
    if kind is frozenset:
        if not _SORTS_SETS and len(value) > 1 and not all(type(each) in (str, bytes, int, float) for each in value):
            raise UnstableError("a set that has no order")
        return frozenset([_constant(each, file_name) for each in value])
    return value


def main() -> None:
    """
    Answer on standard output for sources on standard input. In: how many come together, then the path and the text of
    each, after its length; all are read before the first answer. Out: a line that says which Python this is; then for
    each source a `+` and the `.pyc`, or a `-` and why there is none, after its length.
    """
    taken: Any = sys.stdin.buffer
    given = sys.stdout.buffer

    def number() -> int:
        return int.from_bytes(taken.read(CHUNK), "little")

    def piece() -> bytes:
        return bytes(taken.read(number()))

    flags = getattr(sys, "abiflags", "")
    told = " ".join([sys.implementation.name + flags, sys.version.split()[0], util.MAGIC_NUMBER.hex()])
    given.write(told.encode("ascii", "replace") + b"\n")
    given.flush()
    while taken.peek(1):
        for path, source in [(piece(), piece()) for _ in range(number())]:
            try:
                mark, answer = b"+", compiled(source, path.decode("utf-8", "surrogateescape"))
            except Exception as error:  # noqa: BLE001 (a syntax error, but also a limit of the compiler that it ran into)
                mark, answer = b"-", type(error).__name__.encode("ascii", "replace")
            given.write(mark + len(answer).to_bytes(CHUNK, "little") + answer)
        given.flush()


if __name__ == "__main__":
    main()
