"""
XGBoost: boosters and the classes beside scikit-learn's, pickled, and saved in each of its own formats.

Python 3.8 and newer.
"""

import os
import tempfile

import numpy as np
import xgboost as xgb

STATE = np.random.RandomState(3)
X = STATE.normal(size=(400, 6))
XT = STATE.normal(size=(1000, 6))
Y3 = (X[:, 0] + X[:, 1] ** 2 + STATE.normal(scale=0.4, size=400) > 0.8).astype(int) + (X[:, 2] > 0.9)
Y2 = (Y3 > 0).astype(int)
R = X[:, 0] * 3 + np.sin(X[:, 1] * 2) + STATE.normal(scale=0.2, size=400)
COUNTS = np.exp(np.clip(R / 4, -2, 2)).round()
HOLES, HOLEST = X.copy(), XT.copy()
HOLES[STATE.rand(400, 6) < 0.2] = np.nan
HOLEST[STATE.rand(1000, 6) < 0.2] = np.nan
GROUPS = [40] * 10
KINDS = np.column_stack([X[:, :3], STATE.randint(0, 5, size=400)])
KINDST = np.column_stack([XT[:, :3], STATE.randint(0, 5, size=1000)])
COMMON = dict(n_estimators=15, max_depth=4, random_state=0, n_jobs=1)

CASES = {}


def pickled(name, make, **uses):
    CASES[name] = (make, uses)


def learner(name, cls, target, data=None, test=None, proba=True, raw=True, **options):
    data, test = (X if data is None else data), (XT if test is None else test)
    uses = {"predict": lambda m: m.predict(test)}
    if proba:
        uses["predict_proba"] = lambda m: m.predict_proba(test)
    if raw:
        uses["margin"] = lambda m: m.predict(test, output_margin=True)
    uses["importance"] = lambda m: m.feature_importances_
    CASES[name] = (lambda: getattr(xgb, cls)(**dict(COMMON, **options)).fit(data, target), uses)


learner("XGBClassifier", "XGBClassifier", Y3)
learner("XGBClassifier-binary", "XGBClassifier", Y2)
learner("XGBClassifier-base_score", "XGBClassifier", Y2, base_score=0.3)
learner("XGBClassifier-holes", "XGBClassifier", Y3, data=HOLES, test=HOLEST)
learner("XGBClassifier-hist", "XGBClassifier", Y3, tree_method="hist")
learner("XGBClassifier-exact", "XGBClassifier", Y3, tree_method="exact")
learner("XGBClassifier-dart", "XGBClassifier", Y2, booster="dart", rate_drop=0.3)
learner("XGBClassifier-early-stopped", "XGBClassifier", Y2, eval_metric="logloss")
learner("XGBRegressor", "XGBRegressor", R, proba=False)
learner("XGBRegressor-poisson", "XGBRegressor", COUNTS, proba=False, objective="count:poisson")
learner("XGBRegressor-gamma", "XGBRegressor", COUNTS + 1, proba=False, objective="reg:gamma")
learner("XGBRegressor-tweedie", "XGBRegressor", COUNTS, proba=False, objective="reg:tweedie")
learner("XGBRegressor-absolute", "XGBRegressor", R, proba=False, objective="reg:absoluteerror")
learner("XGBRegressor-logistic", "XGBRegressor", Y2, proba=False, objective="reg:logistic")
learner("XGBRegressor-linear", "XGBRegressor", R, proba=False, booster="gblinear")
learner("XGBRegressor-monotone", "XGBRegressor", R, proba=False, monotone_constraints="(1,0,0,0,0,0)")
learner("XGBRegressor-multi", "XGBRegressor", np.column_stack([R, R**2]), proba=False)
learner("XGBRFClassifier", "XGBRFClassifier", Y2)
learner("XGBRFRegressor", "XGBRFRegressor", R, proba=False)
pickled("XGBRanker", lambda: xgb.XGBRanker(**COMMON).fit(X, Y3, group=GROUPS), predict=lambda m: m.predict(XT))
PARAMETERS = {"max_depth": 4, "seed": 0, "nthread": 1}


def booster(target=None, data=None, rounds=15, label=None, **options):
    matrix = xgb.DMatrix(X if data is None else data, R if target is None else target)
    return xgb.train(dict(PARAMETERS, **options), matrix, rounds)


