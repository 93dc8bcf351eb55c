"""
What a model and its training used of an environment (`--only-used`), and what is left out because they did not.

Two witnesses are needed, and both only ever add: what the model file refers to, and what the training process had
loaded. Everything that these require is used as well.
"""

from __future__ import annotations

__all__ = ["REASON", "installed_bytes", "only", "require_evidence", "unused"]

import difflib
import posixpath
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from envparity import closure
from envparity.collectors.records import Record
from envparity.errors import RefusedError, UsageError
from envparity.locking.selection import INSTALLERS
from envparity.values import Artifact, Distribution, Environment, LeftOut

REASON = "the model does not refer to it, and its training had not loaded it"
"""Why a lock leaves a distribution out that nothing used. `verify` asks the snapshot whether that is so."""

_STARTED_BY_ITSELF = "_distutils_hack"
"""What setuptools imports whenever Python starts; nobody used it."""

_IMPORTS_BY_NAME = frozenset(
    {"builtins:__import__", "builtins:compile", "builtins:eval", "builtins:exec", "marshal:loads"}
)
_CODE_BY_VALUE = frozenset({"types:CodeType", "types:FunctionType"})
_IMPORTERS = frozenset({"importlib", "importlib._bootstrap", "pkgutil", "runpy"})
_WRITERS = frozenset({"cloudpickle", "cloudpickle_fast", "_dill"})
"""Modules, by the last part of their name (several libraries carry a copy), whose functions make code of a pickle."""


def only(
    environment: Environment, chosen: Sequence[Distribution], markers: Mapping[str, str], keep: Collection[str]
) -> tuple[list[Distribution], list[LeftOut]]:
    """
    Those of the chosen distributions that were used, and the others with the reason.

    Args:
        keep: names of distributions that are used although nothing shows it, with what they require.

    Raises:
        RefusedError: the evidence is not enough; all that is missing is listed.
        UsageError: a name to keep is not installed, or could not be locked.
    """
    kept = _known(keep, chosen)
    needed = _used(environment, markers, kept)
    taken = [item for item in chosen if item.name in needed]
    others = [item for item in chosen if item.name not in needed]
    return taken, [LeftOut(kind="distribution", name=it.name, version=it.version, reason=REASON) for it in others]


def require_evidence(environment: Environment) -> list[Artifact]:
    """
    The models of an environment of which is known well enough what they use.

    Raises:
        RefusedError: it is not, and of what that is true is listed.
    """
    models = [item for item in environment.artifacts or () if item.kind == "model"]
    lacking = [*_lacking(environment), *(line for model in models for line in _lacking_of(model, environment))]
    if lacking:
        raise RefusedError(
            "what the model uses is not known well enough to leave anything out",
            hint="take the snapshot inside the training (`snapshot.take(models=...)`) or with --model and --deep;"
            " or lock without --only-used",
            details=tuple(lacking),
        )
    return models


def unused(environment: Environment) -> frozenset[str]:
    """
    The distributions that by the snapshot's own evidence nothing used; none where that evidence is not enough.

    So an image cannot excuse a missing distribution by its own word.
    """
    if environment.python is None or environment.distributions is None:
        return frozenset()
    try:
        needed = _used(environment, closure.marker_environment(environment.python, environment.system), frozenset())
    except RefusedError:
        return frozenset()
    return frozenset(item.name for item in environment.distributions if item.importable) - needed


def installed_bytes(environment: Environment, names: Collection[str]) -> tuple[int, tuple[str, ...]]:
    """
    What the files of some distributions take up by their RECORD, where it still lies where the snapshot found it and
    is the one that was recorded; and the names of those of which that is not so.
    """
    total, unknown = 0, []
    for item in environment.distributions or ():
        if item.name not in names or not item.importable:
            continue
        size = _size(item)
        if size is None:
            unknown.append(item.name)
        else:
            total += size
    return total, tuple(sorted(unknown))


