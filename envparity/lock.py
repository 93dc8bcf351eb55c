"""
What trained the model, as artifacts with hashes: recovered from a snapshot, never resolved again.

    1  what goes in          every effective distribution but tooling and the installers; or only what was used of them
    2  its exact wheels      found on the index by the tags that the installed WHEEL file recorded, and proven by RECORD
                             (what is not there is packed from where it lies, if asked for); on another platform than
                             the training's, the wheels of the same versions;
                             the packages of conda, with the distributions that they bring, are found in their channels
    3  the interpreter       of the base, where that is the same; conda's; else the snapshot's own, captured; on
                             another platform the base's
    4  the base              the packages of the snapshot's own release, closed over what 2 and 3 need
    5  the rest              models, settings that move numbers, the snapshot itself
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from envparity import closure, codec, platforms
from envparity.errors import IncompleteError, RefusedError, UnreachableError, UnsupportedError, UsageError
from envparity.fetch import Fetcher
from envparity.image import preflight
from envparity.lockfile import Recovered
from envparity.locking import (
    additions,
    conda,
    counterparts,
    development,
    pinned,
    pinned_wheels,
    selection,
    targets,
    used,
)
from envparity.locking.asked import Asked
from envparity.locking.bundle import bundled
from envparity.locking.summary import summary
from envparity.locking.wheels import Wheels, recovered
from envparity.oci import pack
from envparity.progress import SILENT
from envparity.resolvers import debian, interpreter, interpreter_of_image
from envparity.values import (
    ARCHITECTURES,
    Basis,
    Distribution,
    Environment,
    Lock,
    LockedArtifact,
    Origin,
    Python,
    System,
    Target,
)

__all__ = ["Asked", "recover", "summary"]

_PLAIN = Asked()


def recover(environment: Environment, *, fetcher: Fetcher, workplace: Path, asked: Asked = _PLAIN) -> Recovered:
    """
    The lock of a snapshot, for the platforms that were asked for, by default its own (`locking.targets`); or of a
    source that only says what should be installed, for the target that was asked for (`locking.pinned`).

    The same snapshot, index and archive give the same lock. `workplace` is a folder that the artifacts are made in.

    Raises:
        RefusedError: something cannot be locked; everything that cannot is listed, each with what to do.
        IncompleteError: the snapshot is not whole. UnsupportedError: of a source or host that is not supported yet.
        UnreachableError, IntegrityError: of what is fetched; UnreachableError at once where that is not allowed.
    """
    if pinned.is_pinned(environment):
        made = _declared(environment, asked=asked, fetcher=fetcher, workplace=workplace)
    else:
        made = _trained(environment, asked=asked, fetcher=fetcher, workplace=workplace)
    return bundled(made, fetcher=fetcher, mirrors=debian.package_urls) if asked.bundle else made


def _trained(environment: Environment, *, asked: Asked, fetcher: Fetcher, workplace: Path) -> Recovered:
    """Of a snapshot: what trained the model, and of another platform what comes nearest to it."""
    python, system, installed = _sections(environment, asked.allow_incomplete)
    targets.require_unasked(asked)
    _require_network(fetcher)
    markers = closure.marker_environment(python, system)
    packages = conda.installed(environment, python)
    if packages:
        conda.require_unasked(asked)
        installed = conda.without_brought(installed, packages)
    # 1
    chosen, left_out = selection.chosen(installed, markers)
    goals = targets.goals(python, system, chosen, asked=asked, fetcher=fetcher)
    if packages:
        targets.require_own(goals)
    chosen, developed = development.without(environment, chosen, markers, asked.dev_exclude)
    left_out += developed
    plan = additions.planned(chosen, goals[0].place, goals[0].markers, asked=asked)
    if asked.only_used:
        chosen, unused = used.only(environment, chosen, markers, (*asked.keep, *plan.beside))
        left_out += unused
    # 2
    of_conda = conda.recovered(environment, packages, asked=asked, fetcher=fetcher, workplace=workplace)
    trained = [item for item in chosen if item.name not in plan.names]
    divided = counterparts.divided(trained, goals, markers, plan.names)
    exact = {item.name for each in divided for item in each.exact}
    # The archive's lists are fetched, checked and unpacked beside the index's pages, whose bar is the one shown.
    quiet = replace(fetcher, progress=SILENT)
    with fetcher.client.workers(1) as pool:
        archives = [pool.submit(goal.archive, quiet) for goal in goals]
        others = counterparts.found(divided, asked=asked, fetcher=fetcher)
        there = [item for item in trained if item.name in exact]
        wheels = recovered(environment, there, python, asked=asked, fetcher=fetcher, workplace=workplace)
        indexes = [archive.result() for archive in archives]
    models = environment.artifacts or ()
    locks: list[Lock] = []
    artifacts: dict[str, Path | bytes] = {}
    for each, index in zip(divided, indexes, strict=True):
        goal = each.goal
        mine = counterparts.together(each, wheels, others, asked=asked, fetcher=fetcher, artifacts=models)
        mine = additions.joined(mine, plan, goal.place, asked=asked, fetcher=fetcher, artifacts=models)
        # 3 and 4
        os_packages = goal.installed(environment.os_packages or (), system)
        if of_conda.packages:
            decided = conda.decided(
                python,
                of_conda,
                base=goal.place.base,
                architecture=goal.architecture,
                os_packages=os_packages,
                sonames=mine.sonames,
                add=asked.add_os,
                fetcher=fetcher,
            )
        else:
            decided = interpreter.resolve(
                goal.python,
                base=goal.place.base,
                architecture=goal.architecture,
                installed=os_packages,
                sonames=mine.sonames,
                workplace=workplace,
                fetcher=fetcher,
                add=asked.add_os,
                index=index,
                bring=partial(_brought, asked=asked, workplace=workplace, fetcher=fetcher, origin=environment.origin),
            )
        target = Target(
            platform=goal.platform,
            base=goal.place.base,
            interpreter=decided.interpreter,
            conda_packages=of_conda.packages,
            virtual_packages=of_conda.virtual,
            os_packages=decided.os_packages,
            substituted=(*goal.substituted, *decided.substituted),
            left_out=(*left_out, *each.left_out, *decided.left_out),
            added_os=tuple(sorted(set(asked.add_os))),
        )
        # 5
        made = _made(environment, target, mine, workplace)
        locks.append(made.lock)
        artifacts |= made.artifacts
    return Recovered(platforms.joined(locks), artifacts)


def _declared(environment: Environment, *, asked: Asked, fetcher: Fetcher, workplace: Path) -> Recovered:
    """Of a source that only says what should be installed: as it pins, for the one target that was asked for."""
    _require_network(fetcher)
    stated = pinned.settled(environment, asked, fetcher)
    # 1 and 2
    additions.require_unasked(asked)
    if asked.only_used:
        used.require_evidence(stated.environment)
    wheels, missing = pinned_wheels.wheels_of(stated, asked=asked, fetcher=fetcher)
    # 3 and 4
    architecture = ARCHITECTURES[stated.system.machine]
    decided = interpreter.resolve(
        stated.python,
        base=stated.base,
        architecture=architecture,
        installed=stated.environment.os_packages or (),
        sonames=wheels.sonames,
        workplace=workplace,
        fetcher=fetcher,
        add=asked.add_os,
        index=stated.index,
        bring=partial(_brought, asked=asked, workplace=workplace, fetcher=fetcher, origin=environment.origin),
    )
    target = Target(
        platform=f"linux/{architecture}",
        base=stated.base,
        interpreter=decided.interpreter,
        os_packages=decided.os_packages,
        substituted=(*stated.substituted, *decided.substituted),
        left_out=(*stated.left_out, *missing, *decided.left_out),
        added_os=tuple(sorted(set(asked.add_os))),
    )
    # 5
    return _made(stated.environment, target, wheels, workplace)


def _made(environment: Environment, target: Target, wheels: Wheels, workplace: Path) -> Recovered:
    """The lock of one target, and what lies beside it."""
    content = codec.content_bytes(environment)
    digest = codec.content_digest(environment).removeprefix("sha256:")
    snapshot = LockedArtifact(name=f"snapshot-{digest[:12]}.env.json", size_bytes=len(content), sha256=digest)
    lock = Lock(
        requires_python=f"=={'.'.join(target.interpreter.version.split('.')[:2])}.*",
        environments=(platforms.condition(target.platform),),
        distributions=wheels.distributions,
        targets=(target,),
        snapshot=snapshot,
        packer=pack.current_packer(),
        models=selection.models(environment),
        settings=selection.settings(environment),
    )
    preflight.check_platform(lock, target, floors=wheels.floors)
    artifacts: dict[str, Path | bytes] = {snapshot.name: content, **wheels.made}
    if target.interpreter.artifact is not None:
        artifacts[target.interpreter.artifact.name] = workplace / target.interpreter.artifact.name
    return Recovered(lock, artifacts)


def _brought(python: Python, *, asked: Asked, workplace: Path, fetcher: Fetcher, origin: Origin) -> Python:
    """The interpreter as it lies on this machine: where the snapshot says, or out of the image that was named."""
    if asked.interpreter_in:
        place = workplace / "interpreter"
        return interpreter_of_image.brought(python, asked.interpreter_in, place, fetcher=fetcher, environ=asked.environ)
    place_of_it = origin.reference.partition("@")[0]
    if interpreter_of_image.is_image(place_of_it):
        raise RefusedError(
            f"Python {python.version} lies in `{place_of_it}`, and the base has another release of it",
            hint=f"name the place, so that it can be captured: `--python {place_of_it}`",
        )
    return python


def _require_network(fetcher: Fetcher) -> None:
    if fetcher.client.offline:
        raise UnreachableError(
            "a lock asks the package index and the archive of the base, and --offline forbids it",
            hint="lock where there is a network; `build` and `verify` of that lock work with --offline from then on",
        )


def _sections(environment: Environment, allow_incomplete: bool) -> tuple[Python, System, tuple[Distribution, ...]]:
    python, system, distributions = environment.python, environment.system, environment.distributions
    if python is None or system is None or distributions is None or python.basis is not Basis.INSTALLED:
        raise UnsupportedError(
            f"locking a source of the kind `{environment.origin.kind}` is not supported yet",
            hint="take a snapshot where the model was trained: `envparity snapshot -o model.env.json`",
        )
    if not environment.complete and not allow_incomplete:
        raise IncompleteError(
            "the snapshot is not complete, so a lock of it would not be what trained the model",
            hint="take it again where everything can be read, or pass --allow-incomplete",
            details=tuple(
                f"{gap.section} {gap.item}: {gap.reason}" for gap in environment.gaps if gap.kind == "unread"
            ),
        )
    if not distributions:
        raise UsageError("the snapshot holds no distribution, so there is nothing to lock")
    return python, system, distributions
