"""
pyarrow: tables that are pickled or written as Parquet, Feather and IPC, and what is parsed, cast and computed.

Python 3.8 and newer.
"""

import io

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq

STATE = np.random.RandomState(5)
X = STATE.normal(size=400)
KEYS = STATE.randint(0, 6, size=400)
WORDS = [["red", "green", None, "blue"][value] for value in STATE.randint(0, 4, size=400)]
TABLE = pa.table(
    {
        "x": pa.array(X),
        "f": pa.array(X.astype(np.float32)),
        "key": pa.array(KEYS),
        "word": pa.array(WORDS),
        "kind": pa.array(WORDS).dictionary_encode(),
        "when": pa.array(KEYS * 86400_000_000, type=pa.timestamp("us")),
        "flag": pa.array([bool(value % 2) for value in KEYS]),
        "parts": pa.array([[int(value), None] for value in KEYS]),
        "pair": pa.array([{"a": int(value), "b": "t"} for value in KEYS]),
    }
)
CSV = b"id,when,amount,flag,city,code,empty\n1,2026-01-02 03:04:05,1.50,true,Oslo,007,\n2,2026-02-03,,false,Paris,010,NA\n3,,3.25,true,Rome,011,x\n"

CASES = {}


def told(value):
    """A result as text: types, and every value."""
    if isinstance(value, pa.Table):
        return [line for name in value.column_names for line in [name] + told(value.column(name))]
    if isinstance(value, (pa.Array, pa.ChunkedArray)):
        return [str(value.type)] + [repr(item) for item in value.to_pylist()]
    if isinstance(value, pa.Scalar):
        return [str(value.type), repr(value.as_py())]
    return [str(value)]


def pickled(name, make):
    CASES[name] = (make, {"value": told})


def compute(name, step):
    CASES[name] = (None, {"value": lambda _: told(step())})


def file(name, write, read):
    def make():
        out = io.BytesIO()
        write(out)
        return out.getvalue()

    CASES["file-" + name] = (make, {"value": lambda data: told(read(io.BytesIO(data)))})


pickled("Table", lambda: TABLE)
pickled("Schema", lambda: TABLE.schema)
pickled("RecordBatch", lambda: pa.Table.from_batches(TABLE.to_batches()))
pickled("ChunkedArray", lambda: TABLE.column("word"))
for _name in ("x", "key", "word", "kind", "when", "flag", "parts", "pair"):
    pickled("Array-" + _name, (lambda name: lambda: TABLE.column(name).combine_chunks())(_name))
