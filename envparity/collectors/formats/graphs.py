"""Models that are protocol buffers: ONNX, and the graph of a TensorFlow SavedModel."""

from __future__ import annotations

from envparity.collectors.formats.found import Found, Unreadable
from envparity.collectors.formats.protobuf import LENGTH, VARINT, Message
from envparity.collectors.formats.streams import Source

# What exporters call themselves, and the distribution that they are.
_PRODUCERS = {
    "pytorch": "torch",
    "skl2onnx": "skl2onnx",
    "tf2onnx": "tf2onnx",
    "keras2onnx": "keras2onnx",
    "OnnxMLTools": "onnxmltools",
    "onnx.quantize": "onnxruntime",
    "onnxruntime.transformers": "onnxruntime",
    "CatBoost": "catboost",
    "sklearn-onnx": "skl2onnx",
}
_STANDARD_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training")


def read_onnx(source: Source, found: Found) -> str:
    """
    ModelProto of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto: versions, producer, opsets, and the domains of
    its operators.

    Weights are stepped over. Which runtime will load it is not in the file.
    """
    says: dict[int, str] = {}
    opsets, graphs = 0, 0
    message = Message(source.forward(), found)
    for number, wire, value in message:
        if number in (1, 5) and wire == VARINT:
            says[number] = str(value)
        elif number in (2, 3, 4) and wire == LENGTH:
            says[number] = message.text(value)
        elif number == 8 and wire == LENGTH:
            opset = message.texts(value)
            domain = opset.get(1, "")
            opsets += 1
            found.says("opset" if domain in ("", "ai.onnx") else "opset:" + domain, opset.get(2, "0"))
            _domain(domain, found)
        elif number == 7 and wire == LENGTH:
            graphs += 1
            _read_graph(message.inner(value), found)
    if not graphs or not opsets or 1 not in says:
        raise Unreadable("it is cut short: its graph, its version or its operator set is missing")
    found.says("ir_version", says[1])
    found.says("producer", (says.get(2, "") + " " + says.get(3, "")).strip())
    if says.get(2) in _PRODUCERS:
        found.written_by(_PRODUCERS[says[2]], says.get(3))
    found.notes.add("it does not say what loads it")
    return "onnx"


def _read_graph(graph: Message, found: Found) -> None:
    for number, wire, value in graph:
        if number == 1 and wire == LENGTH:
            node = graph.inner(value)
            for field, kind, size in node:
                if field == 7 and kind == LENGTH:
                    _domain(node.text(size), found)
        elif number == 5 and wire == LENGTH:
            tensor = graph.inner(value)
            for field, kind, size in tensor:
                if field == 14 and kind == VARINT and size == 1:
                    found.notes.add("its weights lie in files beside it")


def _domain(domain: str, found: Found) -> None:
    if domain not in _STANDARD_DOMAINS:
        found.says("operators", domain)
        found.notes.add("it has operators of `%s`, and does not say what brings them" % domain[:100])


def read_saved_model(source: Source, found: Found) -> str:
    """
    SavedModel of https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/protobuf/saved_model.proto: for
    each graph, the release of TensorFlow that wrote it, its tags, and the operators that it says it uses.
    """
    message = Message(source.forward(), found)
    graphs = 0
    for number, wire, value in message:
        if number == 1 and wire == VARINT:
            found.says("schema_version", value)
        elif number == 2 and wire == LENGTH:
            graphs += 1
            graph = message.inner(value)
            for field, kind, size in graph:
                if field == 1 and kind == LENGTH:
                    _read_meta_info(graph.inner(size), found)
    if not graphs:
        raise Unreadable("it is cut short: it holds no graph")
    found.needs("tensorflow")
    return "tensorflow-savedmodel"


def _read_meta_info(info: Message, found: Found) -> None:
    # MetaInfoDef: 2 stripped_op_list (1 op: 1 name), 4 tags, 5 tensorflow_version, 6 tensorflow_git_version.
    for number, wire, value in info:
        if wire != LENGTH:
            continue
        if number == 2:
            operators = info.inner(value)
            for field, kind, size in operators:
                if field == 1 and kind == LENGTH:
                    found.says("operator", operators.texts(size).get(1, ""))
        elif number == 4:
            found.says("tag", info.text(value))
        elif number == 5:
            found.written_by("tensorflow", info.text(value))
        elif number == 6:
            found.says("tensorflow_git_version", info.text(value))


def read_fingerprint(source: Source, found: Found) -> str:
    """FingerprintDef beside a SavedModel: digests of the graph, and the release of their rules."""
    message = Message(source.forward(), found)
    for number, wire, value in message:
        if number == 1 and wire == VARINT:
            found.says("saved_model_checksum", value)
        elif number == 6 and wire == LENGTH:
            found.says("fingerprint_version", message.texts(value).get(1, "0"))
    return "tensorflow-fingerprint"
