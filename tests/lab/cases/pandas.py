"""
pandas: tables that are pickled, and the steps that make features of them.

Python 3.8 and newer. What a step gives is told by its types and its values, both as text.
"""

import io

import numpy as np
import pandas as pd

CSV = """id,when,amount,flag,city,code,empty
1,2026-01-02 03:04:05,1.50,True,Oslo,007,
2,2026-02-03 04:05:06,,False,Paris,010,NA
3,2026-03-04 05:06:07,3.25,True,Oslo,011,
4,,4.75,,Rome,,x
"""
STATE = np.random.RandomState(5)
NUMBERS = STATE.normal(size=60)
GROUPS = [["a", "b", "c"][value] for value in STATE.randint(0, 3, size=60)]
KEYS = STATE.randint(0, 5, size=60)

CASES = {}


def told(value):
    """Types and values of a result, as lines of text."""
    if isinstance(value, pd.DataFrame):
        lines = ["%s: %s" % (name, value.dtypes.iloc[place]) for place, name in enumerate(value.columns)]
        lines += ["index: %s" % [str(item) for item in value.index]]
        for place in range(value.shape[1]):
            lines += told(value.iloc[:, place])[1:]
        return lines
    if isinstance(value, (pd.Series, pd.Index)):
        return [str(value.dtype)] + [one(item) for item in value]
    if isinstance(value, np.ndarray):
        return [str(value.dtype)] + [one(item) for item in value.ravel()]
    if isinstance(value, (list, tuple)):
        return [one(item) for item in value]
    return [type(value).__name__, one(value)]


def one(item):
    """One value; numbers without the type around them, and every missing value alike."""
    if item is None or item is pd.NaT or item is getattr(pd, "NA", None) or (isinstance(item, float) and item != item):
        return "missing"
    if isinstance(item, (float, np.floating)):
        return repr(float(item))
    if isinstance(item, (bool, np.bool_)):
        return repr(bool(item))
    if isinstance(item, (int, np.integer)):
        return repr(int(item))
    return str(item)


def compute(name, *steps, **named):
    uses = {"value": steps[0]} if steps else named
    CASES[name] = (None, {key: (lambda step: lambda _: told(step()))(step) for key, step in uses.items()})


def pickled(name, make):
    CASES[name] = (make, {"value": told})


def frame():
    return pd.DataFrame({"x": NUMBERS, "group": GROUPS, "key": KEYS})


def table():
    return pd.read_csv(io.StringIO(CSV))


# What is pickled

pickled("DataFrame-numbers", lambda: pd.DataFrame({"a": [1, 2, 3], "b": [0.5, 1.5, 2.5]}))
pickled("DataFrame-integer-index", lambda: pd.DataFrame({"a": [1.0, 2.0]}, index=pd.Index([5, 9])))
pickled("DataFrame-float-index", lambda: pd.DataFrame({"a": [1.0, 2.0]}, index=pd.Index([0.5, 1.5])))
pickled("DataFrame-text", lambda: pd.DataFrame({"a": ["x", "y", None]}))
pickled("DataFrame-mixed", table)
pickled("DataFrame-multiindex", lambda: frame().groupby(["group", "key"]).x.sum().to_frame())
pickled("Series-text", lambda: pd.Series(["x", "y"], name="a"))
pickled("Series-string-dtype", lambda: pd.Series(["x", None], dtype="string"))
pickled("Series-nullable-integer", lambda: pd.Series([1, None], dtype="Int64"))
pickled("Series-category", lambda: pd.Series(["x", "y", "x"], dtype="category"))
pickled("Series-datetime", lambda: pd.Series(pd.to_datetime(["2026-01-02", None])))
pickled(
    "Series-datetime-zone",
    lambda: pd.Series(pd.to_datetime(["2026-01-02", "2026-07-02"])).dt.tz_localize("Europe/Oslo"),
)
pickled("Series-timedelta", lambda: pd.Series(pd.to_timedelta(["1 days", "2 hours"])))
pickled("Series-period", lambda: pd.Series(pd.period_range("2026-01", periods=3, freq="M")))
pickled("Series-interval", lambda: pd.Series(pd.interval_range(0, 3)))
pickled("Series-sparse", lambda: pd.Series(pd.arrays.SparseArray([0, 0, 1])))
pickled("Index-text", lambda: pd.Index(["x", "y"]))
pickled("Index-range", lambda: pd.RangeIndex(3))
pickled("Index-datetime", lambda: pd.date_range("2026-01-01", periods=3, freq="D"))
pickled("Timestamp", lambda: pd.Timestamp("2026-01-02 03:04:05"))
pickled("Timedelta", lambda: pd.Timedelta("1 days 2 hours"))
pickled("CategoricalDtype", lambda: pd.CategoricalDtype(["x", "y"], ordered=True))
pickled("offset-BusinessDay", lambda: pd.offsets.BusinessDay(2))
pickled("offset-MonthEnd", lambda: pd.offsets.MonthEnd())

