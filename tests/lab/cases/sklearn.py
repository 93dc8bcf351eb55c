"""
scikit-learn: every kind of estimator, fitted on data that numpy's frozen `RandomState` makes.

Python 3.8 and newer. Names of parameters are those that all releases from 1.2 on know.
"""

import importlib

import numpy as np

STATE = np.random.RandomState(20261120)
N, TEST = 400, 1000
CENTRES = STATE.normal(scale=1.6, size=(3, 8))


def _blobs(count):
    labels = STATE.randint(0, 3, size=count)
    return CENTRES[labels] + STATE.normal(scale=1.5, size=(count, 8)), labels


X, Y3 = _blobs(N)
XT, Y3T = _blobs(TEST)
Y2 = (Y3 > 0).astype(int)
WEIGHTS = STATE.normal(size=8)
R = X @ WEIGHTS + np.sin(X[:, 0] * 2) * 3 + STATE.normal(scale=0.5, size=N)
COUNTS = np.exp(np.clip(R / 6, -3, 3)) + 0.1
R2 = np.column_stack([R, X[:, 1] - X[:, 2]])
P, PT = np.abs(X), np.abs(XT)
LABELS = np.column_stack([Y3 == 1, X[:, 0] > 0, X[:, 3] > 1]).astype(int)
HOLES, HOLEST = X.copy(), XT.copy()
HOLES[STATE.rand(N, 8) < 0.15] = np.nan
HOLEST[STATE.rand(TEST, 8) < 0.15] = np.nan

WORDS = ["w%02d" % number for number in range(60)]
COMMON = np.array([1.0 / (1 + rank) for rank in range(60)])


def _texts(labels):
    found = []
    for label in labels:
        chances = COMMON.copy()
        chances[label * 18 + 5 : label * 18 + 20] *= 3
        found.append(" ".join(STATE.choice(WORDS, size=14, p=chances / chances.sum())))
    return found


TEXTS, TEXTST = _texts(Y3), _texts(Y3T)
COLOURS = np.array([["red", "green", "blue", "grey"][value] for value in STATE.randint(0, 4, size=N)], dtype=object)
SIZES = np.array([["s", "m", "l"][value] for value in STATE.randint(0, 3, size=N)], dtype=object)
TABLE = np.column_stack([COLOURS, SIZES])
TABLET = TABLE[STATE.permutation(N)]
CLASSES = np.array(["bad", "fair", "good"], dtype=object)[Y3]
RECORDS = [{"colour": colour, "size": float(x)} for colour, x in zip(COLOURS, X[:, 0])]
MIXED = np.column_stack([X[:, :4], STATE.randint(0, 4, size=N)])
MIXEDT = np.column_stack([XT[:, :4], STATE.randint(0, 4, size=TEST)])


def new(place, name, *args, **kwargs):
    """An estimator of `sklearn.PLACE`; ImportError where the release has none."""
    module = importlib.import_module("sklearn." + place)
    if not hasattr(module, name):
        raise ImportError("no sklearn.%s.%s" % (place, name))
    return getattr(module, name)(*args, **kwargs)


CASES = {}


def case(name, make, test, *asked):
    """One case: what makes the estimator, what it is asked about, and by which methods."""

    def ask(method):
        def answer(model):
            found = getattr(model, method)(test)
            return np.column_stack(found) if isinstance(found, list) and hasattr(found[0], "dtype") else found

        return answer

    CASES[name] = (make, {method: ask(method) for method in asked})


def supervised(name, place, target, *asked, data=None, test=None, of="", **kwargs):
    """A classifier or a regressor, fitted on one of the targets."""
    data, test = (X if data is None else data), (XT if test is None else test)
    made = of or name.split("-")[0]
    case(name, lambda: new(place, made, **kwargs).fit(data, target), test, *asked)


def transform(name, place, *asked, data=None, test=None, target=None, of="", **kwargs):
    """A transform."""
    data, test = (X if data is None else data), (XT if test is None else test)
    made = of or name.split("-")[0]
    case(name, lambda: new(place, made, **kwargs).fit(data, target), test, *(asked or ("transform",)))


PREDICT, BOTH, THREE = ("predict",), ("predict", "predict_proba"), ("predict", "predict_proba", "decision_function")
DECIDE = ("predict", "decision_function")


# Linear models

