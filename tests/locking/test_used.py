"""What a model and its training used: what stays, what is left out, and when nobody can say."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import pytest

from envparity import closure
from envparity.collectors.records import Record
from envparity.errors import RefusedError, UsageError
from envparity.locking import used
from envparity.values import Artifact, Distribution, Environment, Gap, GapKind, Module
from tests.values import SOME_SHA256, training

MODEL = Artifact(
    name="model.joblib",
    size_bytes=9,
    sha256=SOME_SHA256,
    format="joblib",
    modules=("numpy", "sklearn.pipeline"),
    classes=("sklearn.pipeline:Pipeline",),
)

INSTALLED = (
    Distribution(name="scikit-learn", version="1.4.2", import_names=("sklearn",), requires=("numpy", "joblib>=1.2")),
    Distribution(name="numpy", version="1.26.4", import_names=("numpy",), loaded=True),
    Distribution(name="joblib", version="1.4.2", import_names=("joblib",), requires=('psutil; extra == "fast"',)),
    Distribution(name="psutil", version="6.0", import_names=("psutil",)),
    Distribution(name="pandas", version="2.2.0", import_names=("pandas",), requires=("six",), loaded=True),
    Distribution(name="six", version="1.16", import_names=("six",)),
    Distribution(name="jupyterlab", version="4.2", import_names=("jupyterlab",), requires=("tornado",)),
    Distribution(name="tornado", version="6.4", import_names=("tornado",)),
)


def trained(*more: Distribution, **changes: Any) -> Environment:
    """The snapshot of a training that read its data with pandas, in an environment with a notebook server."""
    known: dict[str, Any] = {
        "distributions": (*INSTALLED, *more),
        "artifacts": (MODEL,),
        "modules": (Module(name="numpy", owner="numpy"), Module(name="pandas", owner="pandas")),
        "gaps": (),
        **changes,
    }
    return training(**known)


def only(environment: Environment, *keep: str) -> tuple[set[str], set[str]]:
    """The names that stay, and those that do not."""
    assert environment.python is not None
    assert environment.distributions is not None
    markers = closure.marker_environment(environment.python, environment.system)
    taken, left_out = used.only(environment, list(environment.distributions), markers, keep)
    return {item.name for item in taken}, {item.name for item in left_out}


def test_what_the_model_refers_to_or_training_had_loaded_stays_with_what_it_requires() -> None:
    assert only(trained()) == (
        {"scikit-learn", "numpy", "joblib", "pandas", "six"},
        {"jupyterlab", "tornado", "psutil"},
    )


def test_what_is_named_stays_with_what_it_requires() -> None:
    taken, left_out = only(trained(), "JupyterLab")

    assert {"jupyterlab", "tornado"} <= taken
    assert left_out == {"psutil"}


def test_a_name_that_is_not_installed_is_a_mistake_and_near_ones_are_told() -> None:
    with pytest.raises(UsageError, match="--keep jupyterlap") as caught:
        only(trained(), "jupyterlap")

    assert "`jupyterlab`" in caught.value.hint


def test_a_plugin_that_a_used_library_loads_by_itself_stays() -> None:
    """No metadata requires it, and it runs all the same."""
    lexers = Distribution(name="lexers", version="1", import_names=("lexers",), plugins=("pandas.io", "pytest11"))

    assert "lexers" in only(trained(lexers))[0]


def test_a_plugin_of_what_is_not_used_goes_with_it() -> None:
    lexers = Distribution(name="lexers", version="1", import_names=("lexers",), plugins=("jupyterlab.themes",))

    assert "lexers" in only(trained(lexers))[1]


def test_an_installer_that_only_started_with_python_was_not_used() -> None:
    """The .pth file of setuptools imports a part of it into every process."""
    tools = Distribution(name="setuptools", version="65", import_names=("setuptools", "_distutils_hack"), loaded=True)
    started = Module(name="_distutils_hack", owner="setuptools")
    asked = Module(name="pkg_resources", owner="setuptools")

    assert "setuptools" in only(trained(tools, modules=(started,)))[1]
    assert "setuptools" in only(trained(tools, modules=(started, asked)))[0]


def about(reason: str, item: str = "model.joblib", section: str = "artifacts") -> Gap:
    return Gap(section, GapKind.NOT_RECORDED, reason, item)


def dynamic(name: str) -> dict[str, Any]:
    return {"artifacts": (Artifact(name="m.pkl", size_bytes=1, sha256=SOME_SHA256, modules=("x",), classes=(name,)),)}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"modules": None}, "nothing is known from inside the training process"),
        ({"gaps": (about("--deep: it ended with status 1", "", "modules"),)}, "it ended with status 1"),
        ({"artifacts": ()}, "the snapshot names no model"),
        ({"artifacts": None}, "the snapshot names no model"),
        ({"gaps": (about("its format is not known: what it needs is not read"),)}, "its format is not known"),
        ({"gaps": (about("code, whose imports are not read", "model.joblib/code"),)}, "imports are not read"),
        ({"artifacts": (Artifact(name="m.bin", size_bytes=1, sha256=SOME_SHA256),)}, "of an unknown format"),
        (dynamic("cloudpickle.cloudpickle:_make_function"), "carries code, or imports by name"),
        (dynamic("joblib.externals.cloudpickle.cloudpickle:_make_function"), "carries code, or imports by name"),
        (dynamic("dill._dill:_create_function"), "carries code, or imports by name"),
        (dynamic("importlib:import_module"), "carries code, or imports by name"),
        (dynamic("builtins:eval"), "carries code, or imports by name"),
    ],
)
def test_without_enough_evidence_nothing_is_left_out(changes: dict[str, Any], reason: str) -> None:
    """A library that is missing shows when it is served."""
    with pytest.raises(RefusedError) as caught:
        only(trained(**changes))

    assert any(reason in line for line in caught.value.details)
    assert used.unused(trained(**changes)) == frozenset()


def test_everything_that_is_lacking_is_told_at_once() -> None:
    with pytest.raises(RefusedError) as caught:
        only(trained(modules=None, artifacts=None))

    assert len(caught.value.details) == 2


def test_a_gap_of_something_else_is_no_reason_to_refuse() -> None:
    other = (about("no data was named", "data"), about("it is no conda environment", "", "conda_packages"))

    assert only(trained(gaps=other))[1] == {"jupyterlab", "tornado", "psutil"}


def test_what_a_snapshot_calls_unused_is_what_a_lock_of_it_leaves_out() -> None:
    """`verify` asks the first, and must not accept more than `lock` would have left out."""
    assert used.unused(trained()) == only(trained())[1]


def test_sizes_are_those_of_a_record_that_is_the_recorded_one(tmp_path: Path) -> None:
    info = tmp_path / "six-1.16.dist-info"
    info.mkdir()
    digest = base64.urlsafe_b64encode(hashlib.sha256(b"x").digest()).rstrip(b"=").decode()
    text = f"six.py,sha256={digest},34549\nsix-1.16.dist-info/METADATA,sha256={digest},1000\n"
    (info / "RECORD").write_text(text + "six-1.16.dist-info/RECORD,,\n")
    known = Distribution(name="six", version="1.16", location=str(info), record_sha256=Record(text).digest())
    other = Distribution(name="tornado", version="6.4", location=str(info), record_sha256=SOME_SHA256)
    gone = Distribution(name="jupyterlab", version="4.2", location=str(tmp_path / "gone"), record_sha256=SOME_SHA256)
    environment = training(distributions=(known, other, gone))

    assert used.installed_bytes(environment, {"six", "tornado", "jupyterlab"}) == (35549, ("jupyterlab", "tornado"))
