"""Tensors with a header: what it says is read, the tensors are stepped over."""

import json

import pytest


def test_safetensors_tell_their_types_and_who_formed_them(made, seen):
    found = seen(made("weights.safetensors"), "model")

    assert (found.form, found.modules) == ("safetensors", set())
    assert found.properties["format"] == "pt"
    assert ["dtype", "F32"] in found.fact["properties"]
    assert found.not_recorded == ["it does not say what loads it"]


def safetensors(header, data=b""):
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


TENSOR = {"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (
            (1 << 60).to_bytes(8, "little") + b"{",
            "its header would be 1152921504606846976 bytes long, and 100000000 are allowed",
        ),
        (safetensors(TENSOR, b"xxx"), "it is cut short, after 72 bytes"),
        (safetensors(TENSOR, b"xxxxx"), "bytes follow its end"),
        ((1 << 20).to_bytes(8, "little") + b"[" * (1 << 20), "it is nested too deep"),
        (b"\x10\0", "it is cut short, after 2 bytes"),
    ],
)
def test_damaged_safetensors_say_what_is_wrong(data, reason, seen):
    assert seen(data, "m.safetensors").unread == [reason]


def test_a_header_whose_length_begins_like_a_pickle_is_no_pickle(seen):
    """640 is 0x280: the file begins with the bytes of a pickle of protocol 2."""
    header = {"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "__metadata__": {"format": "pt", "pad": ""}}
    header["__metadata__"]["pad"] = "x" * (640 - len(json.dumps(header)))
    found = seen(safetensors(header, b"1234"), "model")

    assert (found.form, found.unread) == ("safetensors", [])


def test_gguf_tells_architecture_and_tokenizer(made, seen):
    found = seen(made("tiny.gguf"), "model")

    assert (found.form, found.modules) == ("gguf", set())
    assert found.properties == {"gguf_version": "3", "architecture": "llama", "tokenizer": "gpt2", "file_type": "1"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GGUF\x01\0\0\0", "it is GGUF of version 1, or big-endian, which is not read"),
        (b"GGUF\0\0\0\x03", "it is GGUF of version 50331648, or big-endian, which is not read"),
        (
            b"GGUF\x03\0\0\0" + bytes(8) + b"\1" + bytes(7) + bytes(8) + b"\x63\0\0\0",
            "it holds a value of the unknown type 99",
        ),
        (
            b"GGUF\x03\0\0\0" + bytes(8) + b"\1" + bytes(15) + (b"\x09\0\0\0" + b"\1" + b"\0" * 3) * 9,
            "it is cut short, after 104 bytes",
        ),
    ],
)
def test_damaged_gguf_says_what_is_wrong(data, reason, seen):
    assert seen(data).unread == [reason]


def test_arrays_of_arrays_of_gguf_end_at_a_depth(seen):
    inner = b"\x09\0\0\0" + b"\1\0\0\0\0\0\0\0"
    data = b"GGUF\x03\0\0\0" + bytes(8) + b"\1" + bytes(7) + bytes(8) + b"\x09\0\0\0" + inner * 50

    assert seen(data).unread == ["it is nested too deep"]
