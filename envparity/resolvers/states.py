"""How well it is known which file each distribution was installed from, and what is refused because of that."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from envparity.errors import RefusedError
from envparity.resolvers import index, repack
from envparity.values import STATES, Lock, LockedCondaPackage, LockedDistribution, Proof

Found = LockedDistribution | LockedCondaPackage | index.Problem
Explain = Callable[[tuple[Proof, ...]], None]


def proofs(found: Sequence[Found]) -> tuple[Proof, ...]:
    """The state of each distribution, worst first; of what was found under one name, the worst."""
    worst: dict[str, Proof] = {}
    for item in (_proof(item) for item in found):
        if item.name not in worst or _rank(item.state) < _rank(worst[item.name].state):
            worst[item.name] = item
    return tuple(sorted(worst.values(), key=lambda item: (_rank(item.state), item.name)))


def of_lock(lock: Lock) -> tuple[Found, ...]:
    """Everything of a lock that has a state: its distributions, and the conda packages of each target."""
    return (*lock.distributions, *(item for target in lock.targets for item in target.conda_packages))


def require(found: tuple[Proof, ...], least: str, explain: Explain = lambda proofs: None) -> None:
    """
    Let pass what is in this state or a better one; everything where none is named.

    Raises:
        RefusedError: something is below it; all of that is listed, each with what to do, and `explain` was told.
    """
    below = [item for item in found if least and _rank(item.state) < _rank(least)]
    if below:
        explain(found)
        raise RefusedError(
            f"{counted(len(below))} {'are' if len(below) > 1 else 'is'} not {least}, which --require asks for",
            hint="settle each of them where the model is trained, and take the snapshot again",
            details=tuple(map(_line, below)),
        )


def counted(number: int) -> str:
    """`1 distribution`, `2 distributions`."""
    return "1 distribution" if number == 1 else f"{number} distributions"


def reinstall(item: LockedDistribution) -> str:
    """The command that installs this wheel again from where it was found."""
    return index.reinstall(item.name, item.version, item.index or index.PYPI)


def _line(item: Proof) -> str:
    told = "; ".join(filter(None, (item.reason, item.remedy)))
    command = f": `{item.command}`" if item.command else ""
    return f"{item.name} {item.version} is {item.state}: {told}{command}"


def _proof(item: Found) -> Proof:
    if isinstance(item, index.Problem):
        told = {"reason": item.reason, "remedy": item.advice, "command": item.command}
        return Proof(name=item.name, version=item.version, state=item.state, **told)
    if isinstance(item, LockedCondaPackage):
        told = _OF_CONDA.get(item.state, {"reason": _NO_SHA256, "remedy": "install it again, by a newer conda"})
        return Proof(name=f"{item.name} (conda)", version=item.version, state=item.state, file=item.file_name, **told)
    known: dict[str, str] = {}
    if item.state == "matched":
        known = {
            "reason": "tags, version and build point to this file, and nobody has held its RECORD against the installed"
            " one",
            "remedy": "lock with --prove; if it stays so, the snapshot has no RECORD of it: install it from its wheel,"
            " train again, and take a new snapshot",
            "command": reinstall(item),
        }
    elif item.repacked is not None:
        known = {
            "reason": f"it is a wheel that was made here: {repack.made_of(item)}",
            "remedy": "upload it to an index that `--index` names, install it from there, and take a new snapshot",
        }
    elif item.state == "declared":
        known = dict(_DECLARED)
    elif item.state == "resolved":
        known = {
            "reason": "nobody pins it, and a resolver chose this version",
            "remedy": f"pin it (`{item.name}=={item.version}`), or lock a snapshot of where the model was trained",
        }
    elif item.added is not None:
        before = f"{item.added.before} trained the model; " if item.added.before else "it did not train the model; "
        known = {"reason": f"{before}asked for by {', '.join(item.added.asked_by)}"}
    elif item.state == "counterpart":
        known = {
            "reason": "it is the wheel of this version for another platform than the one that trained the model",
            "remedy": "train on the platform that serves",
        }
    elif item.state not in STATES:
        known = {"reason": "this version does not know that state, and so trusts it least"}
    if item.yanked is not None:
        known["yanked"] = item.yanked or "no reason given"
    if item.provenance:
        known["attested"] = ", ".join(item.provenance)
    return Proof(name=item.name, version=item.version, state=item.state, file=item.wheels[0].name, **known)


_DECLARED = {
    "reason": "a file pins it, and nothing proves that it trained the model",
    "remedy": "take a snapshot where the model was trained, and lock that",
    "command": "envparity snapshot -o model.env.json",
}
_OF_CONDA: dict[str, dict[str, str]] = {
    "proven": {},
    "declared": _DECLARED,
    "resolved": {
        "reason": "nobody pins it, and rattler chose this version",
        "remedy": "lock a snapshot of where the model was trained, for that platform",
    },
    "counterpart": {
        "reason": "it is the build of this version for another platform than the one that trained the model",
        "remedy": "train on the platform that serves",
    },
}
_NO_SHA256 = "name, version and build point to this file, and its record has no sha256 to hold against it"


def _rank(state: str) -> int:
    """Where a state stands; one that is not known, below all others."""
    return STATES.index(state) if state in STATES else -1