# Reading

compute("read_csv", table)
compute("read_csv-text-dtype", lambda: [str(table()["city"].dtype), str(table()["city"].dtype == object)])
compute("read_csv-leading-zeros", lambda: table()["code"])
compute("read_csv-missing-words", lambda: pd.read_csv(io.StringIO("a\nNone\nNA\nnull\nn/a\n\nx\n"))["a"].isna())
compute("read_csv-floats", lambda: pd.read_csv(io.StringIO("a\n0.1\n1e-300\n123456789.123456789\n"))["a"])
compute(
    "read_csv-large-integers", lambda: pd.read_csv(io.StringIO("a\n9223372036854775807\n9223372036854775808\n"))["a"]
)
compute("read_csv-booleans", lambda: pd.read_csv(io.StringIO("a,b\nTrue,yes\nFalse,no\n")))
compute("read_csv-dates", lambda: pd.read_csv(io.StringIO(CSV), parse_dates=["when"])["when"])
compute("read_csv-dates-mixed", lambda: pd.read_csv(io.StringIO("d\n2026-01-02\n03/04/2026\n"), parse_dates=["d"])["d"])
compute("read_csv-index-column", lambda: pd.read_csv(io.StringIO(CSV), index_col="id").index)
compute("read_csv-duplicate-columns", lambda: list(pd.read_csv(io.StringIO("a,a,b\n1,2,3\n")).columns))
compute("read_json", lambda: pd.read_json(io.StringIO('[{"a": 1, "d": "2026-01-02"}, {"a": 2, "d": null}]')))
compute("to_csv", lambda: table().to_csv(index=False).splitlines())
compute("to_json", lambda: [table().to_json(), frame().head(3).to_json(orient="records")])
compute("to_json-dates", lambda: [pd.DataFrame({"d": pd.to_datetime(["2026-01-02"])}).to_json()])

# Dates

