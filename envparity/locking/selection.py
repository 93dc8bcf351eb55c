"""
What of an environment goes into a lock: every effective distribution but tooling and the installers; its models, and
the settings that move numbers.
"""

from __future__ import annotations

from envparity import closure, codec
from envparity.values import Artifact, Distribution, Environment, LeftOut, LockedModel, Variable

INSTALLERS = ("pip", "setuptools", "wheel")
"""They install and do not predict. pip never goes into an image; the others only where something requires them."""

NUMERIC_SETTINGS = ("BLIS_", "GOTO_", "KMP_", "MKL_", "NPY_", "NUMEXPR_", "OMP_", "OPENBLAS_", "PYTHONHASHSEED")
"""
Variables that move numbers, by prefix: an image sets them as the training environment had them. One that names a path
is not among them, since that path is of the training host.
"""


def chosen(installed: tuple[Distribution, ...], markers: dict[str, str]) -> tuple[list[Distribution], list[LeftOut]]:
    """The distributions that are locked, and those that are not, each with the reason."""
    effective = [item for item in installed if item.importable and not item.tooling]
    others = {item.name for item in effective} - set(INSTALLERS)
    required = closure.required_by(effective, others, markers)
    taken, left_out = [], []
    for item in effective:
        if item.name == "pip" or (item.name in INSTALLERS and item.name not in required):
            reason = "it installs, and an image is not installed into" if item.name == "pip" else "nothing requires it"
            left_out.append(LeftOut(kind="distribution", name=item.name, version=item.version, reason=reason))
        else:
            taken.append(item)
    return taken, left_out


def models(environment: Environment) -> tuple[LockedModel, ...]:
    """The model files that the snapshot knew."""
    return tuple(_model(item) for item in environment.artifacts or () if item.kind == "model")


def _model(item: Artifact) -> LockedModel:
    return LockedModel(name=item.name, size_bytes=item.size_bytes, sha256=item.sha256, modules=item.modules)


def settings(environment: Environment) -> tuple[Variable, ...]:
    """The variables of the training environment that an image sets too."""
    variables = environment.settings.variables if environment.settings is not None else ()
    return tuple(
        item
        for item in variables
        if (item.name.startswith(NUMERIC_SETTINGS) and not codec.names_a_place(item))
        or (item.name in _LOCALE and item.value.upper() in _ANYWHERE)
    )


_LOCALE = ("LANG", "LC_ALL", "LC_CTYPE", "LC_NUMERIC", "LC_COLLATE")
_ANYWHERE = ("C", "POSIX", "C.UTF-8", "C.UTF8")
"""Locales that every base has; another one takes data that it does not carry yet."""
