"""Mark envparity itself, and what only it requires, where it is installed beside the model."""

from __future__ import annotations

import msgspec

from envparity import closure
from envparity.values import Environment


def marked(environment: Environment) -> Environment:
    """
    The same environment with its tooling marked (nothing that one of its models refers to), and without the modules of
    it, which only the taking imported.

    Where the interpreter's version is not known, nothing is marked: which requirement holds depends on it.
    """
    python, distributions = environment.python, environment.distributions
    if python is None or not python.version or not distributions:
        return environment
    if all(item.name != closure.OURSELVES for item in distributions):
        return environment
    used = {module for item in environment.artifacts or () if item.kind == "model" for module in item.modules}
    names = closure.tooling(distributions, closure.marker_environment(python, environment.system), used)
    modules = environment.modules
    return msgspec.structs.replace(
        environment,
        modules=None if modules is None else tuple(item for item in modules if item.owner not in names),
        distributions=tuple(msgspec.structs.replace(item, tooling=item.name in names) for item in distributions),
    )