compute(
    "to_datetime",
    lambda: (
        pd.to_datetime(pd.Series(["2026-01-02", "2026-02-03 04:05:06"]), format="mixed")
        if int(pd.__version__[0]) > 1
        else pd.to_datetime(pd.Series(["2026-01-02", "2026-02-03 04:05:06"]))
    ),
)
compute("to_datetime-day-first", lambda: pd.to_datetime(pd.Series(["13/01/2026", "02/01/2026"])))
compute("to_datetime-ambiguous", lambda: pd.to_datetime(pd.Series(["02/01/2026", "13/01/2026"])))
compute("to_datetime-formats-mixed", lambda: pd.to_datetime(pd.Series(["2026-01-02", "Jan 3, 2026"])))
compute("to_datetime-coerce", lambda: pd.to_datetime(pd.Series(["2026-01-02", "03.02.2026", "bad"]), errors="coerce"))
compute("to_datetime-as-number", lambda: pd.to_datetime(pd.Series(["2026-01-02", "2026-01-03"])).astype("int64"))
compute(
    "to_datetime-unit-seconds", lambda: pd.to_datetime(pd.Series([1767312000, 1767398400]), unit="s").astype("int64")
)
compute(
    "to_datetime-zone", lambda: pd.to_datetime(["2026-01-02T03:04:05+01:00", "2026-07-02T03:04:05+02:00"], utc=True)
)
compute(
    "to_datetime-zones-mixed",
    lambda: pd.to_datetime(pd.Series(["2026-01-02T03:04:05+01:00", "2026-07-02T03:04:05+02:00"])),
)
compute("Timestamp-value", lambda: [pd.Timestamp("2026-01-02").value, pd.Timestamp(2026, 1, 2).value])
compute("date_range-as-number", lambda: pd.date_range("2026-01-01", periods=3).astype("int64"))
compute(
    "datetime-difference", lambda: pd.to_datetime(pd.Series(["2026-01-03"])) - pd.to_datetime(pd.Series(["2026-01-01"]))
)
compute(
    "datetime-parts",
    lambda: pd.DataFrame(
        {
            "w": pd.to_datetime(pd.Series(["2026-01-02"])).dt.isocalendar().week,
            "d": pd.to_datetime(pd.Series(["2026-01-02"])).dt.dayofweek,
        }
    ),
)
compute("timedelta-seconds", lambda: pd.to_timedelta(pd.Series(["1 days", "00:00:01.5"])).dt.total_seconds())
compute("timedelta-as-number", lambda: pd.to_timedelta(pd.Series(["1 days", "2 days"])).astype("int64"))
compute(
    "resample-month", lambda: pd.Series(range(60), index=pd.date_range("2026-01-01", periods=60)).resample("M").sum()
)
compute(
    "resample-hour",
    lambda: pd.Series(range(48), index=pd.date_range("2026-01-01", periods=48, freq="H")).resample("12H").mean(),
)
compute(
    "resample-day",
    lambda: pd.Series(range(48), index=pd.date_range("2026-01-01", periods=48, freq="60min")).resample("D").mean(),
)
compute("date-strftime", lambda: pd.to_datetime(pd.Series(["2026-01-02"])).dt.strftime("%Y-%m-%d %H:%M:%S.%f"))
compute("datetime-numpy-values", lambda: [str(pd.to_datetime(pd.Series(["2026-01-02"])).values.dtype)])
compute("datetime-from-python", lambda: [str(pd.Series([__import__("datetime").datetime(2026, 1, 2)]).dtype)])

# Groups, joins, shapes

