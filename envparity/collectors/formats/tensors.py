"""Files of tensors with a header that says what they are: safetensors, GGUF."""

from __future__ import annotations

from envparity.collectors.formats.found import Found, Unreadable
from envparity.collectors.formats.scanning import scan_json
from envparity.collectors.formats.streams import Source, Stream

_LONGEST_HEADER = 100_000_000
_NO_LOADER = "it does not say what loads it"

# https://github.com/ggml-org/ggml/blob/master/docs/gguf.md: the sizes of its types of values; 8 is a text, 9 an array.
_GGUF_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_GGUF_SAID = {
    "general.architecture": "architecture",
    "general.file_type": "file_type",
    "general.quantization_version": "quantization_version",
    "tokenizer.ggml.model": "tokenizer",
    "tokenizer.ggml.pre": "tokenizer_pre",
}
_LONGEST_TEXT = 1 << 20


def read_safetensors(source: Source, found: Found) -> str:
    """https://github.com/huggingface/safetensors#format: a length, a JSON header of that length, the tensors."""
    stream = source.forward()
    length = stream.number(8)
    if length > _LONGEST_HEADER:
        raise Unreadable("its header would be %d bytes long, and %d are allowed" % (length, _LONGEST_HEADER))
    end = 0
    for path, value in scan_json(stream.stretch(length), found):
        if path[0] == "__metadata__":
            if path[1:] == ("format",):
                found.says("format", value)
        elif path[1:] == ("dtype",):
            found.says("dtype", value)
        elif path[1:] == ("data_offsets", 1) and isinstance(value, int):
            end = max(end, value)
    stream.skip(end)
    if not stream.at_end():
        raise Unreadable("bytes follow its end")
    found.notes.add(_NO_LOADER)
    return "safetensors"


def read_gguf(source: Source, found: Found) -> str:
    """The header and what it says of architecture and tokenizer; the tensors are stepped over."""
    stream = source.forward()
    stream.skip(4)
    version = stream.number(4)
    if not 2 <= version <= 0xFFFF:
        raise Unreadable("it is GGUF of version %d, or big-endian, which is not read" % version)
    found.says("gguf_version", version)
    tensors, pairs = stream.number(8), stream.number(8)
    for _ in range(pairs):
        found.count()
        key = _gguf_text(stream)
        value = _gguf_value(stream, stream.number(4), found, 0)
        if key in _GGUF_SAID:
            found.says(_GGUF_SAID[key], value)
    furthest = 0
    for _ in range(tensors):
        found.count()
        _gguf_text(stream)
        stream.skip(8 * stream.number(4) + 4)
        furthest = max(furthest, stream.number(8))
    stream.skip(furthest)
    if tensors and stream.at_end():
        raise Unreadable("it is cut short: its last tensor is missing")
    found.notes.add(_NO_LOADER)
    return "gguf"


def _gguf_text(stream: Stream) -> str:
    length = stream.number(8)
    if length > _LONGEST_TEXT:
        stream.skip(length)
        return ""
    return stream.take(length).decode("utf-8", "replace")


def _gguf_value(stream: Stream, kind: int, found: Found, depth: int) -> object:
    if kind == 8:
        return _gguf_text(stream)
    if kind == 9:
        inner, count = stream.number(4), stream.number(8)
        if inner in _GGUF_BYTES:
            stream.skip(count * _GGUF_BYTES[inner])
            return None
        if depth > 4:
            raise Unreadable("it is nested too deep")
        for _ in range(count):
            found.count()
            _gguf_value(stream, inner, found, depth + 1)
        return None
    if kind not in _GGUF_BYTES:
        raise Unreadable("it holds a value of the unknown type %d" % kind)
    if kind in (6, 12):
        stream.skip(_GGUF_BYTES[kind])
        return None
    return stream.number(_GGUF_BYTES[kind])
