"""
What a pickle refers to, read from its opcodes and never executed.

A pickle is a program for a stack machine (https://docs.python.org/3/library/pickletools.html). This walks its opcodes,
keeps just enough of the stack to know which names it loads, and steps over the raw arrays that joblib writes between
them. Loading a pickle runs code; walking one does not. It finds what a file refers to, not whether the file is safe.
"""

from __future__ import annotations

import pickletools
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from typing import Any

from envparity.collectors.formats.found import Found, Unreadable
from envparity.collectors.formats.streams import Stream

_LONGEST_TEXT = 1024

# A key in an object's state that says which release wrote it.
_VERSION_KEYS = {"_sklearn_version": "scikit-learn", "pytorch-lightning_version": "pytorch-lightning"}
_ARRAY_KEYS = ("subclass", "shape", "order", "dtype", "allow_mmap", "numpy_array_alignment_bytes")
_KEPT_KEYS = frozenset(_ARRAY_KEYS) | frozenset(_VERSION_KEYS)
_ARRAY_WRAPPERS = ("joblib.numpy_pickle:NumpyArrayWrapper", "sklearn.externals.joblib.numpy_pickle:NumpyArrayWrapper")
_SEPARATE_ARRAYS = ("NDArrayWrapper", "ZNDArrayWrapper")
_OPAQUE = object()
"""Stands for every value that cannot matter: numbers with a fraction, bytes, lists, long texts."""

# Called with texts, these import or carry what no GLOBAL names.
_IMPORTERS = (
    "cloudpickle.cloudpickle:subimport",
    "cloudpickle:subimport",
    "importlib:import_module",
    "builtins:__import__",
    "dill._dill:_import_module",
    "dill:_import_module",
)
_BY_VALUE = (
    "_make_function",
    "_make_skeleton_class",
    "_fill_function",
    "_make_skel_func",
    "_create_function",
    "_create_type",
    "_make_skeleton_enum",
)


class _Opcode:
    """One row of pickletools' table, ready for the walk."""

    __slots__ = ("name", "pops", "pushes", "size", "takes_mark")

    def __init__(self, opcode: pickletools.OpcodeInfo) -> None:
        before = [item.name for item in opcode.stack_before]
        self.name = opcode.name
        self.size = opcode.arg.n if opcode.arg else 0
        self.takes_mark = "mark" in before
        self.pops = before.index("mark") if self.takes_mark else len(before)
        self.pushes = len(opcode.stack_after)


_OPCODES = {ord(opcode.code): _Opcode(opcode) for opcode in pickletools.opcodes}


class Node:
    """An object that the pickle would make: what is called, with which arguments, and the state given to it later."""

    __slots__ = ("args", "name", "state")

    def __init__(self, name: str, args: object = None) -> None:
        self.name = name
        self.args = args
        self.state: object = None


