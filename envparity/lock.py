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

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from envparity import closure, codec, platforms
from envparity.errors import IncompleteError, UnreachableError, UnsupportedError, UsageError
from envparity.fetch import Fetcher
from envparity.image import preflight
from envparity.lockfile import Recovered
from envparity.locking import (
    additions,
    code,
    conda,
    counterparts,
    development,
    ground,
    selection,
    server,
    stated,
    stated_wheels,
    targets,
    used,
)
from envparity.locking.asked import Asked
from envparity.locking.bundle import bundled
from envparity.locking.summary import summary
from envparity.locking.wheels import Wheels, recovered
from envparity.oci import pack
from envparity.progress import SILENT
from envparity.resolvers import archives
from envparity.values import (
    ARCHITECTURES,
    Basis,
    Distribution,
    Environment,
    Lock,
    LockedArtifact,
    Python,
    System,
    Target,
    python_xy,
)

__all__ = ["Asked", "recover", "summary"]

_PLAIN = Asked()


def recover(environment: Environment, *, fetcher: Fetcher, workplace: Path, asked: Asked = _PLAIN) -> Recovered:
    """
    The lock of a snapshot, for the platforms that were asked for, by default its own (`locking.targets`); or of a
    source that only says what should be installed, for the target that was asked for (`locking.stated`).

    The same snapshot, index and archive give the same lock. `workplace` is a folder that the artifacts are made in.

    Raises:
        RefusedError: something cannot be locked; everything that cannot is listed, each with what to do.
        IncompleteError: the snapshot is not whole. UnsupportedError: of a source or host that is not supported yet.
        UnreachableError, IntegrityError: of what is fetched; UnreachableError at once where that is not allowed.
    """
    if stated.is_pinned(environment):
        made = _declared(environment, asked=asked, fetcher=fetcher, workplace=workplace)
    else:
        made = _trained(environment, asked=asked, fetcher=fetcher, workplace=workplace)
    return bundled(made, fetcher=fetcher, mirrors=archives.wanted) if asked.bundle else made


def _trained(environment: Environment, *, asked: Asked, fetcher: Fetcher, workplace: Path) -> Recovered:
    """Of a snapshot: what trained the model, and of another platform what comes nearest to it."""
    python, system, installed = _sections(environment, asked.allow_incomplete)
    targets.require_unasked(asked)
    _require_network(fetcher)
    markers = closure.marker_environment(python, system)
    packages = conda.installed(environment, python)
    present = {item.name for item in installed if item.importable and not item.tooling}
    asked = server.with_server(asked, selection.models(environment), present)
    installed, brought = conda.divided(installed, packages)
    conda.require_unmoved(asked, brought)
    # 1
    chosen, left_out = selection.chosen(installed, markers)
    goals = targets.goals(python, system, chosen, asked=asked, fetcher=fetcher, of_conda=bool(packages))
    by_conda = [item for item in brought if item.importable and not item.tooling]
    fixed = {item.name for item in by_conda}
    everything, needed = chosen, set[str]()
    while True:
        chosen, developed = development.without(environment, everything, markers, asked.dev_exclude, needed)
        plan = additions.planned([*chosen, *by_conda], goals[0].place, goals[0].markers, asked=asked, fixed=fixed)
        back = {item.name for item in developed} & plan.names
        if not back:
            break
        needed |= back  # what is added needs them, and as they trained the model
    left_out += developed
    if asked.only_used:
        kept = plan.beside - fixed
        chosen, unused = used.only(environment, chosen, markers, (*asked.keep, *kept))
        left_out += unused
    # 2
    look = partial(conda.for_goal, environment, packages, asked=asked, fetcher=fetcher, workplace=workplace)
    conda_of = {goal.platform: look(goal) for goal in goals}
    trained = [item for item in chosen if item.name not in plan.names]
    divided = counterparts.divided(trained, goals, markers, plan.names | fixed)
    exact = {item.name for each in divided for item in each.exact}
    # The archive's lists are fetched, checked and unpacked beside the index's pages, whose bar is the one shown.
    quiet = replace(fetcher, progress=SILENT)
    with fetcher.client.workers(1) as pool:
        archives = [pool.submit(goal.archive, quiet) for goal in goals]
        others = counterparts.found(divided, asked=asked, fetcher=fetcher)
        same = [item for item in trained if item.name in exact]
        wheels = recovered(environment, same, python, asked=asked, fetcher=fetcher, workplace=workplace)
        indexes = [archive.result() for archive in archives]
    models = environment.artifacts or ()
    locks: list[Lock] = []
    artifacts: dict[str, Path | bytes] = {}
    for each, index in zip(divided, indexes, strict=True):
        of_conda, goal = conda_of[each.goal.platform]
        mine = counterparts.together(each, wheels, others, asked=asked, fetcher=fetcher, artifacts=models)
        there = [one for item in of_conda.packages for one in item.distributions]
        mine = additions.joined(mine, plan, goal.place, asked=asked, fetcher=fetcher, artifacts=models, there=there)
        # 3 and 4
        stands = ground.Ground(
            platform=goal.platform,
            base=goal.place.base,
            image=goal.image,
            python=goal.python,
            installed=goal.installed(environment.os_packages or (), system),
            index=index,
            substituted=goal.substituted,
        )
        gone = (*left_out, *each.left_out, *goal.left_out)
        target, beside = ground.target(
            stands, mine, of_conda, environment, gone, asked=asked, fetcher=fetcher, workplace=workplace
        )
        artifacts |= beside
        # 5
        made = _made(environment, target, mine, workplace, asked)
        locks.append(made.lock)
        artifacts |= made.artifacts
    return Recovered(platforms.joined(locks), artifacts)


