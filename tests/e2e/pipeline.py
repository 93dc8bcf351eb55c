"""A model that was really trained, its snapshot, lock and image: made once a run, and only read by the tests."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import once
from tests.commands import envparity
from tests.tools import needs_uv

TRAINING = """
import json, sys
import joblib, numpy
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

texts = ["cannot log in", "refund please", "parcel is late", "login broken again", "charged twice", "parcel lost"] * 10
labels = ["login", "billing", "parcel"] * 20
texts += ["login"] * 3 + ["refund twice"] * 5 + ["late parcel"] * 7
labels += ["login"] * 3 + ["billing"] * 5 + ["parcel"] * 7
model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, labels)
joblib.dump(model, sys.argv[1])
"""

PREDICTING = """
import json, sys
import joblib

model = joblib.load(sys.argv[1])
texts = ["cannot log in", "refund please", "my parcel is lost and late", "again charged twice", ""]
texts.append(" ".join(model[0].vocabulary_))
print(json.dumps([[float(p).hex() for p in row] for row in model.predict_proba(texts)]))
"""

RELEASES = {"3.11": "1.4.2", "3.12": "1.4.2", "3.13": "1.5.2"}
"""The scikit-learn that the story is told with, by Python; what is newer takes the last row."""


@dataclass(frozen=True)
class Pipeline:
    """Where everything lies, and what training predicted (hexadecimal floats, as JSON)."""

    folder: Path
    python: Path
    model: Path
    snapshot: Path
    lock: Path
    image: Path
    predictions: str


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    folder = once.made_once(once.of_the_run(tmp_path_factory) / "pipeline", make)
    return laid_out(folder, (folder / "predictions.json").read_text())


def laid_out(folder: Path, predictions: str) -> Pipeline:
    return Pipeline(
        folder,
        folder / "train" / "bin" / "python",
        folder / "model.joblib",
        folder / "model.env.json",
        folder / "pylock.toml",
        folder / "image",
        predictions,
    )


def make(folder: Path) -> None:
    """Train, record, lock and build."""
    uv = needs_uv()
    release = RELEASES.get(f"{sys.version_info[0]}.{sys.version_info[1]}", "1.5.2")
    base = getattr(sys, "_base_executable", sys.executable)
    subprocess.run([uv, "venv", "-q", "--no-config", "-p", base, folder / "train"], check=True)
    made = laid_out(folder, "")
    pins = [f"scikit-learn=={release}", "numpy==1.26.4" if release == "1.4.2" else "numpy==2.1.3", "joblib==1.4.2"]
    subprocess.run([uv, "pip", "install", "-q", "--no-config", "--python", made.python, *pins], check=True)
    subprocess.run([made.python, "-c", TRAINING, made.model], check=True)
    with (folder / "predictions.json").open("w") as output:
        subprocess.run([made.python, "-c", PREDICTING, made.model], check=True, stdout=output)
    envparity("snapshot", f"venv:{folder / 'train'}", "--model", made.model, "-o", made.snapshot)
    envparity("lock", made.snapshot, "--prove", "-o", made.lock)
    envparity("build", made.lock, "--model", made.model, "--output", f"oci:{made.image}")


def predictions(text: str) -> list[list[str]]:
    """What a run of PREDICTING printed last."""
    found: list[list[str]] = json.loads(text.strip().splitlines()[-1])
    return found