pickled("DataType-decimal", lambda: pa.decimal128(12, 3))
pickled("DataType-dictionary", lambda: pa.dictionary(pa.int8(), pa.string()))
pickled("Field", lambda: pa.field("x", pa.float64(), metadata={"a": "b"}))
pickled("Scalar", lambda: pa.scalar(1.5))
file("parquet", lambda out: pq.write_table(TABLE, out), pq.read_table)
file("parquet-zstd", lambda out: pq.write_table(TABLE, out, compression="zstd"), pq.read_table)
file("parquet-version-1", lambda out: pq.write_table(TABLE, out, version="1.0"), pq.read_table)
file("feather", lambda out: pyarrow.feather.write_feather(TABLE, out), pyarrow.feather.read_table)
file("ipc", lambda out: _ipc(out), lambda data: pa.ipc.open_file(data).read_all())
compute("csv", lambda: pyarrow.csv.read_csv(io.BytesIO(CSV)))
compute("csv-quoted-missing", lambda: pyarrow.csv.read_csv(io.BytesIO(b'a,b\n"",1\nNA,2\nnull,3\n')))
compute("csv-written", lambda: _csv())
compute("sum", lambda: pc.sum(TABLE.column("x")))
compute("sum-float32", lambda: pc.sum(TABLE.column("f")))
compute("mean", lambda: pc.mean(TABLE.column("x")))
compute("mean-integers", lambda: pc.mean(TABLE.column("key")))
compute("variance", lambda: pc.variance(TABLE.column("x"), ddof=1))
compute("quantile", lambda: pc.quantile(TABLE.column("x"), [0.1, 0.5]))
compute("sort_indices-ties", lambda: pc.sort_indices(TABLE.column("key")))
compute("select_k-ties", lambda: pc.select_k_unstable(TABLE.column("key"), k=10, sort_keys=[("key", "descending")]))
compute("unique", lambda: pc.unique(TABLE.column("word")))
compute("value_counts", lambda: pc.value_counts(TABLE.column("word")))
compute("dictionary_encode", lambda: pc.dictionary_encode(TABLE.column("word")))
compute("group_by-sum", lambda: TABLE.group_by("key").aggregate([("x", "sum"), ("x", "mean")]).sort_by("key"))
compute("group_by-missing", lambda: TABLE.group_by("word").aggregate([("x", "count")]).sort_by("word"))
compute("join", lambda: TABLE.select(["key", "x"]).join(pa.table({"key": [1, 2], "y": [10, 20]}), "key").sort_by("x"))
compute("filter-missing", lambda: TABLE.filter(pc.equal(TABLE.column("word"), "red")).column("x"))
compute("cast-float-to-int", lambda: pc.cast(pa.array([1.0, 2.0]), pa.int64()))
compute("cast-text-to-time", lambda: pc.cast(pa.array(["2026-01-02", "2026-01-02 03:04:05"]), pa.timestamp("s")))
compute("cast-text-to-time-zone", lambda: pc.cast(pa.array(["2026-01-02T03:04:05Z"]), pa.timestamp("s", "UTC")))
compute("cast-float-to-text", lambda: pc.cast(TABLE.column("x").slice(0, 30), pa.string()))
compute("cast-float32-to-text", lambda: pc.cast(TABLE.column("f").slice(0, 30), pa.string()))
compute("cast-decimal", lambda: pc.cast(pa.array([1.25, 2.5]), pa.decimal128(6, 2)))
compute("strptime", lambda: pc.strptime(pa.array(["02/01/2026"]), format="%d/%m/%Y", unit="s"))
compute("strftime", lambda: pc.strftime(TABLE.column("when").slice(0, 5), format="%Y-%m-%d %H:%M:%S"))
compute("round", lambda: pc.round(TABLE.column("x").slice(0, 50), ndigits=2))
compute("round-half", lambda: pc.round(pa.array([0.5, 1.5, 2.5, -0.5])))
compute("exp-log", lambda: pc.ln(pc.add(pc.abs(TABLE.column("x")), 1.0)))
compute("divide-integers", lambda: pc.divide(pa.array([7, -7]), 2))
compute("utf8_lower", lambda: pc.utf8_lower(pa.array(["Straße", "ÉCOLE", None])))
compute("split_pattern", lambda: pc.split_pattern(pa.array(["a b c"]), " "))
compute("is_in-missing", lambda: pc.is_in(TABLE.column("word").slice(0, 20), value_set=pa.array(["red", None])))
compute("min_max", lambda: pc.min_max(TABLE.column("x")))
compute("cumulative_sum", lambda: pc.cumulative_sum(TABLE.column("x").slice(0, 50)))
compute("infer-mixed", lambda: pa.array([1, 2.5, None]))
compute("infer-dates", lambda: pa.array([__import__("datetime").datetime(2026, 1, 2)]))
compute("infer-numpy-text", lambda: pa.array(np.array(["a", "b"])))


def _ipc(out):
    with pa.ipc.new_file(out, TABLE.schema) as writer:
        writer.write_table(TABLE)


def _csv():
    out = io.BytesIO()
    pyarrow.csv.write_csv(TABLE.select(["x", "word", "flag"]).slice(0, 5), out)
    return out.getvalue().decode()
