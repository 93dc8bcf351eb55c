"""
What a model file says that it needs, read from its bytes and never executed.

A pickle is a program for a stack machine (https://docs.python.org/3/library/pickletools.html). This walks its opcodes,
keeps just enough of the stack to know which names it loads, and steps over the raw arrays that joblib writes between
them. Loading a pickle runs code; walking one does not. It finds what a file refers to, not whether the file is safe.
"""

from __future__ import annotations

import hashlib
import os
import pickletools
import zlib
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from typing import Any, BinaryIO, Callable, Iterator

from envparity.collectors.shapes import Fact
from envparity.collectors.tree import CHUNK, gap, why

_LONGEST_TEXT = 1024
_LONGEST_LINE = 1 << 16
# torch.save before 1.6: five pickles (the first is this number), and raw tensors after them.
_TORCH_MAGIC = 0x1950A86A20F9469CFC6C
_TORCH_PICKLES = 5

_PICKLE_ENDINGS = (".pkl", ".pickle", ".joblib", ".jbl", ".sav", ".dill", ".cloudpickle")
_COMPRESSED = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bz2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x5d\x00\x00", "lzma"),
    (b"\x78\x01", "zlib"),
    (b"\x78\x5e", "zlib"),
    (b"\x78\x9c", "zlib"),
    (b"\x78\xda", "zlib"),
)
_KNOWN_STARTS = (
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"ZF0x", "joblib-zfile"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"\x93NUMPY", "npy"),
    (b"\x89HDF\r\n\x1a\n", "hdf5"),
    (b"GGUF", "gguf"),
    (b"tree\n", "lightgbm-text"),
    (b"{L\x00\x00\x00\x00\x00\x00", "ubjson"),
    (b"CBM1", "catboost"),
    (b"PAR1", "parquet"),
)
_KNOWN_ENDINGS = {
    ".onnx": "onnx",
    ".json": "json",
    ".ubj": "ubjson",
    ".safetensors": "safetensors",
    ".cbm": "catboost",
    ".pb": "protobuf",
    ".tflite": "tflite",
    ".gguf": "gguf",
    ".h5": "hdf5",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".csv": "csv",
    ".parquet": "parquet",
    ".pmml": "pmml",
}
_ZIPPED = {
    ".npz": "npz",
    ".keras": "keras",
    ".pt": "torch-zip",
    ".pth": "torch-zip",
    ".ckpt": "torch-zip",
    ".skops": "skops",
}

# A key in an object's state that says which release wrote it.
_VERSION_KEYS = {"_sklearn_version": "scikit-learn"}
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


class _Hashed:
    """A binary stream that is read forwards once and hashed on the way."""

    def __init__(self, source: BinaryIO) -> None:
        self.source = source
        self.digest = hashlib.sha256()
        self.size_bytes = 0
        self.peeked = b""

    def peek(self, count: int) -> bytes:
        while len(self.peeked) < count:
            data = self.source.read(count - len(self.peeked))
            if not data:
                break
            self.peeked += data
        return self.peeked

    def read(self, count: int) -> bytes:
        data, self.peeked = self.peeked or self.source.read(count), b""
        self.digest.update(data)
        self.size_bytes += len(data)
        return data

    def drain(self) -> None:
        while self.read(CHUNK):
            pass


class Unreadable(ValueError):
    """The bytes are not the whole, well-formed file that they begin as."""


class Node:
    """An object that the pickle would make: what is called, with which arguments, and the state given to it later."""

    __slots__ = ("args", "name", "state")

    def __init__(self, name: str, args: object = None) -> None:
        self.name = name
        self.args = args
        self.state: object = None


class Limits:
    """How much of one file is walked, so that a hostile one cannot take all memory or time."""

    def __init__(
        self,
        unpacked_bytes: int = 64 << 30,
        opcodes: int = 100_000_000,
        stack: int = 5_000_000,
        memo: int = 10_000_000,
    ) -> None:
        self.unpacked_bytes = unpacked_bytes
        self.opcodes = opcodes
        self.stack = stack
        self.memo = memo


