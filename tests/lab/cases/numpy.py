"""
numpy: arrays and generators that are pickled, and what is computed, sorted, drawn, converted and printed.

Python 3.8 and newer. Inputs are made without numpy's generators where the case is not about them.
"""

import numpy as np


def _noise(count, seed=1):
    """Numbers in [-1, 1) that no library decides: a linear congruential generator."""
    found, state = [], seed
    for _ in range(count):
        state = (6364136223846793005 * state + 1442695040888963407) % 2**64
        found.append((state >> 11) / 2.0**52 - 1.0)
    return found


A64 = np.array(_noise(40000), dtype=np.float64)
A32 = A64.astype(np.float32)
A16 = A64[:4000].astype(np.float16)
P64 = np.abs(A64) + 1e-3
I64 = (A64 * 1000).astype(np.int64)
TIES = (A64[:20000] * 40).astype(np.int64)
TIES32 = TIES.astype(np.float32)
M = A64[:40000].reshape(200, 200)
WORDS = np.array(["w%d" % (abs(n) % 97) for n in I64[:3000]])

CASES = {}


def compute(name, **uses):
    CASES[name] = (None, {key: _without(use) for key, use in uses.items()})


def _without(use):
    return lambda _: use()


def pickled(name, make, **uses):
    CASES[name] = (make, uses)


# What is pickled

pickled("ndarray-float64", lambda: M, values=lambda a: a, total=lambda a: a.tobytes())
pickled("ndarray-float32", lambda: A32, values=lambda a: a)
pickled("ndarray-fortran", lambda: np.asfortranarray(M), values=lambda a: a, order=lambda a: str(a.flags.f_contiguous))
pickled("ndarray-text", lambda: WORDS, values=lambda a: a)
pickled("ndarray-object", lambda: np.array([1, "two", None, 3.5], dtype=object), values=lambda a: a)
pickled(
    "ndarray-record",
    lambda: np.array([(1, 2.5, "a"), (2, 3.5, "b")], dtype=[("n", "i4"), ("x", "f8"), ("t", "U3")]),
    n=lambda a: a["n"], x=lambda a: a["x"], t=lambda a: a["t"], kind=lambda a: str(a.dtype),
)  # fmt: skip
pickled(
    "ndarray-datetime", lambda: np.array(["2026-01-02", "NaT"], dtype="datetime64[ns]"), values=lambda a: a.astype(str)
)
pickled("ndarray-masked", lambda: np.ma.masked_array(A64[:50], mask=A64[:50] > 0), values=lambda a: a.filled(9.0))
pickled("ndarray-matrix", lambda: np.matrix([[1.0, 2.0], [3.0, 4.0]]), values=lambda a: np.asarray(a @ a))
pickled("ndarray-recarray", lambda: np.rec.array([(1, 2.0), (3, 4.0)], names="a,b"), values=lambda a: a.b)
pickled("scalar-float64", lambda: np.float64(0.1), values=lambda a: a + 1)
pickled("scalar-int64", lambda: np.int64(7), values=lambda a: a + 1)
pickled("scalar-str", lambda: np.str_("word"), values=lambda a: str(a))
pickled("dtype", lambda: np.dtype([("n", "<i4"), ("x", "<f8")]), values=lambda a: str(a))
pickled("ufunc", lambda: np.log1p, values=lambda f: f(P64[:100]))
pickled("poly1d", lambda: np.poly1d([1.0, 2.0, 3.0]), values=lambda f: f(A64[:100]))
pickled("Polynomial", lambda: np.polynomial.Polynomial([1.0, 2.0, 3.0]), values=lambda f: f(A64[:100]))
pickled("RandomState", lambda: np.random.RandomState(7), values=lambda r: r.normal(size=50))
pickled("Generator-PCG64", lambda: np.random.default_rng(7), values=lambda r: r.normal(size=50))
pickled("Generator-MT19937", lambda: np.random.Generator(np.random.MT19937(7)), values=lambda r: r.normal(size=50))
pickled("Generator-Philox", lambda: np.random.Generator(np.random.Philox(7)), values=lambda r: r.normal(size=50))
pickled("Generator-SFC64", lambda: np.random.Generator(np.random.SFC64(7)), values=lambda r: r.normal(size=50))
pickled("SeedSequence", lambda: np.random.SeedSequence(7), values=lambda s: s.generate_state(8))
pickled("BitGenerator-PCG64", lambda: np.random.PCG64(7), values=lambda b: b.random_raw(8))

