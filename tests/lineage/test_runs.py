"""The run of a tracker, and the script of a process."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from envparity.lineage.runs import runs
from envparity.lineage.script import script


def read(environ: dict[str, str], modules: dict[str, Any] | None = None) -> tuple[dict[str, str], list[str]]:
    facts = list(runs(environ, modules))
    pairs = [pair for fact in facts if fact["kind"] == "source-code" for pair in fact["run"]]
    return {pair["name"]: pair["value"] for pair in pairs}, [fact["item"] for fact in facts if fact["kind"] == "gap"]


RUN = "0123456789abcdef0123456789abcdef"


def test_a_run_is_known_by_the_variables_of_its_tracker() -> None:
    environ = {
        "MLFLOW_RUN_ID": RUN,
        "WANDB_RUN_ID": "1abc2def",
        "WANDB_API_KEY": "canary",
        "MLFLOW_TRACKING_TOKEN": "c",
    }

    assert read(environ) == ({"mlflow.run_id": RUN, "wandb.run_id": "1abc2def"}, [])
    assert read({}) == ({}, [])
    assert read({"MLFLOW_RUN_ID": ""}) == ({}, [])


def test_a_running_process_asks_the_trackers_that_it_has_imported() -> None:
    """Stand-ins with the two attributes that are read: neither tracker is a dependency of anything here."""
    info = SimpleNamespace(run_id=RUN, experiment_id="7")
    mlflow = SimpleNamespace(active_run=lambda: SimpleNamespace(info=info))
    wandb = SimpleNamespace(run=SimpleNamespace(id="1abc2def", project="tickets", api_key="canary"))

    found, gaps = read({"MLFLOW_RUN_ID": "of-the-parent"}, {"mlflow": mlflow, "wandb": wandb})

    assert found == {
        "mlflow.run_id": RUN,
        "mlflow.experiment_id": "7",
        "wandb.run_id": "1abc2def",
        "wandb.project": "tickets",
    }
    assert gaps == []


def test_a_tracker_without_a_run_or_out_of_order_is_passed_over() -> None:
    def broken() -> None:
        raise RuntimeError("the server is gone")

    for modules in (
        {"mlflow": SimpleNamespace(active_run=lambda: None), "wandb": SimpleNamespace(run=None)},
        {"mlflow": SimpleNamespace(active_run=broken), "wandb": ModuleType("wandb")},
    ):
        assert read({}, modules) == ({}, [])


def test_what_does_not_look_like_a_run_is_not_kept() -> None:
    assert read({"WANDB_RUN_ID": "a b/canary?x=1"}) == ({}, ["wandb.run_id"])
    assert read({"WANDB_RUN_ID": "x" * 65}) == ({}, ["wandb.run_id"])


def test_a_script_is_its_path_and_its_digest(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("1\n")
    main = ModuleType("__main__")
    main.__file__ = str(tmp_path / "train.py")

    path, fact = script(main, {})

    assert path == tmp_path / "train.py"
    assert fact == {
        "kind": "source-code",
        "script": str(tmp_path / "train.py"),
        "script_sha256": hashlib.sha256(b"1\n").hexdigest(),
    }


def test_a_notebook_is_the_file_that_its_server_names(tmp_path: Path) -> None:
    (tmp_path / "train.ipynb").write_text("{}")
    (tmp_path / "ipykernel_launcher.py").write_text("")
    notebook = str(tmp_path / "train.ipynb")
    main = ModuleType("__main__")
    main.__file__ = str(tmp_path / "ipykernel_launcher.py")

    assert script(main, {"JPY_SESSION_NAME": notebook})[0] == Path(notebook)
    main.__vsc_ipynb_file__ = notebook  # type: ignore[attr-defined]
    assert script(main, {})[0] == Path(notebook)


@pytest.mark.parametrize("name", [None, "", "<stdin>", "/absent/train.py"])
def test_a_process_without_a_file_has_a_gap(name: str | None) -> None:
    main = ModuleType("__main__")
    main.__file__ = name

    path, fact = script(main, {})

    assert path is None
    assert (fact["gap"], fact["item"]) == ("not-recorded", "script")
    assert script(None, {})[0] is None