compute("groupby-mean", lambda: frame().groupby("group").x.mean())
compute("groupby-mean-all-columns", lambda: frame().groupby("group").mean())
compute(
    "groupby-sum-text", lambda: pd.DataFrame({"g": [1, 1, 2], "t": ["a", "b", "c"], "n": [1, 2, 3]}).groupby("g").sum()
)
compute(
    "groupby-category",
    lambda: (
        frame()
        .head(5)
        .assign(group=pd.Categorical(GROUPS[:5], categories=["a", "b", "c", "d"]))
        .groupby("group")
        .x.count()
    ),
)
compute(
    "groupby-two-categories",
    lambda: (
        pd.DataFrame({"a": pd.Categorical(["x", "y"]), "b": pd.Categorical(["u", "v"]), "n": [1, 2]})
        .groupby(["a", "b"])
        .n.sum()
    ),
)
compute("groupby-apply", lambda: frame().groupby("group").apply(lambda part: part["x"].max()))
compute("groupby-apply-frame", lambda: frame().groupby("group").apply(lambda part: part.head(1)))
compute("groupby-transform", lambda: frame().groupby("group").x.transform("mean"))
compute("groupby-missing-key", lambda: pd.DataFrame({"g": ["a", None, "b"], "n": [1, 2, 3]}).groupby("g").n.sum())
compute("groupby-head", lambda: frame().groupby("group").head(2))
compute("groupby-std", lambda: frame().groupby("group").x.std())
compute("groupby-quantile", lambda: frame().groupby("group").x.quantile(0.3))
compute("groupby-one-key-list", lambda: [str(key) for key, _ in frame().groupby(["group"])])
compute("groupby-axis-1", lambda: pd.DataFrame({"a": [1, 2], "b": [3, 4]}).groupby(["k", "k"], axis=1).sum())
CASES["value_counts"] = (
    None,
    {"value": lambda _: told(pd.Series(["a", "b", "b", "c", "a"]).value_counts().reset_index())},
)
compute("value_counts-ties", lambda: [str(item) for item in pd.Series(list("bcadbcad")).value_counts().index])
compute("mode-ties", lambda: pd.Series([2, 1, 2, 1, 3]).mode())
compute(
    "merge-left",
    lambda: frame().head(8).merge(pd.DataFrame({"key": [1, 0, 4], "y": [10, 20, 30]}), on="key", how="left"),
)
compute("merge-inner", lambda: frame().head(8).merge(pd.DataFrame({"key": [4, 1, 0], "y": [10, 20, 30]}), on="key"))
compute(
    "merge-outer",
    lambda: pd.DataFrame({"k": [3, 1]}).merge(pd.DataFrame({"k": [2, 1], "y": [1, 2]}), on="k", how="outer"),
)
compute("concat-empty", lambda: pd.concat([pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"a": []})]))
compute("concat-all-missing", lambda: pd.concat([pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"a": [None]})]))
compute("concat-booleans", lambda: pd.concat([pd.Series([True]), pd.Series([1.5])]))
compute("pivot_table", lambda: frame().pivot_table(index="group", columns="key", values="x"))
compute("crosstab", lambda: pd.crosstab(pd.Series(GROUPS), pd.Series(KEYS)))
compute("melt", lambda: pd.DataFrame({"a": [1], "b": [2]}).melt())
compute("stack", lambda: pd.DataFrame({"a": [1, None], "b": [2, 3]}).stack())
compute("get_dummies", lambda: pd.get_dummies(pd.DataFrame({"c": ["x", "y", "x"], "n": [1, 2, 3]})))
compute("get_dummies-missing", lambda: pd.get_dummies(pd.Series(["x", None, "y"]), dummy_na=True))
compute("get_dummies-as-array", lambda: pd.get_dummies(pd.DataFrame({"c": ["x", "y"], "n": [1.5, 2.5]})).values)
compute("cut", lambda: pd.cut(pd.Series(NUMBERS[:10]), 4))
compute("qcut", lambda: pd.qcut(pd.Series(NUMBERS[:10]), 3, labels=False))
compute("factorize", lambda: list(pd.factorize(np.array(["b", "a", "b"], dtype=object))[0]))
compute("category-codes", lambda: pd.Series(["b", "a", None, "c"]).astype("category").cat.codes)
compute("rank", lambda: pd.Series([3, 1, 3, 2]).rank())
compute("sort_values-ties", lambda: list(pd.DataFrame({"k": KEYS, "n": range(60)}).sort_values("k")["n"]))
compute("nlargest-ties", lambda: list(pd.Series(KEYS).nlargest(10).index))
compute("drop_duplicates", lambda: frame().drop_duplicates("group"))
compute("sample", lambda: list(frame().sample(10, random_state=1).index))
compute("describe", lambda: frame().describe())
compute("describe-dates", lambda: pd.Series(pd.to_datetime(["2026-01-01", "2026-01-03"])).describe())

# Types

compute("dtype-text", lambda: [str(pd.Series(["a"]).dtype), str(pd.Series(["a"]).dtype == object)])
compute("select_dtypes-object", lambda: list(table().select_dtypes("object").columns))
compute("select_dtypes-number", lambda: list(table().select_dtypes("number").columns))
compute("text-missing-value", lambda: [repr(pd.Series(["a", None])[1]), repr(pd.Series(["a", np.nan])[1])])
compute("text-astype-str", lambda: pd.Series(["a", None, 1.5]).astype(str))
compute("text-contains-missing", lambda: pd.Series(["ab", None]).str.contains("a"))
compute("text-compare-missing", lambda: pd.Series(["ab", None]) == "ab")
compute("text-concatenate", lambda: pd.Series(["a", None]) + "x")
compute("text-set-number", lambda: _set_number())
compute("index-text-dtype", lambda: [str(pd.Index(["a"]).dtype), str(pd.DataFrame({"a": [1]}).columns.dtype)])
compute(
    "index-integer-class",
    lambda: [type(pd.Index([1, 2])).__name__, str(pd.Index(np.array([1, 2], dtype="int8")).dtype)],
)
compute("fillna-downcast", lambda: pd.Series([1.0, None]).fillna(2))
compute("fillna-object", lambda: pd.Series([True, None], dtype=object).fillna(False))
compute("fillna-method", lambda: pd.Series([1.0, None]).fillna(method="ffill"))
compute("replace-object", lambda: pd.Series(["yes", "no"], dtype=object).replace({"yes": 1, "no": 0}))
compute("where-upcast", lambda: pd.Series([1, 2, 3]).where(pd.Series([True, False, True])))
compute("set-float-in-integers", lambda: _set_float())
compute("append-method", lambda: frame().head(1).append(frame().head(1)))
compute("iteritems-method", lambda: [name for name, _ in frame().iteritems()])
compute("applymap-method", lambda: pd.DataFrame({"a": [1]}).applymap(str))
compute("mean-mixed-columns", lambda: frame().mean())
compute("sum-booleans", lambda: pd.DataFrame({"a": [True, False]}).sum())
compute("any-object", lambda: [repr(pd.Series([0, "a"], dtype=object).any())])
compute("division-by-zero-nullable", lambda: pd.Series([0, 1], dtype="Int64") / 0)
compute("integer-position-getitem", lambda: pd.Series([10, 20], index=["a", "b"])[0])
compute("chained-assignment", lambda: _chained())
compute("view-of-column", lambda: _view())
compute("subset-then-assign", lambda: _subset())
compute("values-is-writable", lambda: [str(pd.DataFrame({"a": [1, 2]})["a"].values.flags.writeable)])
compute("inplace-on-column", lambda: _inplace())

