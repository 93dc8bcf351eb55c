"""
ONNX Runtime: graphs of one or a few nodes, each run on the CPU with one thread.

Python 3.8 and newer. The graphs are made by one release of `onnx`, so that only the runtime differs.
"""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

STATE = np.random.RandomState(9)
A = STATE.normal(size=(16, 24)).astype(np.float32)
B = STATE.normal(size=(24, 12)).astype(np.float32)
PICTURE = STATE.normal(size=(1, 3, 20, 22)).astype(np.float32)
KERNEL = STATE.normal(size=(5, 3, 3, 3)).astype(np.float32)
TIES = STATE.randint(0, 6, size=(4, 30)).astype(np.float32)
SEQUENCE = STATE.normal(size=(7, 2, 6)).astype(np.float32)
BYTES = STATE.randint(0, 255, size=(16, 24)).astype(np.uint8)
SIGNED = STATE.randint(-127, 127, size=(24, 12)).astype(np.int8)

CASES = {}
KINDS = {
    "f": TensorProto.FLOAT,
    "i": TensorProto.INT64,
    "u": TensorProto.UINT8,
    "b": TensorProto.BOOL,
    "h": TensorProto.FLOAT16,
}


def run(nodes, feeds, constants, outputs, level="all", opset=15, domain=""):
    """Make the graph, open it, and run it."""
    kinds = {
        "float32": TensorProto.FLOAT,
        "int64": TensorProto.INT64,
        "uint8": TensorProto.UINT8,
        "float16": TensorProto.FLOAT16,
        "int8": TensorProto.INT8,
        "int32": TensorProto.INT32,
    }
    inputs = [
        helper.make_tensor_value_info(name, kinds[str(value.dtype)], value.shape) for name, value in feeds.items()
    ]
    given = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    results = [helper.make_tensor_value_info(name, KINDS[kind], None) for name, kind in outputs.items()]
    graph = helper.make_graph(nodes, "lab", inputs, results, given)
    opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    model = helper.make_model(graph, opset_imports=opsets)
    model.ir_version = 8
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = getattr(
        onnxruntime.GraphOptimizationLevel, "ORT_ENABLE_ALL" if level == "all" else "ORT_DISABLE_ALL"
    )
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def case(name, nodes, feeds, constants=None, outputs=None, **options):
    outputs = outputs or {"out": "f"}
    CASES[name] = (
        None,
        {
            key: (lambda place: lambda _: run(nodes, feeds, constants or {}, outputs, **options)[place])(place)
            for place, key in enumerate(outputs)
        },
    )


def node(kind, inputs, outputs=("out",), domain="", **attributes):
    return helper.make_node(kind, list(inputs), list(outputs), domain=domain, **attributes)


for _name in (
    "Exp",
    "Log",
    "Tanh",
    "Sigmoid",
    "Erf",
    "Sqrt",
    "Sin",
    "Cos",
    "Relu",
    "Softplus",
    "Elu",
    "Selu",
    "HardSigmoid",
    "Reciprocal",
    "Floor",
    "Round",
    "Neg",
    "Abs",
):
    case(_name, [node(_name, ["x"])], {"x": np.abs(A) + 0.01 if _name in ("Log", "Sqrt") else A * 3})