def asked(test=None):
    test = XT if test is None else test
    return {
        "predict": lambda m: m.predict(xgb.DMatrix(test)),
        "margin": lambda m: m.predict(xgb.DMatrix(test), output_margin=True),
        "leaves": lambda m: m.predict(xgb.DMatrix(test), pred_leaf=True),
        "contributions": lambda m: m.predict(xgb.DMatrix(test[:50]), pred_contribs=True),
    }


pickled("Booster", booster, **asked())
pickled("Booster-softmax", lambda: booster(Y3, objective="multi:softmax", num_class=3), **asked())
pickled("Booster-softprob", lambda: booster(Y3, objective="multi:softprob", num_class=3), **asked())
pickled("Booster-binary", lambda: booster(Y2, objective="binary:logistic"), **asked())
pickled("Booster-hinge", lambda: booster(Y2, objective="binary:hinge"), predict=asked()["predict"])
pickled("Booster-inplace", booster, predict=lambda m: m.inplace_predict(XT))
pickled("Booster-dump", booster, text=lambda m: m.get_dump()[0].split())
pickled("Booster-slice", booster, predict=lambda m: m[0:5].predict(xgb.DMatrix(XT)))
pickled(
    "Booster-config",
    booster,
    objective=lambda m: [__import__("json").loads(m.save_config())["learner"]["objective"]["name"]],
)


def _categories():
    matrix = xgb.DMatrix(KINDS, R, feature_types=["q", "q", "q", "c"], enable_categorical=True)
    return xgb.train(dict(PARAMETERS, tree_method="hist"), matrix, 15)


def _ask_categories(model):
    return model.predict(xgb.DMatrix(KINDST, feature_types=["q", "q", "q", "c"], enable_categorical=True))


pickled("Booster-categories", _categories, predict=_ask_categories)


def _saved(kind, target=None, **options):
    def make():
        return bytes(booster(target, **options).save_raw(kind))

    return make


def _opened(data):
    model = xgb.Booster()
    model.load_model(bytearray(data))
    return model


def from_bytes(uses):
    return {name: (lambda use: lambda data: use(_opened(data)))(use) for name, use in uses.items()}


for _kind in ("json", "ubj", "deprecated"):
    pickled("format-" + _kind, _saved(_kind), **from_bytes(asked()))
    pickled("format-%s-binary" % _kind, _saved(_kind, Y2, objective="binary:logistic"), **from_bytes(asked()))
    pickled(
        "format-%s-softprob" % _kind, _saved(_kind, Y3, objective="multi:softprob", num_class=3), **from_bytes(asked())
    )


def _classifier_file():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "m.json")
        xgb.XGBClassifier(**COMMON).fit(X, Y3).save_model(path)
        with open(path, "rb") as file:
            return file.read()


def _classifier_opened(data):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "m.json")
        with open(path, "wb") as file:
            file.write(data)
        model = xgb.XGBClassifier()
        model.load_model(path)
        return model


pickled(
    "format-json-XGBClassifier", _classifier_file,
    predict=lambda data: _classifier_opened(data).predict(XT), predict_proba=lambda data: _classifier_opened(data).predict_proba(XT),
)  # fmt: skip


def compute(name, **uses):
    CASES[name] = (None, {key: (lambda use: lambda _: use())(use) for key, use in uses.items()})


# The same data and parameters, trained by each release

compute("train-default", predict=lambda: booster().predict(xgb.DMatrix(XT)))
compute("train-exact", predict=lambda: booster(tree_method="exact").predict(xgb.DMatrix(XT)))
compute("train-hist", predict=lambda: booster(tree_method="hist").predict(xgb.DMatrix(XT)))
compute(
    "train-subsample",
    predict=lambda: booster(tree_method="hist", subsample=0.7, colsample_bytree=0.7).predict(xgb.DMatrix(XT)),
)
compute("train-binary", predict=lambda: booster(Y2, objective="binary:logistic").predict(xgb.DMatrix(XT)))
compute("train-softprob", predict=lambda: booster(Y3, objective="multi:softprob", num_class=3).predict(xgb.DMatrix(XT)))
compute("train-ranker", predict=lambda: xgb.XGBRanker(**COMMON).fit(X, Y3, group=GROUPS).predict(XT))
