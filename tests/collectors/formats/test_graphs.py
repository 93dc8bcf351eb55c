"""
ONNX and SavedModel are protocol buffers. TensorFlow is too large to install for one file of a test: the SavedModel here
is written field by field, by the definitions that `graphs.py` names.
"""

import pytest


def field(number, value):
    """A field of a message: bytes, a text, or a number."""

    def varint(number):
        out = b""
        while number > 127:
            out += bytes([number & 127 | 128])
            number >>= 7
        return out + bytes([number])

    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


OPERATORS = field(1, field(1, "MatMul") + field(2, field(1, "a"))) + field(1, field(1, "AddV2"))
INFO = field(2, OPERATORS) + field(4, "serve") + field(5, "2.15.0") + field(6, "v2.15.0-2-g0b15fdfcb3f")
SAVED_MODEL = field(1, 1) + field(2, field(1, INFO) + field(2, b"\x0a\x00"))


def test_onnx_tells_its_operator_sets_and_its_producer_and_not_what_loads_it(made, seen):
    found = seen(made("pipeline.onnx"), "model")

    assert (found.form, found.modules, found.versions) == ("onnx", set(), {"skl2onnx": "1.17.0"})
    assert found.properties["ir_version"] == "8"
    assert {"opset", "opset:ai.onnx.ml"} <= found.properties.keys()
    assert found.not_recorded == ["it does not say what loads it"]


def onnx(node=b"", tensor=b""):
    return field(1, 9) + field(8, field(2, 17)) + field(7, field(1, node) + field(5, tensor))


def test_operators_that_no_standard_has_are_named(seen):
    found = seen(onnx(node=field(4, "FusedConv") + field(7, "com.microsoft")), "m.onnx")

    assert found.properties["operators"] == "com.microsoft"
    assert "it has operators of `com.microsoft`, and does not say what brings them" in found.not_recorded


def test_weights_beside_an_onnx_model_are_named(seen):
    assert "its weights lie in files beside it" in seen(onnx(tensor=field(14, 1)), "m.onnx").not_recorded


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x08\x08", "it is cut short: its graph, its version or its operator set is missing"),
        (b"hello", "it is no protocol buffer"),
        (b"\x0a" + b"\xff" * 11, "it is no protocol buffer"),
        (field(7, b"\x0a\x05x"), "a message in it is longer than what holds it"),
    ],
)
def test_a_damaged_onnx_model_says_what_is_wrong(data, reason, seen):
    assert seen(data, "m.onnx").unread == [reason]


def test_a_saved_model_tells_the_release_of_tensorflow_and_its_operators(seen):
    found = seen(SAVED_MODEL, "saved_model.pb")

    assert (found.form, found.modules) == ("tensorflow-savedmodel", {"tensorflow"})
    assert found.versions == {"tensorflow": "2.15.0"}
    assert ["operator", "MatMul"] in found.fact["properties"]
    assert (found.properties["tag"], found.properties["schema_version"]) == ("serve", "1")
    assert (found.unread, found.not_recorded) == ([], [])


def test_a_saved_model_without_a_graph_is_unread(seen):
    assert seen(field(1, 1), "saved_model.pb").unread == ["it is cut short: it holds no graph"]


def test_the_fingerprint_of_a_saved_model_is_read(seen):
    found = seen(field(1, 123456789) + field(6, field(1, 2)), "fingerprint.pb")

    assert found.properties == {"saved_model_checksum": "123456789", "fingerprint_version": "2"}