case("MatMul", [node("MatMul", ["x", "b"])], {"x": A}, {"b": B})
case("Gemm", [node("Gemm", ["x", "b", "c"], alpha=0.7, beta=0.3)], {"x": A}, {"b": B, "c": B[0]})
case("MatMul-large", [node("MatMul", ["x", "b"])], {"x": np.tile(A, (9, 9))}, {"b": np.tile(B, (9, 9))})
case("Conv", [node("Conv", ["x", "w"], pads=[1, 1, 1, 1])], {"x": PICTURE}, {"w": KERNEL})
case("Conv-strided", [node("Conv", ["x", "w"], strides=[2, 2])], {"x": PICTURE}, {"w": KERNEL})
case(
    "ConvTranspose",
    [node("ConvTranspose", ["x", "w"], strides=[2, 2])],
    {"x": PICTURE},
    {"w": KERNEL.transpose(1, 0, 2, 3)},
)
case(
    "Conv-BatchNorm-Relu",
    [
        node("Conv", ["x", "w"], ["c"]),
        node("BatchNormalization", ["c", "s", "s", "m", "v"], ["n"]),
        node("Relu", ["n"]),
    ],
    {"x": PICTURE},
    {"w": KERNEL, "s": A[0, :5], "m": A[1, :5], "v": np.abs(A[2, :5]) + 0.5},
)
case(
    "Conv-BatchNorm-not-optimised",
    [node("Conv", ["x", "w"], ["c"]), node("BatchNormalization", ["c", "s", "s", "m", "v"])],
    {"x": PICTURE},
    {"w": KERNEL, "s": A[0, :5], "m": A[1, :5], "v": np.abs(A[2, :5]) + 0.5},
    level="none",
)
case("MaxPool", [node("MaxPool", ["x"], kernel_shape=[3, 3], strides=[2, 2])], {"x": PICTURE})
case("AveragePool", [node("AveragePool", ["x"], kernel_shape=[3, 3], pads=[1, 1, 1, 1])], {"x": PICTURE})
case("GlobalAveragePool", [node("GlobalAveragePool", ["x"])], {"x": PICTURE})
case("Softmax", [node("Softmax", ["x"])], {"x": A * 3})
case("LogSoftmax", [node("LogSoftmax", ["x"])], {"x": A * 3})
case("LayerNormalization", [node("LayerNormalization", ["x", "s"], axis=-1)], {"x": A}, {"s": A[0]}, opset=17)
case("InstanceNormalization", [node("InstanceNormalization", ["x", "s", "s"])], {"x": PICTURE}, {"s": A[0, :3]})
case("ReduceSum", [node("ReduceSum", ["x"], keepdims=0)], {"x": np.tile(A, (20, 20))})
case("ReduceMean", [node("ReduceMean", ["x"], axes=[1])], {"x": A})
case("ReduceLogSumExp", [node("ReduceLogSumExp", ["x"], axes=[1])], {"x": A * 3})
case("CumSum", [node("CumSum", ["x", "a"])], {"x": A}, {"a": np.array(1)})
case("ArgMax-ties", [node("ArgMax", ["x"], axis=1)], {"x": TIES}, outputs={"out": "i"})
case(
    "TopK-ties",
    [node("TopK", ["x", "k"], ["values", "indices"])],
    {"x": TIES},
    {"k": np.array([8])},
    {"values": "f", "indices": "i"},
)
case(
    "TopK-ties-large",
    [node("TopK", ["x", "k"], ["values", "indices"])],
    {"x": np.tile(TIES, (1, 60))},
    {"k": np.array([40])},
    {"values": "f", "indices": "i"},
)
case("Unique", [node("Unique", ["x"], ["out"])], {"x": TIES.ravel()})
case(
    "NonMaxSuppression",
    [node("NonMaxSuppression", ["b", "s", "n", "i"], outputs=["out"])],
    {
        "b": np.abs(STATE.normal(size=(1, 20, 4))).astype(np.float32),
        "s": np.abs(STATE.normal(size=(1, 1, 20))).astype(np.float32),
    },
    {"n": np.array([9]), "i": np.array([0.5], dtype=np.float32)},
    {"out": "i"},
)
for _mode in ("nearest", "linear", "cubic"):
    for _how in ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"):
        case(
            "Resize-%s-%s" % (_mode, _how),
            [node("Resize", ["x", "", "f"], mode=_mode, coordinate_transformation_mode=_how)],
            {"x": PICTURE},
            {"f": np.array([1, 1, 0.6, 1.7], dtype=np.float32)},
        )