def walk_pickle(stream: Stream, found: Found, depth: int = 0) -> object:
    """
    Walk one pickle up to its STOP, adding to `found` what it refers to. Returns the value it leaves, if it is kept.

    Raises:
        Unreadable: it is cut short, damaged, of an unknown protocol, or breaks a limit.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}
    protocol, limits = 0, found.limits
    while True:
        code = stream.take(1)[0]
        opcode = _OPCODES.get(code)
        if opcode is None:
            raise Unreadable("0x%02x is no pickle opcode" % code)
        found.opcodes += 1
        if found.opcodes > limits.opcodes or len(stack) > limits.stack or len(memo) > limits.memo:
            raise Unreadable("it is larger than the limits of the walk allow")
        name = opcode.name
        argument = _argument(stream, opcode)
        if name in _VALUES:
            stack.append(argument)
        elif name == "MEMOIZE":
            memo[len(memo)] = _top(stack, marks)
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            memo[argument] = _top(stack, marks)
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            if argument not in memo:
                raise Unreadable("it refers to a value that it does not hold")
            stack.append(memo[argument])
        elif name == "MARK":
            marks.append(len(stack))
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name == "PROTO":
            protocol = argument
            if protocol > _NEWEST_PROTOCOL:
                raise Unreadable("pickle protocol %d is not known" % protocol)
        elif name == "FRAME":
            continue
        elif name == "STOP":
            return _popped(stack, marks, 1)[0]
        elif name == "GLOBAL":
            stack.append(_reference(found, argument[0], argument[1], protocol))
        elif name == "STACK_GLOBAL":
            module, qualname = _popped(stack, marks, 2)
            if not isinstance(module, str) or not isinstance(qualname, str):
                raise Unreadable("it computes a name that it refers to")
            stack.append(_reference(found, module, qualname, protocol))
        elif name == "DUP":
            stack.append(_top(stack, marks))
        elif name == "POP":
            # POP on a mark drops the mark.
            if marks and marks[-1] == len(stack):
                marks.pop()
            else:
                _popped(stack, marks, 1)
        else:
            items = _slice(stack, marks) if opcode.takes_mark else []
            values = _popped(stack, marks, opcode.pops)
            made = _made(stream, found, name, values, items, argument, protocol, depth)
            stack.extend(made if made is not None else [_OPAQUE] * opcode.pushes)


_VALUES = frozenset(
    """INT BININT BININT1 BININT2 LONG LONG1 LONG4 STRING BINSTRING SHORT_BINSTRING UNICODE SHORT_BINUNICODE BINUNICODE
    BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 FLOAT BINFLOAT NONE NEWTRUE NEWFALSE""".split()
)
_NEWEST_PROTOCOL = max(opcode.proto for opcode in pickletools.opcodes)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


def _made(
    stream: Stream,
    found: Found,
    name: str,
    values: list[Any],
    items: list[Any],
    argument: Any,
    protocol: int,
    depth: int,
) -> list[Any] | None:
    """What an opcode leaves on the stack, where that matters; None: as many opaque values as the table says."""
    if name in ("SETITEM", "SETITEMS", "DICT"):
        pairs = values[1:] if name == "SETITEM" else items
        target = {} if name == "DICT" else values[0]
        for position in range(0, len(pairs) - 1, 2):
            key, value = pairs[position], pairs[position + 1]
            if isinstance(key, str) and key in _KEPT_KEYS:
                if isinstance(target, dict):
                    target[key] = value
                if key in _VERSION_KEYS:
                    found.written_by(_VERSION_KEYS[key], value)
        return [target]
    if name == "EMPTY_LIST" and found.persistent is not None:
        return [[]]
    if name in ("APPEND", "APPENDS", "ADDITEMS"):
        if isinstance(values[0], list):
            values[0].extend(items or values[1:])
        return values[:1]
    if name in ("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"):
        return [tuple(items or values)]
    if name in ("REDUCE", "NEWOBJ", "NEWOBJ_EX"):
        return [_called(found, values[0], values[1])]
    if name == "OBJ":
        return [_called(found, items[0] if items else None, tuple(items[1:]))]
    if name == "INST":
        return [_called(found, _reference(found, argument[0], argument[1], protocol), tuple(items))]
    if name == "BUILD":
        target, state = values
        if isinstance(target, Node):
            target.state = state
            if target.name in _ARRAY_WRAPPERS:
                _step_over_array(stream, found, state, depth)
                return [_OPAQUE]
        return [target]
    if name in ("EXT1", "EXT2", "EXT4"):
        raise Unreadable("it refers to names by a registry that is not in the file")
    if name in ("PERSID", "BINPERSID"):
        if found.persistent is not None and found.persistent(values[0] if values else None):
            return None
        found.notes.add("it refers to objects outside the file (persistent ids)")
    elif name == "NEXT_BUFFER":
        found.notes.add("it refers to buffers outside the file")
    return None


def _called(found: Found, called: object, arguments: object) -> Node:
    name = called.name if isinstance(called, Node) else ""
    first = arguments[0] if isinstance(arguments, tuple) and arguments else None
    if name in ("copyreg:_reconstructor", "copyreg:__newobj__") and isinstance(first, Node):
        return Node(first.name)
    if name in _IMPORTERS and isinstance(first, str):
        found.needs(first)
    module, _, function = name.partition(":")
    if function in _BY_VALUE and module.split(".")[0] in ("cloudpickle", "dill"):
        found.notes.add("it carries code by value: what that code imports when it runs is not read")
    return Node(name, arguments)


def _reference(found: Found, module: str, qualname: str, protocol: int) -> Node:
    if protocol < 3:
        # The names of Python 2, which pickle.load translates too.
        module, qualname = NAME_MAPPING.get((module, qualname), (IMPORT_MAPPING.get(module, module), qualname))
    node = Node(found.refers_to(module, qualname))
    if qualname in _SEPARATE_ARRAYS and module.endswith("joblib.numpy_pickle"):
        found.notes.add("its arrays lie in files beside it")
    return node


def _step_over_array(stream: Stream, found: Found, state: object, depth: int) -> None:
    """joblib writes an array's bytes after its wrapper: padding, if the wrapper says so, then shape x item size."""
    found.arrays += 1
    wrapper = state if isinstance(state, dict) else {}
    dtype, shape = wrapper.get("dtype"), wrapper.get("shape")
    item_bytes, has_objects = _item_bytes(dtype)
    if has_objects:
        if depth > 2:
            raise Unreadable("pickles lie in pickles too deep")
        walk_pickle(stream, found, depth + 1)
        return
    if (
        item_bytes < 0
        or not isinstance(shape, tuple)
        or not all(type(length) is int and length >= 0 for length in shape)
    ):
        raise Unreadable("it holds an array whose size cannot be told")
    size = item_bytes
    for length in shape:
        size *= length
    if isinstance(wrapper.get("numpy_array_alignment_bytes"), int):
        stream.skip(stream.take(1)[0])
    stream.skip(size)