supervised("LogisticRegression", "linear_model", Y3, *THREE, max_iter=500)
supervised("LogisticRegression-binary", "linear_model", Y2, *THREE, max_iter=500)
supervised("LogisticRegression-liblinear", "linear_model", Y2, *THREE, solver="liblinear")
supervised("LogisticRegression-saga", "linear_model", Y3, *THREE, solver="saga", max_iter=200, random_state=0)
supervised("LogisticRegressionCV", "linear_model", Y3, *THREE, Cs=3, cv=3, max_iter=500)
supervised("RidgeClassifier", "linear_model", Y3, *DECIDE)
supervised("RidgeClassifierCV", "linear_model", Y3, *DECIDE)
supervised("SGDClassifier", "linear_model", Y3, *DECIDE, random_state=0)
supervised("SGDClassifier-log_loss", "linear_model", Y3, *THREE, loss="log_loss", random_state=0)
supervised("SGDClassifier-modified_huber", "linear_model", Y3, *THREE, loss="modified_huber", random_state=0)
supervised("SGDRegressor", "linear_model", R, *PREDICT, random_state=0)
supervised("SGDRegressor-huber", "linear_model", R, *PREDICT, loss="huber", random_state=0)
supervised("SGDOneClassSVM", "linear_model", None, *DECIDE, random_state=0)
supervised("PassiveAggressiveClassifier", "linear_model", Y3, *DECIDE, random_state=0)
supervised("Perceptron", "linear_model", Y3, *DECIDE, random_state=0)
supervised("LinearRegression", "linear_model", R, *PREDICT)
supervised("Ridge", "linear_model", R, *PREDICT)
supervised("RidgeCV", "linear_model", R, *PREDICT)
supervised("Lasso", "linear_model", R, *PREDICT, alpha=0.1)
supervised("LassoCV", "linear_model", R, *PREDICT, cv=3)
supervised("LassoLars", "linear_model", R, *PREDICT, alpha=0.1)
supervised("ElasticNet", "linear_model", R, *PREDICT, alpha=0.1)
supervised("ElasticNetCV", "linear_model", R, *PREDICT, cv=3)
supervised("BayesianRidge", "linear_model", R, *PREDICT)
supervised("ARDRegression", "linear_model", R, *PREDICT)
supervised("HuberRegressor", "linear_model", R, *PREDICT)
supervised("TheilSenRegressor", "linear_model", R, *PREDICT, random_state=0, max_subpopulation=200)
supervised("RANSACRegressor", "linear_model", R, *PREDICT, random_state=0)
supervised("QuantileRegressor", "linear_model", R, *PREDICT, solver="highs", alpha=0.01)
supervised("PoissonRegressor", "linear_model", COUNTS, *PREDICT)
supervised("GammaRegressor", "linear_model", COUNTS, *PREDICT)
supervised("TweedieRegressor", "linear_model", COUNTS, *PREDICT, power=1.5)

# Trees and ensembles

