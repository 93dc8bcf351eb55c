"""What an experiment tracker calls the run that trained; never a token of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from envparity.collectors.shapes import Fact
from envparity.collectors.tree import gap

# What MLflow and Weights & Biases allow in the identity of a run, and far less than a key of theirs would need.
_IDENTITY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")

_VARIABLES = {"mlflow.run_id": "MLFLOW_RUN_ID", "wandb.run_id": "WANDB_RUN_ID"}
"""https://mlflow.org/docs/latest/ml/tracking, https://docs.wandb.ai/models/track/environment-variables"""

_ASKED: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "mlflow.run_id": ("mlflow", lambda module: module.active_run().info.run_id),
    "mlflow.experiment_id": ("mlflow", lambda module: module.active_run().info.experiment_id),
    "wandb.run_id": ("wandb", lambda module: module.run.id),
    "wandb.project": ("wandb", lambda module: module.run.project),
}


def runs(environ: Mapping[str, str], modules: Mapping[str, Any] | None = None) -> Iterator[Fact]:
    """
    Observe the active runs: by the variables that trackers give to what they start, and, of the process that asks, by
    the `modules` that it has imported. None is imported for that, and a tracker that fails is passed over.
    """
    found = {name: environ[variable] for name, variable in _VARIABLES.items() if environ.get(variable)}
    for name, (module, ask) in _ASKED.items():
        if modules is not None and module in modules:
            told = _told(ask, modules[module])
            if isinstance(told, str):
                found[name] = told
    named = [{"name": name, "value": value} for name, value in sorted(found.items()) if _IDENTITY.fullmatch(value)]
    if named:
        yield {"kind": "source-code", "run": named}
    for name in sorted(found.keys() - {pair["name"] for pair in named}):
        yield gap("source_code", "not-recorded", "it does not look like the name of a run, and is not kept", name)


def _told(ask: Callable[[Any], Any], module: Any) -> Any:
    try:
        return ask(module)
    except Exception:  # noqa: BLE001 - no active run, or whatever another library does; training goes on
        return None
