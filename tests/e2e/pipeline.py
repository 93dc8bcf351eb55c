"""
Models that were really trained, their snapshots, locks and images: made once a run, and only read by the tests.

`pipeline` is a classifier of scikit-learn, for what is about predictions and large wheels. `little` has four small
wheels, one of them native, and takes a tenth of the time and of the disk: the one to ask for where any image will do.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from envparity import codec, lockfile
from envparity.values import LockedInterpreter
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

LITTLE_TRAINING = """
import sys
import joblib, multidict

words = ["login", "refund", "parcel"]
joblib.dump(multidict.MultiDict((word, 1 / (number + 3)) for number, word in enumerate(words)), sys.argv[1])
"""

LITTLE_PREDICTING = """
import json, sys
import joblib, multidict._multidict

print(json.dumps([[word, weight.hex()] for word, weight in joblib.load(sys.argv[1]).items()]))
"""

LITTLE_PINS = ("joblib==1.4.2", "multidict==6.1.0", "tabulate==0.9.0", "threadpoolctl==3.5.0")
"""None that envparity itself requires, which would be taken for a part of it where it is installed beside them."""

RELEASES = {"3.11": "1.4.2", "3.12": "1.4.2", "3.13": "1.5.2"}
"""The scikit-learn that the story is told with, by Python; what is newer takes the last row."""


@dataclass(frozen=True)
class Pipeline:
    """Where everything lies, the script that predicts, and what it printed after training (hexadecimal, as JSON)."""

    folder: Path
    python: Path
    model: Path
    snapshot: Path
    lock: Path
    image: Path
    predicting: str
    predictions: str


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    folder = once.made_once(once.of_the_run(tmp_path_factory) / "pipeline", make)
    return laid_out(folder, PREDICTING)


@pytest.fixture(scope="session")
def little(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    folder = once.made_once(once.of_the_run(tmp_path_factory) / "little", make_little)
    return laid_out(folder, LITTLE_PREDICTING)


@pytest.fixture(scope="session")
def tiny(little: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """
    `little` on three packages of its base and without an interpreter: it runs nowhere, and can be held against its lock
    alone, in a tenth of the time.
    """

    def make(folder: Path) -> None:
        made = laid_out(folder, little.predicting)
        lock, _ = lockfile.read(little.lock)
        (target,) = lock.targets
        packages = tuple(item for item in target.os_packages if item.name in {"libc6", "libgcc-s1", "zlib1g"})
        python = LockedInterpreter(kind="base", version=target.interpreter.version, executable="/usr/bin/python3")
        smaller = msgspec.structs.replace(target, os_packages=packages, interpreter=python)
        shutil.copytree(lockfile.artifacts_folder(little.lock), folder / "pylock.artifacts", copy_function=os.link)
        made.lock.write_text(codec.dump_lock(msgspec.structs.replace(lock, targets=(smaller,))))
        shutil.copy(little.model, made.model)
        envparity("build", made.lock, "--model", made.model, "--output", f"oci:{made.image}")

    return laid_out(once.made_once(once.of_the_run(tmp_path_factory) / "tiny", make), little.predicting)


def laid_out(folder: Path, predicting: str) -> Pipeline:
    told = folder / "predictions.json"
    return Pipeline(
        folder,
        folder / "train" / "bin" / "python",
        folder / "model.joblib",
        folder / "model.env.json",
        folder / "pylock.toml",
        folder / "image",
        predicting,
        told.read_text() if told.exists() else "",
    )


def make(folder: Path) -> None:
    release = RELEASES.get(f"{sys.version_info[0]}.{sys.version_info[1]}", "1.5.2")
    pins = (f"scikit-learn=={release}", "numpy==1.26.4" if release == "1.4.2" else "numpy==2.1.3", "joblib==1.4.2")
    _make(folder, pins, TRAINING, PREDICTING)


def make_little(folder: Path) -> None:
    _make(folder, LITTLE_PINS, LITTLE_TRAINING, LITTLE_PREDICTING)


def _make(folder: Path, pins: Sequence[str], training: str, predicting: str) -> None:
    """Train, record, lock and build."""
    made = laid_out(folder, predicting)
    environment(folder / "train", *pins)
    subprocess.run([made.python, "-c", training, made.model], check=True)
    with (folder / "predictions.json").open("w") as output:
        subprocess.run([made.python, "-c", predicting, made.model], check=True, stdout=output)
    # Not from here: a lock says which repository it was trained from, and that of these tests is another one each time.
    envparity("snapshot", f"venv:{folder / 'train'}", "--model", made.model, "-o", made.snapshot, cwd=folder)
    envparity("lock", made.snapshot, "--prove", "-o", made.lock)
    envparity("build", made.lock, "--model", made.model, "--output", f"oci:{made.image}")


def environment(folder: Path, *pins: str) -> Path:
    """A virtual environment of this test's Python with these in it; its interpreter."""
    base, python = getattr(sys, "_base_executable", sys.executable), folder / "bin" / "python"
    subprocess.run([needs_uv(), "venv", "-q", "--no-config", "-p", base, folder], check=True)
    subprocess.run([needs_uv(), "pip", "install", "-q", "--no-config", "--python", python, *pins], check=True)
    return python


def predictions(text: str) -> list[list[str]]:
    """What a run of PREDICTING printed last."""
    found: list[list[str]] = json.loads(text.strip().splitlines()[-1])
    return found