supervised("DecisionTreeClassifier", "tree", Y3, *BOTH, max_depth=6, random_state=0)
supervised("DecisionTreeRegressor", "tree", R, *PREDICT, max_depth=6, random_state=0)
supervised("ExtraTreeClassifier", "tree", Y3, *BOTH, max_depth=6, random_state=0)
supervised("ExtraTreeRegressor", "tree", R, *PREDICT, max_depth=6, random_state=0)
supervised("RandomForestClassifier", "ensemble", Y3, *BOTH, n_estimators=15, random_state=0)
supervised("RandomForestRegressor", "ensemble", R, *PREDICT, n_estimators=10, random_state=0)
supervised("ExtraTreesClassifier", "ensemble", Y3, *BOTH, n_estimators=15, random_state=0)
supervised("ExtraTreesRegressor", "ensemble", R, *PREDICT, n_estimators=10, random_state=0)
supervised("GradientBoostingClassifier", "ensemble", Y3, *THREE, n_estimators=15, random_state=0)
supervised("GradientBoostingClassifier-binary", "ensemble", Y2, *THREE, n_estimators=15, random_state=0)
supervised("GradientBoostingRegressor", "ensemble", R, *PREDICT, n_estimators=15, random_state=0)
supervised("GradientBoostingRegressor-huber", "ensemble", R, *PREDICT, loss="huber", n_estimators=15, random_state=0)
HIST = dict(max_iter=15, random_state=0, max_leaf_nodes=15)
supervised("HistGradientBoostingClassifier", "ensemble", Y3, *THREE, **HIST)
supervised("HistGradientBoostingClassifier-binary", "ensemble", Y2, *THREE, **HIST)
supervised(
    "HistGradientBoostingClassifier-categories", "ensemble", Y3, *THREE, data=MIXED, test=MIXEDT,
    categorical_features=[4], **HIST
)  # fmt: skip
supervised("HistGradientBoostingClassifier-holes", "ensemble", Y3, *THREE, data=HOLES, test=HOLEST, **HIST)
supervised("HistGradientBoostingRegressor", "ensemble", R, *PREDICT, **HIST)
supervised("HistGradientBoostingRegressor-poisson", "ensemble", COUNTS, *PREDICT, loss="poisson", **HIST)
supervised("AdaBoostClassifier", "ensemble", Y3, *THREE, n_estimators=15, random_state=0)
supervised("AdaBoostClassifier-SAMME", "ensemble", Y3, *THREE, n_estimators=15, random_state=0)
supervised("AdaBoostRegressor", "ensemble", R, *PREDICT, n_estimators=15, random_state=0)
supervised("BaggingClassifier", "ensemble", Y3, *BOTH, n_estimators=8, random_state=0)
supervised("BaggingRegressor", "ensemble", R, *PREDICT, n_estimators=8, random_state=0)
supervised("IsolationForest", "ensemble", None, *DECIDE, n_estimators=15, random_state=0)
transform("RandomTreesEmbedding", "ensemble", n_estimators=6, random_state=0)


def _samme():
    # 1.2 to 1.5 use SAMME.R unless they are told; from 1.6 on there is nothing else, and from 1.8 no such parameter.
    import sklearn

    old = tuple(int(part) for part in sklearn.__version__.split(".")[:2]) < (1, 6)
    extra = {"algorithm": "SAMME"} if old else {}
    return new("ensemble", "AdaBoostClassifier", n_estimators=15, random_state=0, **extra).fit(X, Y3)


CASES["AdaBoostClassifier-SAMME"] = (_samme, CASES["AdaBoostClassifier-SAMME"][1])


def _named():
    return [
        ("logistic", new("linear_model", "LogisticRegression", max_iter=500)),
        ("bayes", new("naive_bayes", "GaussianNB")),
        ("neighbours", new("neighbors", "KNeighborsClassifier")),
    ]


def _regressors():
    return [("ridge", new("linear_model", "Ridge")), ("neighbours", new("neighbors", "KNeighborsRegressor"))]


case("VotingClassifier", lambda: new("ensemble", "VotingClassifier", _named(), voting="soft").fit(X, Y3), XT, *BOTH)
case("VotingRegressor", lambda: new("ensemble", "VotingRegressor", _regressors()).fit(X, R), XT, "predict")
case("StackingClassifier", lambda: new("ensemble", "StackingClassifier", _named(), cv=3).fit(X, Y3), XT, *BOTH)
case("StackingRegressor", lambda: new("ensemble", "StackingRegressor", _regressors(), cv=3).fit(X, R), XT, "predict")

# Support vectors, neighbours, Bayes, discriminants, networks, Gaussian processes

