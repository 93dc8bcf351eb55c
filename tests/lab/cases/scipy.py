"""
scipy: sparse matrices, distributions, interpolators and trees that are pickled, and what is computed.

Python 3.8 and newer.
"""

import importlib

import numpy as np

STATE = np.random.RandomState(11)
A = STATE.normal(size=(60, 60))
V = STATE.normal(size=400)
W = STATE.normal(loc=0.2, size=400)
POINTS = STATE.normal(size=(80, 3))
GRID = np.linspace(0, 6, 40)
WAVE = np.sin(GRID)

CASES = {}


def sub(name):
    return importlib.import_module("scipy." + name)


def get(place, name):
    module = sub(place)
    if not hasattr(module, name):
        raise ImportError("no scipy.%s.%s" % (place, name))
    return getattr(module, name)


def compute(name, *steps, **named):
    uses = {"value": steps[0]} if steps else named
    CASES[name] = (None, {key: (lambda step: lambda _: step())(step) for key, step in uses.items()})


def pickled(name, make, **uses):
    CASES[name] = (make, uses)


DENSE = np.where(A > 1.2, A, 0.0)
for _kind in ("csr", "csc", "coo", "bsr", "lil", "dok", "dia"):
    pickled(
        "%s_matrix" % _kind,
        (lambda kind: lambda: get("sparse", kind + "_matrix")(DENSE))(_kind),
        values=lambda m: m.toarray(),
        product=lambda m: m @ A[0],
    )
for _kind in ("csr", "csc", "coo"):
    pickled(
        "%s_array" % _kind,
        (lambda kind: lambda: get("sparse", kind + "_array")(DENSE))(_kind),
        values=lambda m: m.toarray(),
        product=lambda m: m @ A[0],
    )
pickled(
    "interp1d", lambda: get("interpolate", "interp1d")(GRID, WAVE, kind="cubic"), values=lambda f: f(GRID[:-1] + 0.03)
)
pickled("interp1d-linear", lambda: get("interpolate", "interp1d")(GRID, WAVE), values=lambda f: f(GRID[:-1] + 0.03))
pickled("CubicSpline", lambda: get("interpolate", "CubicSpline")(GRID, WAVE), values=lambda f: f(GRID + 0.03))
pickled(
    "PchipInterpolator",
    lambda: get("interpolate", "PchipInterpolator")(GRID, WAVE),
    values=lambda f: f(GRID[:-1] + 0.03),
)
pickled(
    "Akima1DInterpolator",
    lambda: get("interpolate", "Akima1DInterpolator")(GRID, WAVE),
    values=lambda f: f(GRID[:-1] + 0.03),
)
pickled("BSpline", lambda: get("interpolate", "make_interp_spline")(GRID, WAVE), values=lambda f: f(GRID[:-1] + 0.03))
pickled(
    "UnivariateSpline",
    lambda: get("interpolate", "UnivariateSpline")(GRID, WAVE, s=0.01),
    values=lambda f: f(GRID[:-1] + 0.03),
)
pickled(
    "RBFInterpolator",
    lambda: get("interpolate", "RBFInterpolator")(POINTS, V[:80]),
    values=lambda f: f(POINTS[:20] + 0.1),
)
pickled(
    "RegularGridInterpolator",
    lambda: get("interpolate", "RegularGridInterpolator")((GRID, GRID), np.outer(WAVE, WAVE)),
    values=lambda f: f(np.abs(POINTS[:, :2])),
)
pickled(
    "LinearNDInterpolator",
    lambda: get("interpolate", "LinearNDInterpolator")(POINTS[:, :2], V[:80]),
    values=lambda f: f(POINTS[:20, :2] * 0.5),
)
pickled(
    "NearestNDInterpolator",
    lambda: get("interpolate", "NearestNDInterpolator")(POINTS, V[:80]),
    values=lambda f: f(POINTS[:20] + 0.1),
)
pickled("KDTree", lambda: get("spatial", "KDTree")(POINTS), values=lambda t: t.query(POINTS[:20] + 0.1, k=3)[1])
pickled("cKDTree", lambda: get("spatial", "cKDTree")(POINTS), values=lambda t: t.query(POINTS[:20] + 0.1, k=3)[0])
pickled(
    "Rotation",
    lambda: get("spatial.transform", "Rotation").from_euler("xyz", [0.1, 0.2, 0.3]),
    values=lambda r: r.apply(POINTS[:5]),
)
pickled("gaussian_kde", lambda: get("stats", "gaussian_kde")(V), values=lambda k: k(GRID))
pickled(
    "norm-frozen",
    lambda: get("stats", "norm")(0.1, 2.0),
    values=lambda d: d.ppf([0.1, 0.5, 0.99]),
    density=lambda d: d.pdf(V[:20]),
)
pickled("gamma-frozen", lambda: get("stats", "gamma")(2.5), values=lambda d: d.cdf([0.1, 0.5, 3.0]))
pickled("randint-frozen", lambda: get("stats", "randint")(1, 9), values=lambda d: d.rvs(size=20, random_state=3))
pickled("uniform-frozen", lambda: get("stats", "uniform")(1, 9), values=lambda d: d.rvs(size=20, random_state=3))
pickled(
    "loguniform-frozen", lambda: get("stats", "loguniform")(0.01, 10), values=lambda d: d.rvs(size=20, random_state=3)
)
pickled(
    "multivariate_normal-frozen",
    lambda: get("stats", "multivariate_normal")([0.0, 1.0], [[2.0, 0.3], [0.3, 1.0]]),
    values=lambda d: d.logpdf(POINTS[:, :2]),
)
pickled("rv_histogram", lambda: get("stats", "rv_histogram")(np.histogram(V, bins=20)), values=lambda d: d.cdf(GRID))
pickled("OptimizeResult", lambda: get("optimize", "OptimizeResult")(x=V[:3], fun=1.0), values=lambda r: r.x)
pickled("ttest-result", lambda: get("stats", "ttest_ind")(V, W), values=lambda r: r.pvalue)
pickled("linregress-result", lambda: get("stats", "linregress")(V, W), values=lambda r: r.slope)