def _size(item: Distribution) -> int | None:
    try:
        record = Record((Path(item.location) / "RECORD").read_text("utf-8", "surrogateescape"))
    except (OSError, ValueError):
        return None
    if not item.location or item.record_sha256 is None or record.digest() != item.record_sha256:
        return None
    return sum(int(size) for _, _, size in record.rows() if size.isdecimal())


def _known(keep: Iterable[str], chosen: Sequence[Distribution]) -> frozenset[str]:
    from packaging.utils import canonicalize_name

    names = [item.name for item in chosen]
    for asked in keep:
        if canonicalize_name(asked) not in names:
            near = difflib.get_close_matches(canonicalize_name(asked), names, n=3)
            raise UsageError(
                f"`--keep {asked}`: the snapshot has no distribution of this name to lock",
                hint=f"is it {' or '.join(f'`{name}`' for name in near)}?" if near else "`envparity show` lists them",
            )
    return frozenset(map(canonicalize_name, keep))


def _used(environment: Environment, markers: Mapping[str, str], keep: Collection[str]) -> frozenset[str]:
    models = require_evidence(environment)
    installed = [item for item in environment.distributions or () if not item.tooling]
    referred = closure.providers_of((module for model in models for module in model.modules), installed)
    roots = {name for names in referred.values() for name in names} | set(keep) | _loaded(environment)
    needed = closure.required_by(installed, roots, markers)
    while plugins := {item.name for item in installed if _is_loaded_by(item, needed, installed)} - needed:
        needed = closure.required_by(installed, needed | plugins, markers)
    return needed


def _lacking(environment: Environment) -> Iterator[str]:
    if environment.modules is None:
        yield "nothing is known from inside the training process: which modules it had loaded"
    if not any(item.kind == "model" for item in environment.artifacts or ()):
        yield "the snapshot names no model"
    for gap in environment.gaps:
        if gap.section == "modules" and environment.modules is not None:
            yield f"modules: {gap.reason}"


def _lacking_of(model: Artifact, environment: Environment) -> Iterator[str]:
    about = [gap for gap in environment.gaps if gap.section == "artifacts" and _is_about(gap.item, model.name)]
    yield from (f"{gap.item}: {gap.reason}" for gap in about)
    if not model.modules and not about:
        yield f"{model.name}: it says of no module that it needs it ({model.format or 'of an unknown format'})"
    dynamic = [name for name in model.classes if _is_dynamic(name)]
    if dynamic:
        shown = ", ".join(f"`{name}`" for name in dynamic[:3])
        yield f"{model.name}: it carries code, or imports by name: what that needs cannot be seen ({shown})"


def _is_dynamic(name: str) -> bool:
    """Whether something that a pickle refers to makes code of it, or imports by a name that it is given."""
    module = name.partition(":")[0]
    return name in _IMPORTS_BY_NAME | _CODE_BY_VALUE or module in _IMPORTERS or module.rpartition(".")[2] in _WRITERS


def _is_about(item: str, name: str) -> bool:
    return item == name or item.startswith(posixpath.join(name, ""))


def _loaded(environment: Environment) -> set[str]:
    """The distributions that the process had loaded; an installer that merely started with Python is none."""
    loaded = {item.name for item in environment.distributions or () if item.loaded and item.importable}
    modules = environment.modules or ()
    asked = {item.owner for item in modules if item.name.partition(".")[0] != _STARTED_BY_ITSELF}
    return loaded - (set(INSTALLERS) - asked)


def _is_loaded_by(item: Distribution, needed: Collection[str], installed: Iterable[Distribution]) -> bool:
    """Whether it offers itself to a used distribution that loads such plugins by itself (`pygments.lexers`)."""
    if not item.plugins or not item.importable:
        return False
    hosts = closure.providers_of((group.partition(".")[0] for group in item.plugins), installed)
    return any(name in needed for names in hosts.values() for name in names if name != item.name)