supervised("SVC", "svm", Y3, *DECIDE)
supervised("SVC-probability", "svm", Y3, *BOTH, probability=True, random_state=0)
supervised("SVC-linear", "svm", Y3, *DECIDE, kernel="linear")
supervised("NuSVC", "svm", Y3, *DECIDE)
supervised("LinearSVC", "svm", Y3, *DECIDE, random_state=0, dual=True, max_iter=5000)
supervised("SVR", "svm", R, *PREDICT)
supervised("NuSVR", "svm", R, *PREDICT)
supervised("LinearSVR", "svm", R, *PREDICT, random_state=0, dual=True, max_iter=5000)
supervised("OneClassSVM", "svm", None, *DECIDE)
supervised("KNeighborsClassifier", "neighbors", Y3, *BOTH)
supervised("KNeighborsClassifier-ball_tree", "neighbors", Y3, *BOTH, algorithm="ball_tree")
supervised("KNeighborsClassifier-kd_tree", "neighbors", Y3, *BOTH, algorithm="kd_tree")
supervised("KNeighborsClassifier-brute", "neighbors", Y3, *BOTH, algorithm="brute")
supervised("KNeighborsRegressor", "neighbors", R, *PREDICT, weights="distance")
supervised("RadiusNeighborsClassifier", "neighbors", Y3, *BOTH, radius=12.0)
supervised("RadiusNeighborsRegressor", "neighbors", R, *PREDICT, radius=12.0)
supervised("NearestCentroid", "neighbors", Y3, *PREDICT)
supervised("LocalOutlierFactor", "neighbors", None, *DECIDE, novelty=True)
case("KernelDensity", lambda: new("neighbors", "KernelDensity").fit(X), XT[:200], "score_samples")
supervised("GaussianNB", "naive_bayes", Y3, *BOTH)
supervised("MultinomialNB", "naive_bayes", Y3, *BOTH, data=P, test=PT)
supervised("ComplementNB", "naive_bayes", Y3, *BOTH, data=P, test=PT)
supervised("BernoulliNB", "naive_bayes", Y3, *BOTH)
supervised("CategoricalNB", "naive_bayes", Y3, *BOTH, data=P.astype(int) % 4, test=PT.astype(int) % 4)
supervised("LinearDiscriminantAnalysis", "discriminant_analysis", Y3, *THREE)
supervised("QuadraticDiscriminantAnalysis", "discriminant_analysis", Y3, *THREE)
supervised("MLPClassifier", "neural_network", Y3, *BOTH, hidden_layer_sizes=(12,), max_iter=60, random_state=0)
supervised("MLPClassifier-sgd", "neural_network", Y3, *BOTH, solver="sgd", max_iter=30, random_state=0)
supervised("MLPRegressor", "neural_network", R, *PREDICT, hidden_layer_sizes=(12,), max_iter=60, random_state=0)
transform(
    "BernoulliRBM", "neural_network", data=P / P.max(), test=PT / PT.max(), n_components=5, n_iter=3, random_state=0
)
supervised("GaussianProcessClassifier", "gaussian_process", Y2[:120], *BOTH, data=X[:120])
supervised("GaussianProcessRegressor", "gaussian_process", R[:120], *PREDICT, data=X[:120], alpha=0.1, random_state=0)
supervised("KernelRidge", "kernel_ridge", R, *PREDICT, kernel="rbf")
supervised("IsotonicRegression", "isotonic", R, *PREDICT, data=X[:, 0], test=XT[:, 0], out_of_bounds="clip")
supervised("PLSRegression", "cross_decomposition", R2, *PREDICT)
transform("PLSCanonical", "cross_decomposition", target=R2)
transform("CCA", "cross_decomposition", target=R2)
supervised("DummyClassifier", "dummy", Y3, *BOTH)
supervised("DummyRegressor", "dummy", R, *PREDICT)
supervised("LabelPropagation", "semi_supervised", Y3, *BOTH)
supervised("LabelSpreading", "semi_supervised", Y3, *BOTH)

# One model made of others


def _wrapped(name, place, wrapper, target, inner, *asked, **kwargs):
    case(name, lambda: new(place, wrapper, inner(), **kwargs).fit(X, target), XT, *asked)


def _logistic():
    return new("linear_model", "LogisticRegression", max_iter=500)


def _svc():
    return new("svm", "LinearSVC", random_state=0, dual=True, max_iter=5000)