# Numbers

compute("rolling-mean", lambda: pd.Series(NUMBERS).rolling(5).mean())
compute("rolling-std", lambda: pd.Series(NUMBERS).rolling(5).std())
compute("ewm-mean", lambda: pd.Series(NUMBERS).ewm(span=5).mean())
compute("expanding-sum", lambda: pd.Series(NUMBERS).expanding().sum())
compute("corr", lambda: pd.DataFrame(NUMBERS.reshape(20, 3)).corr())
compute("skew-kurt", lambda: [repr(float(pd.Series(NUMBERS).skew())), repr(float(pd.Series(NUMBERS).kurt()))])
compute("quantile", lambda: pd.Series(NUMBERS).quantile([0.1, 0.5]))
compute("interpolate", lambda: pd.Series([1.0, None, 3.0]).interpolate())
compute("pct_change-missing", lambda: pd.Series([1.0, None, 3.0]).pct_change())
compute("cumsum", lambda: pd.Series(NUMBERS).cumsum())
compute("hash", lambda: pd.util.hash_pandas_object(pd.DataFrame({"a": [1, 2], "t": ["x", "y"]})))
compute("eval", lambda: pd.DataFrame({"a": [1, 2], "b": [3, 4]}).eval("a + b"))
compute("query", lambda: frame().query("x > 0.5 and group == 'a'").x)
compute("str-methods", lambda: pd.Series(["A b", "C d"]).str.lower().str.split(" ").str[0])
compute("str-replace-pattern", lambda: pd.Series(["a.b", "axb"]).str.replace("a.b", "z"))
compute("str-extract", lambda: pd.Series(["a1", "b2"]).str.extract(r"([a-z])(\d)"))
compute("explode", lambda: pd.Series([[1, 2], [3]]).explode())
compute("to_numpy-mixed", lambda: pd.DataFrame({"a": [1], "b": [1.5]}).to_numpy())
compute("bool-any-mixed", lambda: pd.DataFrame({"a": [0, 1], "b": ["", "x"]}).any())
compute("repr", lambda: repr(pd.DataFrame({"a": [1.5, None], "t": ["x", None]})).splitlines())


def _chained():
    data = pd.DataFrame({"a": [1, 2]})
    data["a"][0] = 99
    return data


def _view():
    data = pd.DataFrame({"a": [1, 2]})
    column = data["a"]
    column.iloc[0] = 99
    return data


def _subset():
    data = pd.DataFrame({"a": [1, 2, 3], "b": [4, 5, 6]})
    part = data[["a"]]
    part.iloc[0, 0] = 99
    return data


def _inplace():
    data = pd.DataFrame({"a": [1.0, None]})
    data["a"].fillna(0.0, inplace=True)
    return data


def _set_float():
    data = pd.Series([1, 2, 3])
    data.iloc[0] = 1.5
    return data


def _set_number():
    data = pd.Series(["a", "b"])
    data.iloc[0] = 1
    return data