compute(
    "special-gamma",
    gamma=lambda: sub("special").gammaln(np.abs(V) + 0.1),
    digamma=lambda: sub("special").digamma(np.abs(V) + 0.1),
    beta=lambda: sub("special").betainc(2.0, 3.0, np.abs(V) % 1),
)
compute(
    "special-erf",
    erf=lambda: sub("special").erf(V),
    inverse=lambda: sub("special").erfinv(np.tanh(V)),
    normal=lambda: sub("special").ndtri(np.abs(V) % 1 * 0.98 + 0.01),
)
compute(
    "special-expit",
    expit=lambda: sub("special").expit(V * 4),
    logit=lambda: sub("special").logit(np.abs(np.tanh(V))),
    expit32=lambda: sub("special").expit((V * 4).astype(np.float32)),
)
compute(
    "special-softmax",
    softmax=lambda: sub("special").softmax(A, axis=1),
    logsumexp=lambda: sub("special").logsumexp(A, axis=1),
)
compute(
    "special-bessel",
    jv=lambda: sub("special").jv(1.5, np.abs(V)),
    kv=lambda: sub("special").kv(1.5, np.abs(V) + 0.1),
    i0=lambda: sub("special").i0(V),
)
compute(
    "special-xlogy",
    xlogy=lambda: sub("special").xlogy(np.abs(V), np.abs(W)),
    entr=lambda: sub("special").entr(np.abs(V)),
)
compute(
    "special-combinations",
    values=lambda: sub("special").comb(np.arange(30), 5),
    exact=lambda: sub("special").comb(60, 30, exact=True),
)
compute("special-sph_harm", lambda: sub("special").sph_harm(1, 2, 0.3, 0.4))
compute("linalg-eigh", lambda: sub("linalg").eigvalsh(A + A.T))
compute("linalg-svd", lambda: sub("linalg").svdvals(A))
compute("linalg-solve", lambda: sub("linalg").solve(A + 20 * np.eye(60), V[:60]))
compute("linalg-inv", lambda: sub("linalg").inv(A + 20 * np.eye(60)))
compute("linalg-cholesky", lambda: sub("linalg").cholesky(A @ A.T + np.eye(60)))
compute("linalg-qr", lambda: np.abs(sub("linalg").qr(A)[1]))
compute("linalg-expm", lambda: sub("linalg").expm(A / 20))
compute(
    "linalg-logm-sqrtm",
    logm=lambda: sub("linalg").logm(A @ A.T / 60 + np.eye(60)),
    sqrtm=lambda: sub("linalg").sqrtm(A @ A.T + np.eye(60)),
)
compute("linalg-lstsq", lambda: sub("linalg").lstsq(A[:, :5], V[:60])[0])
compute("linalg-pinv", lambda: sub("linalg").pinv(A[:, :10]))
compute("linalg-det", lambda: sub("linalg").det(A[:20, :20]))
compute("linalg-kron-name", lambda: hasattr(sub("linalg"), "kron"))
compute("sparse-product", lambda: (get("sparse", "csr_matrix")(DENSE) @ get("sparse", "csr_matrix")(DENSE.T)).toarray())
compute(
    "sparse-spsolve", lambda: sub("sparse.linalg").spsolve(get("sparse", "csc_matrix")(DENSE + 9 * np.eye(60)), V[:60])
)
compute(
    "sparse-eigsh",
    lambda: np.sort(sub("sparse.linalg").eigsh(get("sparse", "csr_matrix")(DENSE + DENSE.T), k=4, v0=np.ones(60))[0]),
)
compute(
    "sparse-svds",
    lambda: np.sort(sub("sparse.linalg").svds(get("sparse", "csr_matrix")(DENSE), k=4, v0=np.ones(60))[1]),
)
compute("sparse-cg-tol", lambda: sub("sparse.linalg").cg(A @ A.T + 60 * np.eye(60), V[:60], tol=1e-8)[0])
compute("sparse-gmres", lambda: sub("sparse.linalg").gmres(A + 20 * np.eye(60), V[:60])[0])
compute("sparse-lsqr", lambda: sub("sparse.linalg").lsqr(A[:, :5], V[:60])[0])
compute("sparse-random", lambda: get("sparse", "random")(20, 20, density=0.2, random_state=3).toarray())
compute(
    "sparse-sum-type",
    lambda: [type(get("sparse", "csr_matrix")(DENSE).sum(axis=0)).__name__, type(get("sparse", "eye")(3)).__name__],
)
compute("sparse-getattr-A", lambda: get("sparse", "csr_matrix")(DENSE).A)
compute("fft", fft=lambda: sub("fft").fft(V), dct=lambda: sub("fft").dct(V), odd=lambda: sub("fft").rfft(V[:397]))
compute("fftpack", lambda: sub("fftpack").dct(V))
compute(
    "signal-butter",
    coefficients=lambda: np.concatenate(sub("signal").butter(4, 0.2)),
    filtered=lambda: sub("signal").filtfilt(*sub("signal").butter(3, 0.2), V),
)
compute(
    "signal-resample",
    fourier=lambda: sub("signal").resample(V, 150),
    polyphase=lambda: sub("signal").resample_poly(V, 3, 2),
)
compute("signal-welch", lambda: sub("signal").welch(V, nperseg=64)[1])
compute("signal-spectrogram", lambda: sub("signal").spectrogram(V, nperseg=64)[2])
compute("signal-stft", lambda: np.abs(sub("signal").stft(V, nperseg=64)[2]))
compute("signal-savgol", lambda: sub("signal").savgol_filter(V, 11, 3))
compute("signal-peaks", lambda: sub("signal").find_peaks(V, height=0.5)[0])
compute("signal-medfilt", lambda: sub("signal").medfilt(V, 5))
compute("signal-decimate", lambda: sub("signal").decimate(V, 4))
compute(
    "signal-window", hann=lambda: sub("signal.windows").hann(51), kaiser=lambda: sub("signal.windows").kaiser(51, 8.0)
)
compute("signal-window-old-name", lambda: getattr(sub("signal"), "hann")(51))
compute(
    "signal-cwt-old-name", lambda: getattr(sub("signal"), "cwt")(V, getattr(sub("signal"), "ricker"), np.arange(1, 5))
)
compute("signal-convolve", lambda: sub("signal").fftconvolve(V, W[:30]))
compute("signal-hilbert", lambda: np.abs(sub("signal").hilbert(V)))
compute("integrate-quad", lambda: [repr(sub("integrate").quad(lambda x: np.exp(-x * x), 0, 3)[0])])
compute("integrate-simpson-even", lambda: sub("integrate").simpson(WAVE, x=GRID))
compute("integrate-trapz-old-name", lambda: getattr(sub("integrate"), "trapz")(WAVE, GRID))
compute("integrate-ivp", lambda: sub("integrate").solve_ivp(lambda t, y: -0.5 * y, (0, 4), [1.0]).y)
compute(
    "optimize-minimize",
    lambda: sub("optimize").minimize(lambda x: ((x - 1) ** 2).sum() + (x[0] * x[1]) ** 2, np.zeros(3)).x,
)
compute(
    "optimize-nelder-mead",
    lambda: sub("optimize").minimize(lambda x: ((x - 1) ** 2).sum(), np.zeros(3), method="Nelder-Mead").x,
)
compute(
    "optimize-lbfgs", lambda: sub("optimize").minimize(lambda x: ((x - 1) ** 4).sum(), np.zeros(6), method="L-BFGS-B").x
)
compute(
    "optimize-slsqp",
    lambda: (
        sub("optimize").minimize(lambda x: ((x - 1) ** 2).sum(), np.zeros(3), method="SLSQP", bounds=[(0, 0.5)] * 3).x
    ),
)
compute(
    "optimize-curve_fit", lambda: sub("optimize").curve_fit(lambda x, a, b: a * np.sin(x) + b, GRID, WAVE * 2 + 0.3)[0]
)
compute("optimize-least_squares", lambda: sub("optimize").least_squares(lambda x: A[:, :3] @ x - V[:60], np.zeros(3)).x)
compute("optimize-linprog", lambda: sub("optimize").linprog([1, 2], A_ub=[[-1, -1]], b_ub=[-1]).x)
compute("optimize-assignment", lambda: sub("optimize").linear_sum_assignment(A)[1])
compute(
    "optimize-differential-evolution",
    lambda: (
        sub("optimize").differential_evolution(lambda x: ((x - 0.3) ** 2).sum(), [(-1, 1)] * 2, seed=3, maxiter=15).x
    ),
)
compute(
    "optimize-dual-annealing",
    lambda: sub("optimize").dual_annealing(lambda x: ((x - 0.3) ** 2).sum(), [(-1, 1)] * 2, seed=3, maxiter=15).x,
)
compute("optimize-brentq", lambda: sub("optimize").brentq(lambda x: x**3 - 2, 0, 2))
compute(
    "cluster-linkage",
    ward=lambda: sub("cluster.hierarchy").linkage(POINTS, "ward"),
    labels=lambda: sub("cluster.hierarchy").fcluster(
        sub("cluster.hierarchy").linkage(POINTS, "average"), 4, "maxclust"
    ),
)
compute("cluster-kmeans2", lambda: sub("cluster.vq").kmeans2(POINTS, 3, seed=3, minit="++")[1])
compute(
    "distance",
    euclidean=lambda: sub("spatial.distance").pdist(POINTS),
    cosine=lambda: sub("spatial.distance").cdist(POINTS, POINTS[:5], "cosine"),
    mahalanobis=lambda: sub("spatial.distance").cdist(POINTS, POINTS[:5], "mahalanobis", VI=np.eye(3)),
)
compute(
    "distance-boolean",
    jaccard=lambda: sub("spatial.distance").pdist(POINTS > 0, "jaccard"),
    kulczynski=lambda: sub("spatial.distance").pdist(POINTS > 0, "rogerstanimoto"),
)
compute("distance-jaccard-zeros", lambda: sub("spatial.distance").jaccard([0, 0], [0, 0]))
compute(
    "distance-minkowski-weights", lambda: sub("spatial.distance").pdist(POINTS, "minkowski", p=3, w=[1.0, 2.0, 3.0])
)
compute("spatial-delaunay", lambda: np.sort(sub("spatial").Delaunay(POINTS[:, :2]).simplices.ravel()))
compute("ndimage-zoom", linear=lambda: sub("ndimage").zoom(A, 1.5, order=1), cubic=lambda: sub("ndimage").zoom(A, 1.5))
compute("ndimage-rotate", lambda: sub("ndimage").rotate(A, 30.0))
compute("ndimage-gaussian", lambda: sub("ndimage").gaussian_filter(A, 1.5))
compute("ndimage-median", lambda: sub("ndimage").median_filter(A, 3))
compute("ndimage-label", lambda: sub("ndimage").label(A > 0.5)[0])
compute("ndimage-distance", lambda: sub("ndimage").distance_transform_edt(A > 0))
compute("ndimage-affine", lambda: sub("ndimage").affine_transform(A, [[0.9, 0.1], [-0.1, 0.9]]))
compute(
    "stats-tests",
    t=lambda: sub("stats").ttest_ind(V, W).pvalue,
    u=lambda: sub("stats").mannwhitneyu(V, W).pvalue,
    ks=lambda: sub("stats").ks_2samp(V, W).pvalue,
    shapiro=lambda: sub("stats").shapiro(V[:100]).pvalue,
    wilcoxon=lambda: sub("stats").wilcoxon(V, W).pvalue,
)
compute("stats-wilcoxon-ties", lambda: sub("stats").wilcoxon(np.round(V[:40], 1), np.round(W[:40], 1)).pvalue)
compute("stats-mannwhitney-small", lambda: sub("stats").mannwhitneyu(V[:7], W[:8]).pvalue)
compute("stats-anderson", lambda: sub("stats").anderson(V).statistic)
compute(
    "stats-correlation",
    pearson=lambda: sub("stats").pearsonr(V, W)[0],
    spearman=lambda: sub("stats").spearmanr(V, W)[0],
    kendall=lambda: sub("stats").kendalltau(V, W)[0],
)
compute(
    "stats-mode",
    lambda: [
        str(np.shape(sub("stats").mode(np.array([[1, 2], [1, 3]]))[0])),
        str(np.ravel(sub("stats").mode(np.array([[1, 2], [1, 3]]))[0]).tolist()),
    ],
)
compute(
    "stats-moments",
    skew=lambda: sub("stats").skew(V),
    kurtosis=lambda: sub("stats").kurtosis(V),
    zscore=lambda: sub("stats").zscore(V),
    entropy=lambda: sub("stats").entropy(np.abs(V)),
)
compute(
    "stats-boxcox",
    values=lambda: sub("stats").boxcox(np.abs(V) + 0.1)[0],
    power=lambda: sub("stats").boxcox(np.abs(V) + 0.1)[1],
)
compute("stats-yeojohnson", values=lambda: sub("stats").yeojohnson(V)[0], power=lambda: sub("stats").yeojohnson(V)[1])
compute(
    "stats-fit",
    gamma=lambda: np.array(sub("stats").gamma.fit(np.abs(V) + 0.1, floc=0)),
    norm=lambda: np.array(sub("stats").norm.fit(V)),
    weibull=lambda: np.array(sub("stats").weibull_min.fit(np.abs(V) + 0.1, floc=0)),
)
compute(
    "stats-random",
    norm=lambda: sub("stats").norm.rvs(size=20, random_state=3),
    gamma=lambda: sub("stats").gamma.rvs(2.0, size=20, random_state=3),
    t=lambda: sub("stats").t.rvs(5, size=20, random_state=3),
    wishart=lambda: sub("stats").wishart.rvs(5, np.eye(2), random_state=3),
)
compute("stats-sobol", lambda: sub("stats.qmc").Sobol(3, scramble=False).random(8))
compute("stats-sobol-scrambled", lambda: sub("stats.qmc").Sobol(3, seed=3).random(8))
compute("stats-halton", lambda: sub("stats.qmc").Halton(3, seed=3).random(8))
compute("stats-latin", lambda: sub("stats.qmc").LatinHypercube(3, seed=3).random(8))
compute(
    "stats-bootstrap",
    lambda: np.array(sub("stats").bootstrap((V[:50],), np.mean, n_resamples=200, random_state=3).confidence_interval),
)
compute(
    "stats-trim-winsorize",
    trimmed=lambda: sub("stats").trim_mean(V, 0.1),
    winsorized=lambda: np.asarray(sub("stats.mstats").winsorize(V, (0.1, 0.1))),
)
compute("stats-rankdata", lambda: sub("stats").rankdata(np.round(V, 1)))
compute("stats-binned", lambda: sub("stats").binned_statistic(V, W, bins=5)[0])
compute(
    "stats-chi2",
    contingency=lambda: sub("stats").chi2_contingency([[10, 20], [30, 25]])[1],
    square=lambda: sub("stats").chisquare([10, 20, 30]).pvalue,
)
compute("stats-binom_test-old-name", lambda: getattr(sub("stats"), "binom_test")(3, 10, 0.5))
compute(
    "interpolate-interp2d-old-name",
    lambda: getattr(sub("interpolate"), "interp2d")(GRID, GRID, np.outer(WAVE, WAVE))(1.0, 2.0),
)
compute(
    "interpolate-griddata", lambda: sub("interpolate").griddata(POINTS[:, :2], V[:80], POINTS[:10, :2] * 0.5, "cubic")
)
compute("interpolate-splev", lambda: sub("interpolate").splev(GRID + 0.01, sub("interpolate").splrep(GRID, WAVE)))
compute("io-wav", lambda: _wav())
compute("io-mat", lambda: _mat())


def _wav():
    import io

    out = io.BytesIO()
    sub("io.wavfile").write(out, 8000, (V * 1000).astype(np.int16))
    return out.getvalue()


def _mat():
    import io

    out = io.BytesIO()
    sub("io").savemat(out, {"a": A})
    out.seek(0)
    return sub("io").loadmat(out)["a"]
