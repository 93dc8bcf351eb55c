"""
LightGBM: boosters and the classes beside scikit-learn's, pickled, and as text.

Python 3.8 and newer.
"""

import lightgbm as lgb
import numpy as np

STATE = np.random.RandomState(3)
X = STATE.normal(size=(400, 6))
XT = STATE.normal(size=(1000, 6))
Y3 = (X[:, 0] + X[:, 1] ** 2 + STATE.normal(scale=0.4, size=400) > 0.8).astype(int) + (X[:, 2] > 0.9)
Y2 = (Y3 > 0).astype(int)
R = X[:, 0] * 3 + np.sin(X[:, 1] * 2) + STATE.normal(scale=0.2, size=400)
COUNTS = np.exp(np.clip(R / 4, -2, 2)).round() + 1
HOLES, HOLEST = X.copy(), XT.copy()
HOLES[STATE.rand(400, 6) < 0.2] = np.nan
HOLEST[STATE.rand(1000, 6) < 0.2] = np.nan
KINDS = np.column_stack([X[:, :3], STATE.randint(0, 5, size=400)])
KINDST = np.column_stack([XT[:, :3], STATE.randint(0, 5, size=1000)])
GROUPS = [40] * 10
COMMON = dict(
    n_estimators=15, num_leaves=12, random_state=0, n_jobs=1, verbose=-1, deterministic=True, force_row_wise=True
)
PARAMETERS = {
    "num_leaves": 12,
    "seed": 0,
    "num_threads": 1,
    "verbose": -1,
    "deterministic": True,
    "force_row_wise": True,
}

CASES = {}


def pickled(name, make, **uses):
    CASES[name] = (make, uses)


def compute(name, **uses):
    CASES[name] = (None, {key: (lambda use: lambda _: use())(use) for key, use in uses.items()})


def learner(name, cls, target, data=None, test=None, proba=True, fit=None, **options):
    data, test = (X if data is None else data), (XT if test is None else test)
    uses = {"predict": lambda m: m.predict(test), "raw": lambda m: m.predict(test, raw_score=True)}
    if proba:
        uses["predict_proba"] = lambda m: m.predict_proba(test)
    uses["leaves"] = lambda m: m.predict(test, pred_leaf=True)
    uses["contributions"] = lambda m: m.predict(test[:50], pred_contrib=True)
    uses["importance"] = lambda m: m.feature_importances_
    CASES[name] = (lambda: getattr(lgb, cls)(**dict(COMMON, **options)).fit(data, target, **(fit or {})), uses)


learner("LGBMClassifier", "LGBMClassifier", Y3)
learner("LGBMClassifier-binary", "LGBMClassifier", Y2)
learner("LGBMClassifier-text-labels", "LGBMClassifier", np.array(["a", "b", "c"])[Y3])
learner("LGBMClassifier-holes", "LGBMClassifier", Y3, data=HOLES, test=HOLEST)
learner("LGBMClassifier-categories", "LGBMClassifier", Y3, data=KINDS, test=KINDST, fit={"categorical_feature": [3]})
learner("LGBMClassifier-dart", "LGBMClassifier", Y2, boosting_type="dart")
learner("LGBMClassifier-forest", "LGBMClassifier", Y2, boosting_type="rf", subsample=0.7, subsample_freq=1)
learner("LGBMClassifier-goss", "LGBMClassifier", Y2, boosting_type="goss")
learner("LGBMClassifier-balanced", "LGBMClassifier", Y2, class_weight="balanced")
learner("LGBMRegressor", "LGBMRegressor", R, proba=False)
learner("LGBMRegressor-poisson", "LGBMRegressor", COUNTS, proba=False, objective="poisson")
learner("LGBMRegressor-quantile", "LGBMRegressor", R, proba=False, objective="quantile", alpha=0.3)
learner("LGBMRegressor-l1", "LGBMRegressor", R, proba=False, objective="l1")
learner("LGBMRegressor-huber", "LGBMRegressor", R, proba=False, objective="huber")
learner("LGBMRegressor-tweedie", "LGBMRegressor", COUNTS, proba=False, objective="tweedie")
learner("LGBMRegressor-linear-trees", "LGBMRegressor", R, proba=False, linear_tree=True)
learner("LGBMRegressor-monotone", "LGBMRegressor", R, proba=False, monotone_constraints=[1, 0, 0, 0, 0, 0])
pickled("LGBMRanker", lambda: lgb.LGBMRanker(**COMMON).fit(X, Y3, group=GROUPS), predict=lambda m: m.predict(XT))


def booster(target=None, rounds=15, **options):
    return lgb.train(dict(PARAMETERS, **options), lgb.Dataset(X, R if target is None else target), rounds)


pickled("Booster", booster, predict=lambda m: m.predict(XT), leaves=lambda m: m.predict(XT, pred_leaf=True))
pickled("Booster-binary", lambda: booster(Y2, objective="binary"), predict=lambda m: m.predict(XT))
pickled("Booster-multiclass", lambda: booster(Y3, objective="multiclass", num_class=3), predict=lambda m: m.predict(XT))
pickled("Booster-trees", booster, trees=lambda m: [str(m.num_trees()), str(m.num_model_per_iteration())])
pickled("Booster-first-trees", booster, predict=lambda m: m.predict(XT, num_iteration=5))
pickled("text", lambda: booster().model_to_string(), predict=lambda text: lgb.Booster(model_str=text).predict(XT))
pickled(
    "text-multiclass",
    lambda: booster(Y3, objective="multiclass", num_class=3).model_to_string(),
    predict=lambda text: lgb.Booster(model_str=text).predict(XT),
)
pickled(
    "text-linear-trees",
    lambda: booster(linear_tree=True).model_to_string(),
    predict=lambda text: lgb.Booster(model_str=text).predict(XT),
)
pickled(
    "text-again",
    lambda: booster().model_to_string(),
    same=lambda text: [
        line
        for line in lgb.Booster(model_str=text).model_to_string().splitlines()
        if line[:5] in ("split", "thres", "leaf_")
    ],
)

compute("train-regression", predict=lambda: booster().predict(XT))
compute("train-binary", predict=lambda: booster(Y2, objective="binary").predict(XT))
compute("train-multiclass", predict=lambda: booster(Y3, objective="multiclass", num_class=3).predict(XT))
compute(
    "train-bagging", predict=lambda: booster(bagging_fraction=0.7, bagging_freq=1, feature_fraction=0.7).predict(XT)
)
compute(
    "train-categories",
    predict=lambda: lgb.train(PARAMETERS, lgb.Dataset(KINDS, R, categorical_feature=[3]), 15).predict(KINDST),
)
compute("train-ranker", predict=lambda: lgb.LGBMRanker(**COMMON).fit(X, Y3, group=GROUPS).predict(XT))
compute(
    "train-classifier-default",
    predict=lambda: lgb.LGBMClassifier(n_jobs=1, verbose=-1, n_estimators=15).fit(X, Y3).predict_proba(XT),
)