def _declared(environment: Environment, *, asked: Asked, fetcher: Fetcher, workplace: Path) -> Recovered:
    """Of a source that only says what should be installed: as it pins, for each target that was asked for."""
    stated.require_sound(environment, asked)
    _require_network(fetcher)
    additions.require_unasked(asked)
    locks: list[Lock] = []
    artifacts: dict[str, Path | bytes] = {}
    kept: Environment | None = None
    for platform in stated.platforms(asked):
        one = replace(asked, platforms=(platform,) if platform else ())
        source = stated.settled(asked.of_platform.get(platform, environment), one, fetcher)
        if asked.only_used:
            used.require_evidence(source.environment)
        kept = kept or source.environment
        alike = {item.name: item.version for lock in locks for item in lock.distributions}
        target, wheels = _declared_target(source, alike, asked=one, fetcher=fetcher, workplace=workplace)
        # 5
        made = _made(kept, target, wheels, workplace, asked)
        locks.append(made.lock)
        artifacts |= made.artifacts
    stated.require_alike(locks, environment.origin.reference)
    return Recovered(platforms.joined(locks), artifacts)


def _declared_target(
    source: stated.Settled, alike: Mapping[str, str], *, asked: Asked, fetcher: Fetcher, workplace: Path
) -> tuple[Target, Wheels]:
    """One of the targets of a source that only says what should be installed, and its wheels."""
    environment = source.environment
    # 1 and 2
    of_conda = conda.recovered(
        environment,
        source.conda,
        asked=asked,
        fetcher=fetcher,
        workplace=workplace,
        declared=True,
        states_of=dict.fromkeys(source.resolved, "resolved"),
    )
    brought = {item.name: item.version for package in of_conda.packages for item in package.distributions}
    source = stated.with_brought(source, brought, asked=asked)
    of_conda = conda.with_replaced(of_conda, {item.name for item in source.chosen})
    wheels, missing = stated_wheels.wheels_of(source, asked=asked, fetcher=fetcher, alike=alike)
    # 3 and 4
    stands = ground.Ground(
        platform=f"linux/{ARCHITECTURES[source.system.machine]}",
        base=source.base,
        image=source.image,
        python=source.python,
        installed=source.environment.os_packages or (),
        index=source.index,
        substituted=source.substituted,
    )
    gone = (*source.left_out, *missing)
    target, beside = ground.target(
        stands, wheels, of_conda, source.environment, gone, asked=asked, fetcher=fetcher, workplace=workplace
    )
    return target, replace(wheels, made={**wheels.made, **beside})


def _made(environment: Environment, target: Target, wheels: Wheels, workplace: Path, asked: Asked) -> Recovered:
    """The lock of one target, and what lies beside it."""
    content = codec.content_bytes(environment)
    digest = hashlib.sha256(content).hexdigest()
    snapshot = LockedArtifact(name=f"snapshot-{digest[:12]}.env.json", size_bytes=len(content), sha256=digest)
    lock = Lock(
        requires_python=f"=={python_xy(target.interpreter.version)}.*",
        environments=(platforms.condition(target.platform),),
        distributions=wheels.distributions,
        targets=(target,),
        snapshot=snapshot,
        packer=pack.current_packer(),
        bytecode=asked.bytecode,
        models=selection.models(environment),
        settings=selection.settings(environment, {item.name for item in target.held_packages}),
        code=code.code(environment),
        serve=asked.serve,
    )
    preflight.check_platform(lock, target, floors=wheels.floors)
    artifacts: dict[str, Path | bytes] = {snapshot.name: content, **wheels.made}
    if target.interpreter.artifact is not None:
        artifacts[target.interpreter.artifact.name] = workplace / target.interpreter.artifact.name
    return Recovered(lock, artifacts)


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
