"""
What trained the model, as artifacts with hashes: recovered from a snapshot, never resolved again.

    1  what goes in          every effective distribution but tooling and the installers
    2  its exact wheels      found on the index by the tags that the installed WHEEL file recorded, and proven by RECORD
                             (what is not there is packed from where it lies, if asked for)
    3  the interpreter       of the base, where that is the same; else the snapshot's own, captured
    4  the base              the packages of the snapshot's own release, closed over what 2 and 3 need
    5  the rest              models, settings that move numbers, the snapshot itself
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from envparity import closure, codec
from envparity.errors import (
    IncompleteError,
    IntegrityError,
    MalformedError,
    RefusedError,
    UnreachableError,
    UnsupportedError,
    UsageError,
)
from envparity.fetch import Fetcher
from envparity.image import preflight, wheel_end, wheels
from envparity.image.supply import wheel_wanted
from envparity.lockfile import Recovered
from envparity.oci import pack
from envparity.resolvers import debian, index, interpreter, repack, states
from envparity.values import (
    ARCHITECTURES,
    Artifact,
    Basis,
    Distribution,
    Environment,
    LeftOut,
    Lock,
    LockedArtifact,
    LockedDistribution,
    LockedModel,
    Python,
    System,
    Target,
    Variable,
)

LOCKABLE = ("x86_64", "aarch64")
"""The processors that a lock can be made for, as `uname -m` says them."""

INSTALLERS = ("pip", "setuptools", "wheel")
"""They install and do not predict. pip never goes into an image; the others only where something requires them."""

NUMERIC_SETTINGS = ("BLIS_", "GOTO_", "KMP_", "MKL_", "NPY_", "NUMEXPR_", "OMP_", "OPENBLAS_", "PYTHONHASHSEED")
"""
Variables that move numbers, by prefix: an image sets them as the training environment had them. One that names a path
is not among them, since that path is of the training host.
"""


def recover(
    environment: Environment,
    *,
    fetcher: Fetcher,
    workplace: Path,
    base: str | None = None,
    index_url: str = index.PYPI,
    allow_incomplete: bool = False,
    prove: bool = False,
    require: str = "",
    explain: states.Explain = lambda proofs: None,
    repacked: Collection[str] = (),
    environ: Mapping[str, str] = {},
) -> Recovered:
    """
    The lock of a snapshot, for the snapshot's own platform.

    The same snapshot, index and archive give the same lock. `workplace` is a folder that the artifacts are made in.
    With `prove`, every wheel is held against its RECORD before the first one is downloaded. `require` is the least
    state. `explain` is told the state of each distribution before a refusal because of it. `repacked` are the names of
    distributions that are packed from where they lie, or `all` for those that the index does not serve as installed; a
    build backend, where one is needed, is started with `environ`.

    Raises:
        RefusedError: something cannot be locked; everything that cannot is listed, each with what to do.
        IncompleteError: the snapshot is not whole. UnsupportedError: of a source or host that is not supported yet.
        UnreachableError, IntegrityError: of what is fetched; UnreachableError at once where that is not allowed.
    """
    python, system, installed = _sections(environment, allow_incomplete)
    if fetcher.client.offline:
        raise UnreachableError(
            "a lock asks the package index and the archive of the base, and --offline forbids it",
            hint="lock where there is a network; `build` and `verify` of that lock work with --offline from then on",
        )
    platform, architecture = _platform(system)
    base = base or debian.default_base(system)

    # 1
    chosen, left_out = _chosen(installed, closure.marker_environment(python, system))
    # 2
    named, everything = repack.ask(repacked, chosen)
    asked = [item for item in chosen if item.name not in named]
    found = index.find_wheels(
        asked,
        client=fetcher.client,
        index=index_url,
        python_version=python.version,
        platform_tags=python.platform_tags,
        prove=lambda item: _record_of(fetcher, item),
        progress=fetcher.progress,
    )
    recorded = {item.name: item.record_sha256 for item in chosen}
    if prove:
        found = _proven_from_afar(found, recorded, fetcher)
    matched = _settled((*_changed_since(asked, index_url), *found), explain, everything)
    if prove:
        states.require(states.proofs(matched), require, explain)
    files = fetcher.blobs([wheel_wanted(item) for item in matched], "wheels")
    served = _settled(
        tuple(_proven(item, file, recorded[item.name]) for item, file in zip(matched, files, strict=True)),
        explain,
        everything,
    )
    left = [item for item in chosen if item.name not in {found.name for found in served}]
    packed = _packed(left, environment.origin.taken_at, python, workplace, environ)
    distributions = _settled((*served, *packed), explain)
    places = {item.name: file for item, file in zip(matched, files, strict=True)}
    places |= {item.name: workplace / item.wheel.name for item in distributions if item.repacked is not None}
    files = [places[item.name] for item in distributions]
    states.require(states.proofs(distributions), require, explain)
    distributions = tuple(
        _with_short_names(item, file, environment.artifacts or ())
        for item, file in zip(distributions, files, strict=True)
    )
    needs = [_needs(fetcher, item, file) for item, file in zip(distributions, files, strict=True)]
    sonames = frozenset[str]().union(*(needed for needed, _ in needs))
    # 3 and 4
    decided = interpreter.resolve(
        python,
        base=base,
        architecture=architecture,
        installed=environment.os_packages or (),
        sonames=sonames,
        workplace=workplace,
        fetcher=fetcher,
    )
    # 5
    content = codec.content_bytes(environment)
    digest = codec.content_digest(environment).removeprefix("sha256:")
    snapshot = LockedArtifact(name=f"snapshot-{digest[:12]}.env.json", size_bytes=len(content), sha256=digest)
    lock = Lock(
        requires_python=f"=={'.'.join(python.version.split('.')[:2])}.*",
        environments=(f'sys_platform == "linux" and platform_machine == "{system.machine}"',),
        distributions=distributions,
        targets=(
            Target(
                platform=platform,
                base=base,
                interpreter=decided.interpreter,
                os_packages=decided.os_packages,
                substituted=decided.substituted,
                left_out=(*left_out, *decided.left_out),
            ),
        ),
        snapshot=snapshot,
        packer=pack.current_packer(),
        models=tuple(_model(item) for item in environment.artifacts or () if item.kind == "model"),
        settings=_settings(environment),
    )
    floors = {item.wheel.name: floor for item, (_, floor) in zip(distributions, needs, strict=True)}
    preflight.check_platform(lock, lock.targets[0], floors=floors)
    artifacts: dict[str, Path | bytes] = {snapshot.name: content}
    artifacts |= {item.wheel.name: places[item.name] for item in distributions if item.repacked is not None}
    if decided.interpreter.artifact is not None:
        artifacts[decided.interpreter.artifact.name] = workplace / decided.interpreter.artifact.name
    return Recovered(lock, artifacts)


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


def _platform(system: System) -> tuple[str, str]:
    if system.os != "linux" or system.machine not in LOCKABLE:
        raise UnsupportedError(
            f"locking for {system.os or 'an unknown system'} {system.machine} is not supported yet",
            hint="take the snapshot on Linux (x86_64 or aarch64)",
        )
    architecture = ARCHITECTURES[system.machine]
    return f"linux/{architecture}", architecture


def _chosen(installed: tuple[Distribution, ...], markers: dict[str, str]) -> tuple[list[Distribution], list[LeftOut]]:
    effective = [item for item in installed if item.importable and not item.tooling]
    others = {item.name for item in effective} - set(INSTALLERS)
    required = closure.required_by(effective, others, markers)
    chosen, left_out = [], []
    for item in effective:
        if item.name == "pip" or (item.name in INSTALLERS and item.name not in required):
            reason = "it installs, and an image is not installed into" if item.name == "pip" else "nothing requires it"
            left_out.append(LeftOut(kind="distribution", name=item.name, version=item.version, reason=reason))
        else:
            chosen.append(item)
    return chosen, left_out


def _changed_since(chosen: list[Distribution], index_url: str) -> tuple[index.Problem, ...]:
    """What `--verify-files` found changed: a published wheel of it is not what trained the model."""
    changed = [(item, (*(item.modified or ()), *(item.missing or ()))) for item in chosen]
    return tuple(
        index.Problem(
            item.name,
            item.version,
            f"{len(paths)} of its files were changed after it was installed: {_some(paths)}",
            "install it again, train again, and take the snapshot with --verify-files",
            "modified",
            index.reinstall(item.name, item.version, index_url),
        )
        for item, paths in changed
        if paths
    )


def _some(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(f"`{path}`" for path in paths[:_SHOWN]) + more


_SHOWN = 5


def _settled(
    found: tuple[states.Found, ...], explain: states.Explain, everything: bool = False
) -> tuple[LockedDistribution, ...]:
    """Those that were found, by name. Where `everything` is packed that was not, a problem only takes it from these."""
    problems = [item for item in found if isinstance(item, index.Problem)]
    names = {item.name for item in problems}
    if problems and not everything:
        explain(states.proofs(found, final=False))
        raise RefusedError(
            f"{states.counted(len(names))} cannot be locked",
            hint="settle each of them where the model is trained, and take the snapshot again; or pack what lies there:"
            " `--repack NAME`",
            details=tuple(map(str, problems)),
        )
    matches = (item for item in found if isinstance(item, LockedDistribution) and item.name not in names)
    return tuple(sorted(matches, key=lambda item: item.name))


def _proven_from_afar(
    found: tuple[states.Found, ...], recorded: dict[str, str | None], fetcher: Fetcher
) -> tuple[states.Found, ...]:
    """
    The same, each held against its RECORD by the end of its wheel. That can prove, and never refuse: a wheel whose end
    proves nothing is fetched, and its sha256 comes first.
    """
    asked = [item for item in found if isinstance(item, LockedDistribution) and recorded[item.name] is not None]
    ends = wheel_end.record_sha256s([item.wheel for item in asked], client=fetcher.client, progress=fetcher.progress)
    doubtful = [item for item, digest in zip(asked, ends, strict=True) if digest != recorded[item.name]]
    files = fetcher.blobs([wheel_wanted(item) for item in doubtful], "wheels that their ends do not prove")
    held = {item.name: msgspec.structs.replace(item, state="proven") for item in asked}
    verdicts: dict[str, states.Found] = {**held}
    for item, file in zip(doubtful, files, strict=True):
        verdicts[item.name] = _proven(item, file, recorded[item.name])
    return tuple(verdicts.get(item.name, item) for item in found)


def _proven(item: LockedDistribution, file: Path, record_sha256: str | None) -> states.Found:
    """
    The same, held against the list of files that was installed: a wheel that was built again under the same name and
    tags, or that a mirror altered, is not the one that trained the model.
    """
    if record_sha256 is None:
        return item
    if wheels.record_sha256(file, file_name=item.wheel.name) != record_sha256:
        return index.Problem(
            item.name,
            item.version,
            f"the files of `{item.wheel.name}` on the index are not the ones that were installed",
            "name the index that it came from with `--index`, or install it again from this one and train again",
            command=states.reinstall(item),
        )
    return msgspec.structs.replace(item, state="proven")


def _packed(
    items: list[Distribution], taken_at: str, python: Python, workplace: Path, environ: Mapping[str, str]
) -> tuple[states.Found, ...]:
    """Wheels of what no index serves, each looked through as `build` will."""
    xy = ".".join(python.version.split(".")[:2])

    def sound(item: states.Found) -> states.Found:
        if isinstance(item, index.Problem):
            return item
        try:
            wheels.wheel_entries(workplace / item.wheel.name, python_xy=xy)
        except (MalformedError, IntegrityError) as error:
            return index.Problem(item.name, item.version, f"cannot be packed: {error}", "install it from a wheel")
        return item

    made = repack.pack(items, workplace, python=python, taken_at=taken_at, environ=environ)
    return tuple(map(sound, made))


def _record_of(fetcher: Fetcher, item: LockedDistribution) -> str:
    """That of a wheel that may be the one; of several, all but one would be downloaded for nothing."""
    digest = wheel_end.record_sha256(item.wheel, client=fetcher.client)
    if digest is not None:
        return digest
    (file,) = fetcher.blobs([wheel_wanted(item)])
    return wheels.record_sha256(file, file_name=item.wheel.name)


def _with_short_names(item: LockedDistribution, file: Path, artifacts: Iterable[Artifact]) -> LockedDistribution:
    """
    The same, with the short names under which a model refers to its extension modules: Cython gives a class of
    `sklearn._loss._loss` the module `_loss`, and registers that name once the package is imported.
    """
    short = {module for artifact in artifacts for module in artifact.modules if "." not in module}
    if not short or item.wheel.name.endswith("-none-any.whl"):
        return item
    stems = {name.rpartition(".")[2] for name in wheels.extension_modules(file) if "." in name}
    added = (short & stems) - set(item.import_names)
    return msgspec.structs.replace(item, import_names=tuple(sorted({*item.import_names, *added})))


def _needs(fetcher: Fetcher, item: LockedDistribution, file: Path) -> tuple[frozenset[str], str]:
    """
    The shared objects that a wheel expects of the base, and the oldest glibc that its native files run with; noted by
    its digest, since they follow from its bytes.
    """
    if item.wheel.name.endswith("-none-any.whl"):
        return frozenset(), ""

    def read() -> list[str]:
        needs = wheels.native_needs(file, file_name=item.wheel.name)
        return [needs.glibc_floor, *sorted(needs.sonames)]

    floor, *sonames = _noted(fetcher, f"native-1-{item.wheel.sha256}", read)
    return frozenset(sonames), floor


def _noted(fetcher: Fetcher, key: str, compute: Callable[[], list[str]]) -> list[str]:
    noted = fetcher.cache.note(key, list[str])
    if noted is not None:
        return noted
    value = compute()
    fetcher.cache.write_note(key, value)
    return value


def _model(item: Artifact) -> LockedModel:
    return LockedModel(name=item.name, size_bytes=item.size_bytes, sha256=item.sha256, modules=item.modules)


def _settings(environment: Environment) -> tuple[Variable, ...]:
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


def summary(lock: Lock, *, verbose: bool = False) -> list[str]:
    """What a person should know of a lock: what it holds, what was substituted and what was left out."""
    target = lock.targets[0]
    interpreter = target.interpreter
    lines = [
        f"{len(lock.distributions)} distributions, {len(target.os_packages)} OS packages of {target.base},"
        f" Python {interpreter.version} ({'the base’s own' if interpreter.kind == 'base' else 'captured'})"
    ]
    lines += [f"  repacked: {repack.made_of(item)}" for item in lock.distributions if item.repacked is not None]
    lines += [f"  yanked: {item.name} {item.version}: {item.yanked or 'no reason given'}" for item in _yanked(lock)]
    if target.substituted:
        lines.append(
            f"  substituted: {len(target.substituted)} OS packages that are not there in the snapshot's version"
        )
    telling = [item for item in target.substituted if verbose or item.name.startswith(_TELLING)]
    lines += [f"    {item.name} {item.before} -> {item.after}" for item in telling]
    lines += [
        f"  matched and not proven: {item.name} {item.version}"
        for item in lock.distributions
        if item.state == "matched"
    ]
    packages = [item for item in target.left_out if item.kind == "os-package"]
    if packages and not verbose:
        lines.append(f"  left out: {sum(item.count for item in packages)} OS packages that the image does not need")
    for item in target.left_out:
        if verbose or item not in packages:
            lines.append(f"  left out: {item.name} {item.version}".rstrip() + f": {item.reason}")
    return [part for line in lines for part in textwrap.wrap(line, 80, subsequent_indent="    ")]


_TELLING = ("libc6", "libstdc++6", "libgomp1", "libgcc-s1", "python3")
"""Packages whose substitution is always shown: numbers are made in them, or they are the interpreter."""


def _yanked(lock: Lock) -> list[LockedDistribution]:
    return [item for item in lock.distributions if item.yanked is not None]