# Sorting and searching

compute("argsort-ties", int64=lambda: np.argsort(TIES), float32=lambda: np.argsort(TIES32))
compute("argsort-ties-stable", int64=lambda: np.argsort(TIES, kind="stable"))
compute("argsort-ties-rows", values=lambda: np.argsort(TIES.reshape(100, 200), axis=1))
compute("argpartition-ties", values=lambda: np.argpartition(TIES, 500)[:500])
compute("top-k-ties", values=lambda: np.argsort(-TIES32)[:50])
compute("sort", float64=lambda: np.sort(A64), int64=lambda: np.sort(TIES), float32=lambda: np.sort(A32))
compute("partition", values=lambda: np.sort(np.partition(A64, 100)[:100]))
compute("argmax", values=lambda: np.argmax(TIES32.reshape(100, 200), axis=1))
compute("lexsort", values=lambda: np.lexsort((TIES[::-1], TIES)))
compute("searchsorted", values=lambda: np.searchsorted(np.sort(A64), A64[:500]))
compute("unique", values=lambda: np.unique(TIES), counts=lambda: np.unique(TIES, return_counts=True)[1])
compute("unique-index", values=lambda: np.unique(TIES, return_index=True)[1])
compute("unique-inverse-2d", values=lambda: np.unique(TIES.reshape(100, 200), return_inverse=True)[1])
compute("unique-text", values=lambda: np.unique(WORDS))
compute("unique-nan", values=lambda: np.unique(np.array([1.0, np.nan, np.nan])))
compute("intersect1d", values=lambda: np.intersect1d(TIES[:500], TIES[500:1000]))

# Reductions and products

compute(
    "sum-float32",
    flat=lambda: A32.sum(),
    rows=lambda: A32.reshape(200, 200).sum(axis=1),
    columns=lambda: A32.reshape(200, 200).sum(axis=0),
)
compute("sum-float64", flat=lambda: A64.sum(), rows=lambda: M.sum(axis=1), strided=lambda: A64[::3].sum())
compute("mean-float32", values=lambda: A32.mean(), rows=lambda: A32.reshape(200, 200).mean(axis=1))
compute("std-var", values=lambda: A64.std(), float32=lambda: A32.var(), rows=lambda: M.std(axis=0, ddof=1))
compute("cumsum", values=lambda: np.cumsum(A64))
compute("prod", values=lambda: np.prod(1 + A64[:300] / 100))
compute("dot", values=lambda: M @ M, vector=lambda: M @ M[0], float32=lambda: A32[:40000].reshape(200, 200) @ A32[:200])
compute("einsum", values=lambda: np.einsum("ij,kj->ik", M, M))
compute("norm", values=lambda: np.linalg.norm(M, axis=1), flat=lambda: np.linalg.norm(A64))
compute("svd", values=lambda: np.linalg.svd(M, compute_uv=False))
compute("svd-vectors", values=lambda: np.linalg.svd(M[:40, :30], full_matrices=False)[0])
compute("eigh", values=lambda: np.linalg.eigvalsh(M + M.T))
compute("solve", values=lambda: np.linalg.solve(M + 20 * np.eye(200), A64[:200]))
compute(
    "solve-stacked-vectors", values=lambda: np.linalg.solve(np.stack([np.eye(3)] * 3), np.arange(9.0).reshape(3, 3))
)
compute("inv-det", values=lambda: np.linalg.inv(M + 20 * np.eye(200)), det=lambda: np.linalg.det(M[:20, :20]))
compute("lstsq", values=lambda: np.linalg.lstsq(M[:, :20], A64[:200], rcond=None)[0])
compute(
    "lstsq-default-rcond",
    values=lambda: np.linalg.lstsq(np.array([[1.0, 1.0], [1.0, 1.0 + 1e-15]]), np.array([1.0, 2.0]))[0],
)
compute("pinv", values=lambda: np.linalg.pinv(M[:, :30]))
compute("corrcoef", values=lambda: np.corrcoef(M[:20]))
compute("convolve", values=lambda: np.convolve(A64[:2000], A64[:50]))
compute("fft", values=lambda: np.fft.fft(A64[:4096]), odd=lambda: np.fft.rfft(A64[:3001]))
compute("fft-float32", values=lambda: np.fft.fft(A32[:4096]))