_wrapped("CalibratedClassifierCV", "calibration", "CalibratedClassifierCV", Y3, _svc, *BOTH, cv=3)
_wrapped(
    "CalibratedClassifierCV-isotonic", "calibration", "CalibratedClassifierCV", Y3, _svc, *BOTH, cv=3, method="isotonic"
)
_wrapped("OneVsRestClassifier", "multiclass", "OneVsRestClassifier", Y3, _logistic, *BOTH)
_wrapped("OneVsOneClassifier", "multiclass", "OneVsOneClassifier", Y3, _svc, *DECIDE)
_wrapped("OutputCodeClassifier", "multiclass", "OutputCodeClassifier", Y3, _logistic, *PREDICT, random_state=0)
_wrapped("MultiOutputClassifier", "multioutput", "MultiOutputClassifier", LABELS, _logistic, *PREDICT)
_wrapped(
    "MultiOutputRegressor", "multioutput", "MultiOutputRegressor", R2, lambda: new("linear_model", "Ridge"), *PREDICT
)
_wrapped("ClassifierChain", "multioutput", "ClassifierChain", LABELS, _logistic, *BOTH, random_state=0)
_wrapped("RegressorChain", "multioutput", "RegressorChain", R2, lambda: new("linear_model", "Ridge"), *PREDICT)
_wrapped("GridSearchCV", "model_selection", "GridSearchCV", Y3, _logistic, *BOTH, param_grid={"C": [0.1, 1.0]}, cv=3)
_wrapped(
    "RandomizedSearchCV", "model_selection", "RandomizedSearchCV", Y3, _logistic, *BOTH,
    param_distributions={"C": [0.1, 0.5, 1.0]}, n_iter=2, cv=3, random_state=0
)  # fmt: skip
_wrapped(
    "SelfTrainingClassifier",
    "semi_supervised",
    "SelfTrainingClassifier",
    np.where(np.arange(N) % 3, Y3, -1),
    _logistic,
    *BOTH,
)
_wrapped("TransformedTargetRegressor", "compose", "TransformedTargetRegressor", COUNTS, lambda: new("linear_model", "Ridge"), *PREDICT,
         func=np.log, inverse_func=np.exp)  # fmt: skip

# Clusters

supervised("KMeans", "cluster", None, "predict", "transform", n_clusters=4, n_init=3, random_state=0)
supervised("MiniBatchKMeans", "cluster", None, "predict", "transform", n_clusters=4, n_init=3, random_state=0)
supervised("BisectingKMeans", "cluster", None, "predict", n_clusters=4, random_state=0)
supervised("Birch", "cluster", None, "predict", n_clusters=4)
supervised("MeanShift", "cluster", None, "predict", data=X[:150])
supervised("AffinityPropagation", "cluster", None, "predict", data=X[:150], random_state=0)
transform("FeatureAgglomeration", "cluster", n_clusters=3)
supervised("GaussianMixture", "mixture", None, *BOTH, n_components=3, random_state=0)
supervised("BayesianGaussianMixture", "mixture", None, *BOTH, n_components=3, random_state=0)

# Decompositions and manifolds

transform("PCA", "decomposition", n_components=4)
transform("PCA-randomized", "decomposition", n_components=4, svd_solver="randomized", random_state=0)
transform("IncrementalPCA", "decomposition", n_components=4)
transform("KernelPCA", "decomposition", n_components=4, kernel="rbf")
transform("SparsePCA", "decomposition", n_components=4, random_state=0, max_iter=20)
transform("TruncatedSVD", "decomposition", n_components=4, random_state=0)
transform("NMF", "decomposition", data=P, test=PT, n_components=4, random_state=0, max_iter=100)
transform("FastICA", "decomposition", n_components=4, random_state=0, whiten="unit-variance")
transform("FactorAnalysis", "decomposition", n_components=3, random_state=0)
transform(
    "LatentDirichletAllocation",
    "decomposition",
    data=P.astype(int),
    test=PT.astype(int),
    n_components=3,
    random_state=0,
    max_iter=3,
)
transform("DictionaryLearning", "decomposition", n_components=5, random_state=0, max_iter=10, test=XT[:100])
transform("Isomap", "manifold", data=X[:200], test=XT[:200], n_neighbors=12)
transform("LocallyLinearEmbedding", "manifold", data=X[:200], test=XT[:200], n_neighbors=12, random_state=0)
transform("GaussianRandomProjection", "random_projection", n_components=3, random_state=0)
transform("SparseRandomProjection", "random_projection", n_components=3, random_state=0)
transform("Nystroem", "kernel_approximation", n_components=20, random_state=0)
transform("RBFSampler", "kernel_approximation", n_components=20, random_state=0)
transform("AdditiveChi2Sampler", "kernel_approximation", data=P, test=PT)
case("EmpiricalCovariance", lambda: new("covariance", "EmpiricalCovariance").fit(X), XT, "mahalanobis")
supervised("EllipticEnvelope", "covariance", None, *DECIDE, random_state=0)

# Preprocessing

