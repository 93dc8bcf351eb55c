"""Whether a wheel that was found is the one that was installed: RECORD says it, from afar or in the whole file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from envparity.errors import IntegrityError, MalformedError, RefusedError
from envparity.fetch import Fetcher
from envparity.image import wheel_end, wheels
from envparity.image.supply import wheel_wanted
from envparity.resolvers import index, repack, states
from envparity.resolvers.indexes import Indexes
from envparity.values import Distribution, LockedDistribution, Python, python_xy
from envparity.words import listed


def changed_since(chosen: list[Distribution], indexes: Indexes) -> tuple[index.Problem, ...]:
    """What `--verify-files` found changed: a published wheel of it is not what trained the model."""
    changed = [(item, (*(item.modified or ()), *(item.missing or ()))) for item in chosen]
    return tuple(
        index.Problem(
            item.name,
            item.version,
            f"{len(paths)} of its files were changed after it was installed:"
            f" {listed((f'`{path}`' for path in paths), 5)}",
            "install it again, train again, and take the snapshot with --verify-files",
            "modified",
            index.reinstall(item.name, item.version, indexes.of(item.name)[0].url),
        )
        for item, paths in changed
        if paths
    )


def settled(
    found: tuple[states.Found, ...], explain: states.Explain, everything: bool = False, *, after_packing: bool = False
) -> tuple[LockedDistribution, ...]:
    """Those that were found, by name. Where `everything` is packed that was not, a problem only takes it from these."""
    problems = [item for item in found if isinstance(item, index.Problem)]
    names = {item.name for item in problems}
    if problems and not everything:
        explain(states.proofs(found))
        raise RefusedError(
            f"{states.counted(len(names))} cannot be locked",
            hint="settle each of them where the model is trained, and take the snapshot again"
            + ("" if after_packing else "; or pack what lies there: `--repack NAME`"),
            details=tuple(map(str, problems)),
        )
    matches = (item for item in found if isinstance(item, LockedDistribution) and item.name not in names)
    return tuple(sorted(matches, key=lambda item: item.name))


def proven_from_afar(
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
        verdicts[item.name] = proven(item, file, recorded[item.name])
    return tuple(verdicts.get(item.name, item) for item in found)


def proven(item: LockedDistribution, file: Path, record_sha256: str | None) -> states.Found:
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


def refuse_others(
    distributions: Sequence[LockedDistribution],
    files: Mapping[str, Path],
    recorded: Mapping[str, str | None],
    explain: states.Explain,
) -> None:
    """
    Refuse those whose wheel is at hand, for whatever reason, and is not the one that was installed. It makes none
    proven: a state says what was asked for, and not what happened to lie in a cache.
    """
    settled(
        tuple(
            proven(item, files[item.name], recorded[item.name]) if item.name in files else item
            for item in distributions
        ),
        explain,
    )


def packed(
    items: list[Distribution], taken_at: str, python: Python, workplace: Path, environ: Mapping[str, str]
) -> tuple[states.Found, ...]:
    """Wheels of what no index serves, each looked through as `build` will."""
    xy = python_xy(python.version)

    def sound(item: states.Found) -> states.Found:
        if not isinstance(item, LockedDistribution):
            return item
        try:
            wheels.wheel_entries(workplace / item.wheel.name, python_xy=xy)
        except (MalformedError, IntegrityError) as error:
            return index.Problem(item.name, item.version, f"cannot be packed: {error}", "install it from a wheel")
        return item

    made = repack.pack(items, workplace, python=python, taken_at=taken_at, environ=environ)
    return tuple(map(sound, made))


def record_of(fetcher: Fetcher, item: LockedDistribution) -> str:
    """That of a wheel that may be the one; of several, all but one would be downloaded for nothing."""
    digest = wheel_end.record_sha256(item.wheel, client=fetcher.client)
    if digest is not None:
        return digest
    (file,) = fetcher.blobs([wheel_wanted(item)])
    return wheels.record_sha256(file, file_name=item.wheel.name)