case(
    "Resize-linear-antialias",
    [node("Resize", ["x", "", "f"], mode="linear", antialias=1)],
    {"x": PICTURE},
    {"f": np.array([1, 1, 0.4, 0.5], dtype=np.float32)},
    opset=18,
)
case(
    "GridSample",
    [node("GridSample", ["x", "g"], mode="bilinear")],
    {"x": PICTURE, "g": np.tanh(STATE.normal(size=(1, 6, 6, 2))).astype(np.float32)},
    opset=16,
)
case(
    "LSTM",
    [node("LSTM", ["x", "w", "r"], ["out"], hidden_size=4)],
    {"x": SEQUENCE},
    {"w": STATE.normal(size=(1, 16, 6)).astype(np.float32), "r": STATE.normal(size=(1, 16, 4)).astype(np.float32)},
)
case(
    "GRU",
    [node("GRU", ["x", "w", "r"], ["out"], hidden_size=4)],
    {"x": SEQUENCE},
    {"w": STATE.normal(size=(1, 12, 6)).astype(np.float32), "r": STATE.normal(size=(1, 12, 4)).astype(np.float32)},
)
case("Einsum", [node("Einsum", ["x", "y"], equation="ij,kj->ik")], {"x": A, "y": A[::-1].copy()})
case(
    "Cast-float-to-uint8",
    [node("Cast", ["x"], to=TensorProto.UINT8)],
    {"x": np.array([-3.7, 0.5, 254.9, 300.0], dtype=np.float32)},
    outputs={"out": "u"},
)
case(
    "Cast-float-to-int-large",
    [node("Cast", ["x"], to=TensorProto.INT64)],
    {"x": np.array([1e20, -1e20, 2.5, -2.5], dtype=np.float32)},
    outputs={"out": "i"},
)
case("Cast-float16", [node("Cast", ["x"], to=TensorProto.FLOAT16)], {"x": A * 1000}, outputs={"out": "h"})
case(
    "Where-Greater",
    [node("Greater", ["x", "z"], ["g"]), node("Where", ["g", "x", "z"])],
    {"x": A},
    {"z": np.array(0.1, dtype=np.float32)},
)
case("Mod", [node("Mod", ["x", "y"], fmod=1)], {"x": A}, {"y": np.array(0.3, dtype=np.float32)})
case("Pow", [node("Pow", ["x", "y"])], {"x": np.abs(A)}, {"y": np.array(1.7, dtype=np.float32)})
case(
    "Gelu-pattern",
    [
        node("Div", ["x", "r"], ["d"]),
        node("Erf", ["d"], ["e"]),
        node("Add", ["e", "o"], ["p"]),
        node("Mul", ["x", "p"], ["q"]),
        node("Mul", ["q", "h"]),
    ],
    {"x": A},
    {
        "r": np.array(np.sqrt(2), dtype=np.float32),
        "o": np.array(1, dtype=np.float32),
        "h": np.array(0.5, dtype=np.float32),
    },
)
case(
    "QuantizeLinear",
    [node("QuantizeLinear", ["x", "s", "z"])],
    {"x": A * 3},
    {"s": np.array(0.05, dtype=np.float32), "z": np.array(120, dtype=np.uint8)},
    {"out": "u"},
)
case(
    "DynamicQuantizeLinear",
    [node("DynamicQuantizeLinear", ["x"], ["out", "scale", "zero"])],
    {"x": A},
    outputs={"out": "u", "scale": "f", "zero": "u"},
)
case(
    "QLinearMatMul",
    [node("QLinearMatMul", ["x", "s", "z", "b", "s", "zb", "t", "z"])],
    {"x": BYTES},
    {
        "s": np.array(0.02, dtype=np.float32),
        "z": np.array(120, dtype=np.uint8),
        "b": SIGNED,
        "zb": np.array(0, dtype=np.int8),
        "t": np.array(0.3, dtype=np.float32),
    },
    {"out": "u"},
)
case(
    "QLinearConv",
    [node("QLinearConv", ["x", "s", "z", "w", "s", "zb", "t", "z"])],
    {"x": STATE.randint(0, 255, size=(1, 3, 20, 22)).astype(np.uint8)},
    {
        "s": np.array(0.02, dtype=np.float32),
        "z": np.array(120, dtype=np.uint8),
        "w": STATE.randint(-127, 127, size=(5, 3, 3, 3)).astype(np.int8),
        "zb": np.array(0, dtype=np.int8),
        "t": np.array(0.3, dtype=np.float32),
    },
    {"out": "u"},
)
case(
    "DynamicQuantized-MatMul",
    [
        node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        node("MatMulInteger", ["q", "b", "z"], ["m"]),
        node("Cast", ["m"], ["f"], to=TensorProto.FLOAT),
        node("Mul", ["f", "s"]),
    ],
    {"x": A},
    {"b": SIGNED},
)
case(
    "Dequantize-MatMul",
    [node("DequantizeLinear", ["b", "s", "z"], ["d"]), node("MatMul", ["x", "d"])],
    {"x": A},
    {"b": SIGNED, "s": np.array(0.02, dtype=np.float32), "z": np.array(0, dtype=np.int8)},
)
case(
    "float16-MatMul",
    [node("MatMul", ["x", "b"])],
    {"x": A.astype(np.float16)},
    {"b": B.astype(np.float16)},
    {"out": "h"},
)
case(
    "Multi-layer-perceptron",
    [
        node("Gemm", ["x", "b", "c"], ["h"]),
        node("Tanh", ["h"], ["t"]),
        node("Gemm", ["t", "d", "e"], ["o"]),
        node("Softmax", ["o"]),
    ],
    {"x": A},
    {"b": B, "c": B[0], "d": B[:12, :3].copy(), "e": B[1, :3].copy()},
)
case(
    "Attention-pattern",
    [
        node("MatMul", ["x", "b"], ["q"]),
        node("MatMul", ["x", "d"], ["k"]),
        node("Transpose", ["k"], ["kt"], perm=[1, 0]),
        node("MatMul", ["q", "kt"], ["s"]),
        node("Softmax", ["s"], ["p"]),
        node("MatMul", ["p", "x"]),
    ],
    {"x": A},
    {"b": B, "d": B[::-1].copy()},
)
case(
    "TfIdfVectorizer",
    [
        node(
            "TfIdfVectorizer",
            ["x"],
            max_gram_length=2,
            max_skip_count=0,
            min_gram_length=1,
            mode="TF",
            ngram_counts=[0, 3],
            ngram_indexes=[0, 1, 2, 3, 4],
            pool_int64s=[1, 2, 3, 1, 2, 2, 3],
        )
    ],
    {"x": np.array([1, 2, 3, 1, 2, 2], dtype=np.int64)},
)
case("StringNormalizer-absent-domain", [node("Identity", ["x"])], {"x": A})
ML = "ai.onnx.ml"
case(
    "ml-Scaler",
    [node("Scaler", ["x"], domain=ML, offset=A[0].tolist(), scale=np.abs(A[1]).tolist())],
    {"x": A},
    domain=ML,
)
case(
    "ml-LinearClassifier",
    [
        node(
            "LinearClassifier",
            ["x"],
            ["label", "out"],
            domain=ML,
            coefficients=B[:, :3].T.ravel().tolist(),
            intercepts=[0.1, 0.2, 0.3],
            classlabels_ints=[0, 1, 2],
            post_transform="SOFTMAX",
            multi_class=0,
        )
    ],
    {"x": A},
    outputs={"label": "i", "out": "f"},
    domain=ML,
)
case(
    "ml-LinearRegressor",
    [node("LinearRegressor", ["x"], domain=ML, coefficients=B[:, 0].tolist(), intercepts=[0.1])],
    {"x": A},
    domain=ML,
)
case("ml-Normalizer", [node("Normalizer", ["x"], domain=ML, norm="L2")], {"x": A}, domain=ML)
_tree = dict(
    nodes_treeids=[0] * 5 + [1] * 3, nodes_nodeids=[0, 1, 2, 3, 4, 0, 1, 2], nodes_featureids=[0, 1, 0, 0, 0, 2, 0, 0],
    nodes_values=[0.1, -0.3, 0, 0, 0, 0.2, 0, 0], nodes_modes=["BRANCH_LEQ", "BRANCH_LEQ", "LEAF", "LEAF", "LEAF", "BRANCH_LEQ", "LEAF", "LEAF"],
    nodes_truenodeids=[1, 3, 0, 0, 0, 1, 0, 0], nodes_falsenodeids=[2, 4, 0, 0, 0, 2, 0, 0],
)  # fmt: skip
case(
    "ml-TreeEnsembleRegressor",
    [
        node(
            "TreeEnsembleRegressor",
            ["x"],
            domain=ML,
            n_targets=1,
            target_treeids=[0, 0, 0, 1, 1],
            target_nodeids=[2, 3, 4, 1, 2],
            target_ids=[0] * 5,
            target_weights=[0.1, 0.7, -0.3, 1.5, 0.2],
            **_tree,
        )
    ],
    {"x": A},
    domain=ML,
)
case(
    "ml-TreeEnsembleRegressor-average",
    [
        node(
            "TreeEnsembleRegressor",
            ["x"],
            domain=ML,
            n_targets=1,
            aggregate_function="AVERAGE",
            target_treeids=[0, 0, 0, 1, 1],
            target_nodeids=[2, 3, 4, 1, 2],
            target_ids=[0] * 5,
            target_weights=[0.1, 0.7, -0.3, 1.5, 0.2],
            **_tree,
        )
    ],
    {"x": A},
    domain=ML,
)
case(
    "ml-TreeEnsembleClassifier",
    [
        node(
            "TreeEnsembleClassifier",
            ["x"],
            ["label", "out"],
            domain=ML,
            classlabels_int64s=[0, 1],
            post_transform="LOGISTIC",
            class_treeids=[0, 0, 0, 1, 1],
            class_nodeids=[2, 3, 4, 1, 2],
            class_ids=[1] * 5,
            class_weights=[0.1, 0.7, -0.3, 1.5, -0.2],
            **_tree,
        )
    ],
    {"x": A},
    outputs={"label": "i", "out": "f"},
    domain=ML,
)
case(
    "ml-SVMRegressor",
    [
        node(
            "SVMRegressor",
            ["x"],
            domain=ML,
            kernel_type="RBF",
            kernel_params=[0.1, 0.0, 3.0],
            support_vectors=A[:4].ravel().tolist(),
            coefficients=[0.3, -0.2, 0.5, 0.1],
            rho=[0.05],
            n_supports=4,
        )
    ],
    {"x": A},
    domain=ML,
)
del CASES["StringNormalizer-absent-domain"]
