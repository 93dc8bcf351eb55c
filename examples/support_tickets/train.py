"""
Train a model that sorts support tickets, and keep what it predicts.

    python train.py [--model logistic|boosting]

Writes `model.joblib` and `training.json` (see `app/predict.py` for its form) to the working directory.
"""

import argparse
import warnings

import joblib
from app.predict import predictions, read_tickets, write
from sklearn.ensemble import AdaBoostClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier

CLASSIFIERS = {
    "logistic": lambda: LogisticRegression(max_iter=1000),
    "boosting": lambda: AdaBoostClassifier(DecisionTreeClassifier(max_depth=3), n_estimators=40, random_state=0),
}


def main():
    parser = argparse.ArgumentParser(description="Train a model that sorts support tickets.")
    parser.add_argument("--model", choices=CLASSIFIERS, default="logistic")
    classifier = CLASSIFIERS[parser.parse_args().model]()

    labels, texts = read_tickets()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model = make_pipeline(TfidfVectorizer(), classifier).fit(texts, labels)

    joblib.dump(model, "model.joblib")
    answer = predictions(model, texts)
    write(answer, "training.json")
    right = sum(ticket["label"] == label for ticket, label in zip(answer["tickets"], labels, strict=True))
    share = f"{right / len(texts):.0%} sorted as people did"
    print(f"scikit-learn {answer['scikit-learn']}: trained on {len(texts)} tickets, {share}")


if __name__ == "__main__":
    main()