transform("StandardScaler", "preprocessing", "transform", "inverse_transform")
transform("MinMaxScaler", "preprocessing", "transform", "inverse_transform")
transform("MaxAbsScaler", "preprocessing", "transform", "inverse_transform")
transform("RobustScaler", "preprocessing", "transform", "inverse_transform")
transform("Normalizer", "preprocessing")
transform("Binarizer", "preprocessing")
transform("QuantileTransformer", "preprocessing", n_quantiles=50, random_state=0)
transform("QuantileTransformer-normal", "preprocessing", n_quantiles=50, random_state=0, output_distribution="normal")
transform("PowerTransformer", "preprocessing")
transform("PowerTransformer-box-cox", "preprocessing", data=P + 0.1, test=PT + 0.1, method="box-cox")
transform("PolynomialFeatures", "preprocessing", degree=2)
transform("SplineTransformer", "preprocessing")
transform("KBinsDiscretizer", "preprocessing", n_bins=5, encode="ordinal")
transform("KBinsDiscretizer-onehot", "preprocessing", n_bins=5, strategy="uniform")
transform("KernelCenterer", "preprocessing", data=X @ X.T, test=XT[:200] @ X.T)
transform("FunctionTransformer", "preprocessing", data=P, test=PT, func=np.log1p)
transform("OneHotEncoder", "preprocessing", data=TABLE, test=TABLET, handle_unknown="ignore")
transform(
    "OneHotEncoder-infrequent",
    "preprocessing",
    data=TABLE,
    test=TABLET,
    min_frequency=105,
    handle_unknown="infrequent_if_exist",
)
transform("OrdinalEncoder", "preprocessing", data=TABLE, test=TABLET)
transform(
    "OrdinalEncoder-unknown",
    "preprocessing",
    data=TABLE[:, :1],
    test=TABLET[:, :1],
    handle_unknown="use_encoded_value",
    unknown_value=-1,
)
transform("TargetEncoder", "preprocessing", data=TABLE, test=TABLET, target=R, random_state=0)
transform("LabelBinarizer", "preprocessing", data=CLASSES, test=CLASSES)
transform("LabelEncoder", "preprocessing", data=CLASSES, test=CLASSES)
CASES["LabelEncoder"] = (lambda: new("preprocessing", "LabelEncoder").fit(CLASSES), CASES["LabelEncoder"][1])
CASES["LabelBinarizer"] = (lambda: new("preprocessing", "LabelBinarizer").fit(CLASSES), CASES["LabelBinarizer"][1])
PAIRS = [[a, b] for a, b in TABLE]
case("MultiLabelBinarizer", lambda: new("preprocessing", "MultiLabelBinarizer").fit(PAIRS), PAIRS, "transform")
transform("SimpleImputer", "impute", data=HOLES, test=HOLEST)
transform("SimpleImputer-most_frequent", "impute", data=TABLE, test=TABLET, strategy="most_frequent")
transform(
    "SimpleImputer-constant",
    "impute",
    data=HOLES,
    test=HOLEST,
    strategy="constant",
    fill_value=-1.0,
    add_indicator=True,
)
transform("KNNImputer", "impute", data=HOLES, test=HOLEST[:300])
transform("MissingIndicator", "impute", data=HOLES, test=HOLEST)


def _iterative():
    importlib.import_module("sklearn.experimental.enable_iterative_imputer")
    return new("impute", "IterativeImputer", random_state=0, max_iter=3).fit(HOLES)


def _iterative_use(model):
    return model.transform(HOLEST[:300])


CASES["IterativeImputer"] = (_iterative, {"transform": _iterative_use})

# Text and features