class Walk:
    """What one walk over a model found; `modules` holds what is imported by name, apart from `classes`."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.classes: set[str] = set()
        self.modules: set[str] = set()
        self.versions: set[tuple[str, str]] = set()
        self.notes: set[str] = set()
        self.arrays = 0
        self.opcodes = 0


def model(source: str | BinaryIO, name: str, path: str = "", limits: Limits | None = None) -> Iterator[Fact]:
    """
    Observe one model file: `source` is its path, or a binary stream, which is read once.

    Yields:
        An `artifact` fact: size, sha256, format (`pickle`, `joblib`, with `+gzip` and so on where compressed, or the
        name of another format), `classes` (`module:qualname`), `modules` and `versions`.
        A gap `unread` where the file is damaged or breaks a limit: the lists then hold what came before the damage, and
        are not whole. A gap `not-recorded` where the format is one whose needs are not read.

    Raises:
        OSError: the file cannot be opened or read.
    """
    if isinstance(source, str):
        path = path or os.path.abspath(source)
        with open(source, "rb") as file:
            yield from model(file, name, path, limits)
        return
    stream = _Hashed(source)
    start = stream.peek(64)
    limits = limits or Limits()
    walk = Walk(limits)
    gaps = []
    form, reason = _named_format(start, name)
    if form:
        gaps.append(gap("artifacts", "not-recorded", reason, name))
    else:
        form, problem = _walked(stream, start, walk)
        if problem:
            is_pickle = start[:1] == b"\x80" or form or name.lower().endswith(_PICKLE_ENDINGS)
            gaps.append(gap("artifacts", "unread", problem, name))
            if not is_pickle:
                walk, gaps = (
                    Walk(limits),
                    [gap("artifacts", "not-recorded", "its format is not known: what it needs is not read", name)],
                )
            form = "pickle" + form if is_pickle else "unknown"
        else:
            form = ("joblib" if walk.arrays else "pickle") + form
        gaps += [gap("artifacts", "not-recorded", note, name) for note in sorted(walk.notes)]
    stream.drain()
    fact: Fact = {"kind": "artifact", "name": name, "path": path, "format": form}
    fact.update(size_bytes=stream.size_bytes, sha256=stream.digest.hexdigest())
    fact["classes"] = sorted(walk.classes)
    fact["modules"] = sorted(walk.modules | {reference.partition(":")[0] for reference in walk.classes})
    fact["versions"] = [list(pair) for pair in sorted(walk.versions)]
    yield fact
    yield from gaps


def _named_format(start: bytes, name: str) -> tuple[str, str]:
    """The format, where it is none that can be walked, and what to say of it."""
    ending = os.path.splitext(name.lower())[1]
    form = next((form for prefix, form in _KNOWN_STARTS if start.startswith(prefix)), "")
    if start.startswith(b"PK\x03\x04"):
        form = _ZIPPED.get(ending, "zip")
    # What begins as a pickle is read as one, whatever its name says.
    if not form and start and not start.startswith((b"\x80", *(prefix for prefix, _ in _COMPRESSED))):
        form = "safetensors" if start[8:9] == b"{" and start[6:8] == b"\0\0" else _KNOWN_ENDINGS.get(ending, "")
    return form, "what a file of the format %s needs is not read" % form


def _walked(source: _Hashed, start: bytes, walk: Walk) -> tuple[str, str]:
    """Walk a pickle, compressed or not; returns `+gzip` and the like, and the problem, if there was one."""
    form = next((form for prefix, form in _COMPRESSED if start.startswith(prefix)), "")
    try:
        if not start:
            raise Unreadable("it is empty")
        stream = _Stream(_unpacked(source, form), walk.limits.unpacked_bytes)
        if walk_pickle(stream, walk) == _TORCH_MAGIC:
            for _ in range(_TORCH_PICKLES - 1):
                walk_pickle(stream, walk)
            walk.notes.add("the tensors that torch wrote after the pickles were not read")
        elif not stream.at_end():
            raise Unreadable("bytes follow its end")
    except Unreadable as error:
        return form and "+" + form, str(error)
    except (zlib.error, OSError, EOFError, ImportError, ValueError) as error:
        return form and "+" + form, "it cannot be read: " + why(error)
    return form and "+" + form, ""


def _unpacked(source: _Hashed, form: str) -> Iterator[bytes]:
    """The bytes inside, in pieces of at most CHUNK, whatever a piece of a bomb would unfold to."""
    if not form:
        yield from iter(lambda: source.read(CHUNK), b"")
        return
    if form in ("xz", "lzma"):
        import lzma

        try:
            # joblib's own presets need 100 MiB at most; a header may ask for 4 GiB.
            yield from _members(source, lambda: lzma.LZMADecompressor(memlimit=1 << 30))
        except lzma.LZMAError as error:
            raise Unreadable("it cannot be unpacked: " + str(error)) from None
    elif form == "bz2":
        import bz2

        yield from _members(source, bz2.BZ2Decompressor)
    else:
        yield from _members(source, lambda: zlib.decompressobj(31 if form == "gzip" else 15))


def _members(source: _Hashed, machine_for: Callable[[], Any]) -> Iterator[bytes]:
    # A file may hold several members, one after the other; zero bytes after the last are padding.
    machine, pending = machine_for(), source.read(CHUNK)
    while True:
        unpacked = machine.decompress(pending, CHUNK)
        if unpacked:
            yield unpacked
        if machine.eof:
            pending = machine.unused_data or source.read(CHUNK)
            if not pending.strip(b"\0"):
                return
            machine = machine_for()
            continue
        pending = getattr(machine, "unconsumed_tail", b"")
        if not pending and getattr(machine, "needs_input", not unpacked or len(unpacked) < CHUNK):
            pending = source.read(CHUNK)
            if not pending and not unpacked:
                raise Unreadable("it is cut short")


class _Stream:
    """Bytes that arrive in pieces, read forwards only."""

    def __init__(self, pieces: Iterator[bytes], most_bytes: int) -> None:
        self.pieces = pieces
        self.most_bytes = most_bytes
        self.data = b""
        self.at = 0
        self.passed = 0

    def take(self, count: int) -> bytes:
        end = self.at + count
        if end > len(self.data):
            self._more(count)
            end = count
        taken = self.data[self.at : end]
        self.at = end
        return taken

    def skip(self, count: int) -> None:
        while count > len(self.data) - self.at:
            count -= len(self.data) - self.at
            self.at = len(self.data)
            self._more(1)
        self.at += count

    def line(self) -> bytes:
        """The bytes up to the next line feed; of a line longer than _LONGEST_LINE only the beginning."""
        kept, left = [], _LONGEST_LINE
        while True:
            end = self.data.find(b"\n", self.at)
            stop = end if end >= 0 else len(self.data)
            kept.append(self.data[self.at : min(stop, self.at + left)])
            left -= len(kept[-1])
            self.at = stop
            if end >= 0:
                self.at += 1
                return b"".join(kept)
            self._more(1)

    def at_end(self) -> bool:
        if self.at < len(self.data):
            return False
        try:
            self._more(1)
        except Unreadable:
            if self.at < len(self.data):
                raise
            return True
        return False

    def _more(self, count: int) -> None:
        parts = [self.data[self.at :]]
        have = len(parts[0])
        self.at = 0
        while have < count:
            piece = next(self.pieces, b"")
            self.passed += len(piece)
            if self.passed > self.most_bytes:
                raise Unreadable("it unfolds to more than %d bytes" % self.most_bytes)
            if not piece:
                self.data = b"".join(parts)
                raise Unreadable("it is cut short, after %d bytes" % self.passed)
            parts.append(piece)
            have += len(piece)
        self.data = b"".join(parts)


def walk_pickle(stream: _Stream, walk: Walk, depth: int = 0) -> object:
    """
    Walk one pickle up to its STOP, adding to `walk` what it refers to. Returns the value it leaves, if it is kept.

    Raises:
        Unreadable: it is cut short, damaged, of an unknown protocol, or breaks a limit.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}
    protocol, limits = 0, walk.limits
    while True:
        code = stream.take(1)[0]
        opcode = _OPCODES.get(code)
        if opcode is None:
            raise Unreadable("0x%02x is no pickle opcode" % code)
        walk.opcodes += 1
        if walk.opcodes > limits.opcodes or len(stack) > limits.stack or len(memo) > limits.memo:
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
            stack.append(_reference(walk, argument[0], argument[1], protocol))
        elif name == "STACK_GLOBAL":
            module, qualname = _popped(stack, marks, 2)
            if not isinstance(module, str) or not isinstance(qualname, str):
                raise Unreadable("it computes a name that it refers to")
            stack.append(_reference(walk, module, qualname, protocol))
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
            made = _made(stream, walk, name, values, items, argument, protocol, depth)
            stack.extend(made if made is not None else [_OPAQUE] * opcode.pushes)


