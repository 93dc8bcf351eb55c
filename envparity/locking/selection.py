"""
What of an environment goes into a lock: every effective distribution but tooling and the installers; its models, and
the settings that move numbers.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from envparity import closure, codec
from envparity.values import NUMERIC_SETTINGS, Artifact, Distribution, Environment, LeftOut, LockedModel, Variable

INSTALLERS = ("pip", "setuptools", "wheel")
"""They install and do not predict. pip never goes into an image; the others only where something requires them."""


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
    """The models that the snapshot knew: files, and folders of them."""
    return tuple(_model(item) for item in environment.artifacts or () if item.kind == "model")


def _model(item: Artifact) -> LockedModel:
    return LockedModel(
        name=item.name,
        size_bytes=item.size_bytes,
        sha256=item.sha256,
        files=item.files or 0,
        modules=item.modules,
    )


def settings(environment: Environment, packages: Collection[str] = ()) -> tuple[Variable, ...]:
    """
    The variables of the training environment that an image sets too. `packages` are its OS packages by name: a locale
    is set where the image has its tables.
    """
    variables = environment.settings.variables if environment.settings is not None else ()
    taken = [
        item
        for item in variables
        if (item.name.startswith(NUMERIC_SETTINGS) and not codec.names_a_place(item))
        or (item.name in _LOCALE and (item.value.upper() in _ANYWHERE or _LOCALES in packages))
    ]
    return tuple(sorted([*taken, *_zone(environment, variables)]))


def _zone(environment: Environment, variables: tuple[Variable, ...]) -> list[Variable]:
    """TZ as it was set; where it was not, the zone that a file of the training host named, unless that was UTC."""
    stated = [item for item in variables if item.name == "TZ" and not codec.names_a_place(item)]
    if stated:
        return stated
    zone = environment.system.time_zone if environment.system is not None else ""
    return [Variable("TZ", zone)] if zone not in {"", "UTC"} and _ZONE.fullmatch(zone) else []


# A name of the tz database, or a rule of POSIX (https://pubs.opengroup.org/onlinepubs/9799919799/, 8.3).
_ZONE = re.compile(r"[A-Za-z<][A-Za-z0-9_+,./:<>-]{0,99}")
_LOCALE = ("LANG", "LC_ALL", "LC_CTYPE", "LC_NUMERIC", "LC_COLLATE", "LC_MONETARY", "LC_TIME")
_ANYWHERE = ("C", "POSIX", "C.UTF-8", "C.UTF8")
"""Locales that every base has."""

_LOCALES = "locales-all"
"""The package of Debian and Ubuntu that has the tables of all others, compiled."""