transform("CountVectorizer", "feature_extraction.text", data=TEXTS, test=TEXTST)
transform(
    "CountVectorizer-char_wb",
    "feature_extraction.text",
    data=TEXTS,
    test=TEXTST,
    analyzer="char_wb",
    ngram_range=(1, 3),
)
transform("HashingVectorizer", "feature_extraction.text", data=TEXTS, test=TEXTST, n_features=64)
transform("TfidfVectorizer", "feature_extraction.text", data=TEXTS, test=TEXTST)
transform(
    "TfidfVectorizer-sublinear",
    "feature_extraction.text",
    data=TEXTS,
    test=TEXTST,
    sublinear_tf=True,
    ngram_range=(1, 2),
    min_df=2,
)
transform("TfidfVectorizer-no-idf", "feature_extraction.text", data=TEXTS, test=TEXTST, use_idf=False)
transform("TfidfTransformer", "feature_extraction.text", data=P.astype(int), test=PT.astype(int))
transform("DictVectorizer", "feature_extraction", data=RECORDS, test=RECORDS)
transform("FeatureHasher", "feature_extraction", data=RECORDS, test=RECORDS, n_features=16)
transform("SelectKBest", "feature_selection", target=Y3, k=4)
transform("SelectPercentile", "feature_selection", target=Y3, percentile=50)
transform("VarianceThreshold", "feature_selection", threshold=0.5)
CASES["SelectFromModel"] = (
    lambda: new("feature_selection", "SelectFromModel", new("linear_model", "Lasso", alpha=0.3)).fit(X, R),
    CASES["SelectKBest"][1],
)
CASES["RFE"] = (
    lambda: new("feature_selection", "RFE", new("linear_model", "Ridge"), n_features_to_select=4).fit(X, R),
    CASES["SelectKBest"][1],
)
CASES["RFECV"] = (
    lambda: new("feature_selection", "RFECV", new("linear_model", "Ridge"), cv=3).fit(X, R),
    CASES["SelectKBest"][1],
)
CASES["SequentialFeatureSelector"] = (
    lambda: new(
        "feature_selection", "SequentialFeatureSelector", new("linear_model", "Ridge"), n_features_to_select=3, cv=3
    ).fit(X, R),
    CASES["SelectKBest"][1],
)

# Pipelines


def _pipe(*steps):
    return new("pipeline", "Pipeline", [("step%d" % number, step) for number, step in enumerate(steps)])


case(
    "Pipeline-scaler-logistic",
    lambda: _pipe(new("preprocessing", "StandardScaler"), _logistic()).fit(X, Y3),
    XT,
    *THREE,
)
case("Pipeline-pca-svc", lambda: _pipe(new("decomposition", "PCA", 4), new("svm", "SVC")).fit(X, Y3), XT, *DECIDE)
case(
    "Pipeline-imputer-ridge",
    lambda: _pipe(new("impute", "SimpleImputer"), new("linear_model", "Ridge")).fit(HOLES, R),
    HOLEST,
    *PREDICT,
)
case(
    "Pipeline-tfidf-logistic",
    lambda: _pipe(new("feature_extraction.text", "TfidfVectorizer"), _logistic()).fit(TEXTS, Y3),
    TEXTST,
    *BOTH,
)
case(
    "Pipeline-tfidf-svc",
    lambda: _pipe(new("feature_extraction.text", "TfidfVectorizer"), _svc()).fit(TEXTS, Y3),
    TEXTST,
    *DECIDE,
)
case(
    "Pipeline-count-bayes",
    lambda: _pipe(new("feature_extraction.text", "CountVectorizer"), new("naive_bayes", "MultinomialNB")).fit(
        TEXTS, Y3
    ),
    TEXTST,
    *BOTH,
)
case(
    "FeatureUnion",
    lambda: new(
        "pipeline",
        "FeatureUnion",
        [("pca", new("decomposition", "PCA", 3)), ("best", new("feature_selection", "SelectKBest", k=2))],
    ).fit(X, Y3),
    XT,
    "transform",
)


def _columns(**kwargs):
    parts = [
        ("numbers", new("preprocessing", "StandardScaler"), [0, 1, 2, 3]),
        ("kind", new("preprocessing", "OneHotEncoder"), [4]),
    ]
    return new("compose", "ColumnTransformer", parts, **kwargs)


def _columns_rest(**kwargs):
    return new("compose", "ColumnTransformer", [("numbers", new("preprocessing", "StandardScaler"), [0, 1])], **kwargs)


case("ColumnTransformer", lambda: _columns().fit(MIXED), MIXEDT, "transform")
case("ColumnTransformer-passthrough", lambda: _columns_rest(remainder="passthrough").fit(MIXED), MIXEDT, "transform")
case("Pipeline-columns-logistic", lambda: _pipe(_columns(), _logistic()).fit(MIXED, Y3), MIXEDT, *BOTH)
case(
    "Pipeline-columns-forest",
    lambda: _pipe(_columns(), new("ensemble", "RandomForestClassifier", n_estimators=8, random_state=0)).fit(MIXED, Y3),
    MIXEDT,
    *BOTH,
)