# Elementary functions

for _name in ("exp", "sin", "cos", "tanh", "arctan", "cbrt", "expm1"):
    compute(
        _name,
        float64=(lambda f: lambda: getattr(np, f)(A64 * 5))(_name),
        float32=(lambda f: lambda: getattr(np, f)(A32 * np.float32(5)))(_name),
    )
for _name in ("log", "log1p", "log2", "sqrt"):
    compute(
        _name,
        float64=(lambda f: lambda: getattr(np, f)(P64))(_name),
        float32=(lambda f: lambda: getattr(np, f)(P64.astype(np.float32)))(_name),
    )
compute("power", float64=lambda: P64**1.7, float32=lambda: P64.astype(np.float32) ** np.float32(1.7))
compute("float16", values=lambda: np.exp(A16), total=lambda: A16.sum())
compute("logaddexp", values=lambda: np.logaddexp(A64, A64[::-1]))
compute("round", values=lambda: np.round(A64, 3), half=lambda: np.round(np.array([0.5, 1.5, 2.5, -0.5])))
compute("floor-divide", values=lambda: A64 // 0.01, remainder=lambda: A64 % 0.01)
compute("sign-complex", values=lambda: np.sign(np.array([3 + 4j, -1j, 0])))
compute("clip", values=lambda: np.clip(I64, -100, 100))

# Grids, quantiles, histograms

compute("linspace", values=lambda: np.linspace(0.1, 7.3, 1001), integers=lambda: np.linspace(-3.5, 3.5, 9, dtype=int))
compute("arange", values=lambda: np.arange(0.1, 5.0, 0.1))
compute("geomspace", values=lambda: np.geomspace(0.01, 900, 100))
compute("quantile", values=lambda: np.quantile(A64, [0.1, 0.5, 0.9]), rows=lambda: np.quantile(M, 0.3, axis=1))
compute("quantile-float32", values=lambda: np.quantile(A32, [0.1, 0.5, 0.9]))
compute(
    "percentile-methods",
    values=lambda: np.array(
        [np.percentile(A64, 33, method=m) for m in ("linear", "lower", "hazen", "weibull", "median_unbiased")]
    ),
)
compute("median", values=lambda: np.median(M, axis=0), nan=lambda: np.nanmedian(np.where(M > 0.9, np.nan, M), axis=0))
compute("histogram", values=lambda: np.histogram(A64, bins=20)[0], edges=lambda: np.histogram(A64, bins="auto")[1])
compute("histogram-integers", values=lambda: np.histogram(TIES[:60], bins="auto")[0])
compute("digitize", values=lambda: np.digitize(A64, np.linspace(-1, 1, 11)))
compute("interp", values=lambda: np.interp(A64[:500], np.linspace(-1, 1, 50), np.cumsum(A64[:50])))
compute("gradient", values=lambda: np.gradient(A64[:500]))
compute("polyfit", values=lambda: np.polyfit(A64[:200], A64[200:400], 3))
compute("cov", values=lambda: np.cov(M[:20]))

# Random streams

compute(
    "random-RandomState",
    uniform=lambda: np.random.RandomState(3).rand(50),
    normal=lambda: np.random.RandomState(3).normal(size=50),
    permutation=lambda: np.random.RandomState(3).permutation(100),
)
compute(
    "random-RandomState-more",
    choice=lambda: np.random.RandomState(3).choice(100, 20, replace=False),
    gamma=lambda: np.random.RandomState(3).gamma(2.0, size=30),
    poisson=lambda: np.random.RandomState(3).poisson(4.0, size=30),
    multinomial=lambda: np.random.RandomState(3).multinomial(20, [0.2, 0.3, 0.5]),
)
compute(
    "random-Generator",
    uniform=lambda: np.random.default_rng(3).random(50),
    normal=lambda: np.random.default_rng(3).normal(size=50),
    integers=lambda: np.random.default_rng(3).integers(0, 1000, 50),
)
compute("random-Generator-float32", normal=lambda: np.random.default_rng(3).standard_normal(50, dtype=np.float32))
compute(
    "random-Generator-shuffle",
    permutation=lambda: np.random.default_rng(3).permutation(100),
    choice=lambda: np.random.default_rng(3).choice(100, 20, replace=False),
    weighted=lambda: np.random.default_rng(3).choice(5, 30, p=[0.1, 0.2, 0.3, 0.2, 0.2]),
)
compute(
    "random-Generator-more",
    gamma=lambda: np.random.default_rng(3).gamma(2.0, size=30),
    beta=lambda: np.random.default_rng(3).beta(2.0, 3.0, size=30),
    poisson=lambda: np.random.default_rng(3).poisson(4.0, size=30),
    dirichlet=lambda: np.random.default_rng(3).dirichlet([1.0, 2.0, 3.0], size=5),
)
compute(
    "random-Generator-binomial",
    binomial=lambda: np.random.default_rng(3).binomial(100, 0.3, size=30),
    geometric=lambda: np.random.default_rng(3).geometric(0.2, size=30),
    hypergeometric=lambda: np.random.default_rng(3).hypergeometric(20, 30, 15, size=30),
)
compute(
    "random-Generator-multivariate",
    values=lambda: np.random.default_rng(3).multivariate_normal([0.0, 1.0], [[2.0, 0.5], [0.5, 1.0]], size=10),
)

# Types: what a mixed expression gives, what a conversion gives

compute("promotion-float32-python-float", values=lambda: np.float32(3) + 3.0)
compute("promotion-float32-float64-scalar", values=lambda: A32[:5] * np.float64(0.1))
compute("promotion-uint8-python-int", values=lambda: np.uint8(200) + 100)
compute("promotion-uint8-array-300", values=lambda: np.arange(5, dtype=np.uint8) + 300)
compute("promotion-int8-array-int64-scalar", values=lambda: np.arange(5, dtype=np.int8) + np.int64(300))
compute("promotion-float16-array-large", values=lambda: A16[:5] + 70000.0)
compute("promotion-where", values=lambda: np.where(A32[:5] > 0, A32[:5], np.float64(0.0)))
compute("promotion-mean-of-integers", values=lambda: I64.mean(), small=lambda: np.arange(10, dtype=np.int8).sum())
compute("cast-negative-to-uint8", values=lambda: np.array([-1, 300]).astype(np.uint8))
compute("cast-python-int-to-uint8", values=lambda: np.array([-1], dtype=np.uint8))
compute("cast-nan-to-int", values=lambda: np.array([np.nan, np.inf, -np.inf, 1e30]).astype(np.int64))
compute("cast-float-to-int", values=lambda: (A64 * 1e6).astype(np.int32))
compute("cast-text-to-float", values=lambda: np.array(["1.5", "1e-3"]).astype(float))
compute("cast-float-to-text", values=lambda: A64[:50].astype(str), narrow=lambda: A32[:50].astype(str))
compute("compare-uint8-large", values=lambda: np.arange(5, dtype=np.uint8) < 300)
compute("default-integer", values=lambda: np.array([1, 2]), zeros=lambda: np.zeros(3, dtype=int))

# What is printed and parsed

compute(
    "repr-scalars", values=lambda: [repr(np.float64(0.1)), repr(np.int64(3)), repr(np.bool_(True)), repr(np.str_("a"))]
)
compute(
    "str-scalars", values=lambda: [str(np.float64(0.1)), str(np.float32(0.1)), str(np.int64(3)), str(np.float64(1e16))]
)
compute("format-list", values=lambda: str([np.float64(0.1), np.int64(2)]))
compute(
    "repr-array", values=lambda: repr(A64[:6]), wide=lambda: repr(M), mixed=lambda: repr(np.array([1e-10, 1.0, 1e10]))
)
compute("array2string-complex", values=lambda: str(np.array([1 + 2j, -0.5j])))
compute("savetxt", values=lambda: _saved())
compute("npy-bytes", values=lambda: _npy(M))
compute("fromstring", values=lambda: np.fromstring("1 2 3", sep=" "))
compute("genfromtxt", values=lambda: np.genfromtxt(["1,2", "3,x"], delimiter=","))
compute(
    "datetime",
    values=lambda: np.array(["2026-03-01", "2024-02-29"], dtype="datetime64[D]").astype(str),
    days=lambda: np.busday_count("2026-01-01", "2026-12-31"),
)


def _saved():
    import io

    out = io.StringIO()
    np.savetxt(out, A64[:20])
    return out.getvalue().split()


def _npy(array):
    import io

    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()