def _item_bytes(dtype: object) -> tuple[int, bool]:
    """The item size of a pickled numpy dtype (-1: not known), and whether its items are Python objects."""
    if (
        not isinstance(dtype, Node)
        or dtype.name != "numpy:dtype"
        or not isinstance(dtype.args, tuple)
        or not dtype.args
    ):
        return -1, False
    code = dtype.args[0]
    # State: (version, byte order, subarray, names, fields, item size, alignment, flags); flag 1 is "has references".
    flags = dtype.state[7] if isinstance(dtype.state, tuple) and len(dtype.state) > 7 else 0
    if not isinstance(code, str) or (isinstance(flags, int) and flags & 1) or code[:1] == "O":
        return -1, isinstance(code, str)
    if not code[1:].isdigit() or len(code) > 12:
        return -1, False
    return int(code[1:]) * (4 if code[0] == "U" else 1), False


def _top(stack: list[Any], marks: list[int]) -> Any:
    if not stack or (marks and marks[-1] == len(stack)):
        raise Unreadable("it takes a value from an empty stack")
    return stack[-1]


def _popped(stack: list[Any], marks: list[int], count: int) -> list[Any]:
    if len(stack) - (marks[-1] if marks else 0) < count:
        raise Unreadable("it takes a value from an empty stack")
    if not count:
        return []
    values = stack[-count:]
    del stack[-count:]
    return values


def _slice(stack: list[Any], marks: list[int]) -> list[Any]:
    if not marks:
        raise Unreadable("it has no mark where one is needed")
    start = marks.pop()
    items = stack[start:]
    del stack[start:]
    return items


def _argument(stream: Stream, opcode: _Opcode) -> Any:
    """The argument of an opcode, as far as the walk needs it; a long one is stepped over, never held."""
    size, name = opcode.size, opcode.name
    if size == 0:
        return _CONSTANTS.get(name, _OPAQUE)
    if size > 0:
        data = stream.take(size)
        return int.from_bytes(data, "little", signed=name == "BININT") if name != "BINFLOAT" else _OPAQUE
    if size == pickletools.UP_TO_NEWLINE:
        return _line_argument(stream, name)
    if size == pickletools.TAKEN_FROM_ARGUMENT1:
        length = stream.take(1)[0]
    elif size == pickletools.TAKEN_FROM_ARGUMENT8U:
        length = int.from_bytes(stream.take(8), "little")
    else:
        length = int.from_bytes(stream.take(4), "little", signed=size == pickletools.TAKEN_FROM_ARGUMENT4)
    if length < 0:
        raise Unreadable("a length in it is negative")
    if length > _LONGEST_TEXT or "BYTE" in name:
        stream.skip(length)
        return _OPAQUE
    data = stream.take(length)
    if name.startswith("LONG"):
        return int.from_bytes(data, "little", signed=True)
    return data.decode("utf-8", "surrogatepass") if "UNICODE" in name else data.decode("latin-1")


def _line_argument(stream: Stream, name: str) -> Any:
    line = stream.line()
    if name in ("GLOBAL", "INST"):
        names = line.decode("utf-8"), stream.line().decode("utf-8")
        if max(map(len, names)) > _LONGEST_TEXT:
            raise Unreadable("a name that it refers to is longer than %d letters" % _LONGEST_TEXT)
        return names
    if name in ("INT", "LONG", "PUT", "GET"):
        if name == "INT" and line in (b"00", b"01"):
            return line == b"01"
        digits = line[:-1] if line.endswith(b"L") else line
        return int(digits) if len(digits) < 400 else _OPAQUE
    if len(line) > _LONGEST_TEXT:
        return _OPAQUE
    if name == "UNICODE":
        return line.decode("raw-unicode-escape")
    if name == "STRING":
        return line.decode("latin-1").strip()[1:-1]
    return _OPAQUE