_VALUES = frozenset(
    """INT BININT BININT1 BININT2 LONG LONG1 LONG4 STRING BINSTRING SHORT_BINSTRING UNICODE SHORT_BINUNICODE BINUNICODE
    BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 FLOAT BINFLOAT NONE NEWTRUE NEWFALSE""".split()
)
_NEWEST_PROTOCOL = max(opcode.proto for opcode in pickletools.opcodes)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


def _made(
    stream: _Stream,
    walk: Walk,
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
                if key in _VERSION_KEYS and isinstance(value, str):
                    walk.versions.add((_VERSION_KEYS[key], value))
        return [target]
    if name in ("APPEND", "APPENDS", "ADDITEMS"):
        return values[:1]
    if name in ("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"):
        return [tuple(items or values)]
    if name in ("REDUCE", "NEWOBJ", "NEWOBJ_EX"):
        return [_called(walk, values[0], values[1])]
    if name == "OBJ":
        return [_called(walk, items[0] if items else None, tuple(items[1:]))]
    if name == "INST":
        return [_called(walk, _reference(walk, argument[0], argument[1], protocol), tuple(items))]
    if name == "BUILD":
        target, state = values
        if isinstance(target, Node):
            target.state = state
            if target.name in _ARRAY_WRAPPERS:
                _step_over_array(stream, walk, state, depth)
                return [_OPAQUE]
        return [target]
    if name in ("EXT1", "EXT2", "EXT4"):
        raise Unreadable("it refers to names by a registry that is not in the file")
    if name in ("PERSID", "BINPERSID"):
        walk.notes.add("it refers to objects outside the file (persistent ids)")
    elif name == "NEXT_BUFFER":
        walk.notes.add("it refers to buffers outside the file")
    return None


def _called(walk: Walk, called: object, arguments: object) -> Node:
    name = called.name if isinstance(called, Node) else ""
    first = arguments[0] if isinstance(arguments, tuple) and arguments else None
    if name in ("copyreg:_reconstructor", "copyreg:__newobj__") and isinstance(first, Node):
        return Node(first.name)
    if name in _IMPORTERS and isinstance(first, str):
        walk.modules.add(first)
    module, _, function = name.partition(":")
    if function in _BY_VALUE and module.split(".")[0] in ("cloudpickle", "dill"):
        walk.notes.add("it carries code by value: what that code imports when it runs is not read")
    return Node(name, arguments)


def _reference(walk: Walk, module: str, qualname: str, protocol: int) -> Node:
    if protocol < 3:
        # The names of Python 2, which pickle.load translates too.
        module, qualname = NAME_MAPPING.get((module, qualname), (IMPORT_MAPPING.get(module, module), qualname))
    node = Node(module + ":" + qualname)
    walk.classes.add(node.name)
    if qualname in _SEPARATE_ARRAYS and module.endswith("joblib.numpy_pickle"):
        walk.notes.add("its arrays lie in files beside it")
    return node


def _step_over_array(stream: _Stream, walk: Walk, state: object, depth: int) -> None:
    """joblib writes an array's bytes after its wrapper: padding, if the wrapper says so, then shape x item size."""
    walk.arrays += 1
    wrapper = state if isinstance(state, dict) else {}
    dtype, shape = wrapper.get("dtype"), wrapper.get("shape")
    item_bytes, has_objects = _item_bytes(dtype)
    if has_objects:
        if depth > 2:
            raise Unreadable("pickles lie in pickles too deep")
        walk_pickle(stream, walk, depth + 1)
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


def _argument(stream: _Stream, opcode: _Opcode) -> Any:
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


def _line_argument(stream: _Stream, name: str) -> Any:
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
