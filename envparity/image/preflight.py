"""What would fail when the model is served, said before anything is downloaded."""

from __future__ import annotations

__all__ = ["check_imports", "check_platform", "stdlib_names"]

import re
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from envparity.errors import RefusedError
from envparity.image.wheels import tag_floor
from envparity.values import MACHINES, Artifact, Lock, LockedDistribution, Target, glibc_key

_ADDED: tuple[tuple[tuple[int, int], str], ...] = (
    ((3, 9), "graphlib zoneinfo _aix_support _bootsubprocess _zoneinfo"),
    ((3, 11), "tomllib _tokenize _typing"),
    ((3, 12), "_pydatetime _pylong _sha2"),
    (
        (3, 13),
        "_android_support _colorize _interpchannels _interpqueues _interpreters _ios_support _opcode_metadata _pyrepl"
        " _suggestions _sysconfig",
    ),
    ((3, 14), "annotationlib compression _zstd"),
)
"""
Modules of the standard library, by the release that brought them: 3.8 and 3.9 from their folders, 3.10 to 3.13 from
their `sys.stdlib_module_names`, 3.14 from its release notes (https://docs.python.org/3/whatsnew/3.14.html).
"""

_REMOVED: tuple[tuple[tuple[int, int], str], ...] = (
    ((3, 9), "dummy_threading _dummy_thread _dummy_threading"),
    ((3, 10), "formatter parser symbol _peg_parser _bootlocale"),
    ((3, 11), "binhex"),
    ((3, 12), "asynchat asyncore distutils imp smtpd _bootsubprocess _sha256 _sha512"),
    (
        (3, 13),
        "aifc audioop cgi cgitb chunk crypt imghdr lib2to3 mailcap msilib nis nntplib ossaudiodev pipes sndhdr spwd"
        " sunau telnetlib uu xdrlib _crypt",
    ),
)
"""The same by the release that dropped them."""

_PYTHON_2 = frozenset(["__builtin__", "copy_reg", "exceptions", "_abcoll", "UserDict", "UserList", "UserString"])
"""Names of the standard library in pickles of protocol 2 and less, which every Python 3 maps while it loads them."""

_SHOWN = 5
_EXTENSIONS = (".py", ".so", ".pyd")


def stdlib_names(python_version: str) -> frozenset[str]:
    """
    The top-level modules that the standard library of one Python brings (`3.8` to `3.14`).

    They are those of the interpreter that runs this, corrected by what releases in between added and removed; of a
    version that nobody knows ("") they are not corrected.
    """
    ours = sys.version_info[:2]
    wanted = _xy(python_version) if python_version else ours
    names = set(sys.stdlib_module_names)
    for release, text in _ADDED:
        if wanted < release <= ours:
            names.difference_update(text.split())
        elif ours < release <= wanted:
            names.update(text.split())
    for release, text in _REMOVED:
        if wanted < release <= ours:
            names.update(text.split())
        elif ours < release <= wanted:
            names.difference_update(text.split())
    return frozenset(name for name in names if "." not in name)


def check_imports(models: Mapping[str, Artifact], lock: Lock, python_version: str, app: Path | None = None) -> None:
    """
    Refuse a model that refers to a module which nothing in the image will provide: the commonest failure of serving.

    Args:
        models: what each model file refers to, by the name to show: its `modules` and `classes`.
        lock: what brings import names; a name is dotted where a namespace is shared (`google.protobuf`).
        python_version: that of the image's interpreter, which says what the standard library is.
        app: the folder that is shipped as the application, and will be on the import path.

    Raises:
        RefusedError: naming every such module and its classes, what probably happened, and what to do.
    """
    brought = [item for target in lock.targets for package in target.conda_packages for item in package.distributions]
    provided = frozenset(name for item in lock.distributions for name in item.import_names)
    provided |= {name for item in brought for name in item.import_names}
    stdlib = stdlib_names(python_version)
    missing: dict[str, tuple[str, ...]] = {}
    for label, model in sorted(models.items()):
        lacking = tuple(
            module
            for module in sorted({*model.modules, *(each.partition(":")[0] for each in model.classes)})
            if not _is_provided(module, provided, stdlib, app) and not _is_cython_s_own(module, model.classes)
        )
        if lacking:
            missing[label] = lacking
    if not missing:
        return
    modules = sorted({module for lacking in missing.values() for module in lacking})
    labels = ", ".join(f"`{label}`" for label in missing)
    raise RefusedError(
        f"{labels} cannot be loaded in the image: {'they refer' if len(missing) > 1 else 'it refers'} to "
        f"{_listed(modules)}, which neither the lock nor the standard library"
        + (f" nor the application in `{app}`" if app else "")
        + " provides",
        hint=_advice(modules, app),
        details=tuple(
            (f"{label}: " if len(missing) > 1 else "") + _explained(module, models[label].classes, provided, stdlib)
            for label, lacking in missing.items()
            for module in lacking
        ),
    )


def _is_cython_s_own(module: str, classes: Iterable[str]) -> bool:
    """
    Whether a module is a short name that only Cython's pickling knows (`_loss:__pyx_unpickle_CyHalfBinomialLoss`).

    An extension module registers itself under that name when its package is imported, which the model's other classes
    see to; no distribution provides it by that name.
    """
    named = [name for each, _, name in (text.partition(":") for text in classes) if each == module]
    return bool(named) and all(name.startswith("__pyx_") for name in named)


def check_platform(
    lock: Lock, target: Target, *, glibc: str | None = None, floors: Mapping[str, str] | None = None
) -> None:
    """
    Refuse a lock whose wheels cannot run on its base: another Python, another processor, a glibc that is too old.

    Args:
        lock: what is to be built.
        target: for which platform, with its base and interpreter.
        glibc: the version of the base's C library (`2.36`), empty if it has none; by default that of the target's
            own package `libc6`, or of the image that is the base.
        floors: for a wheel's file name, the highest glibc symbol version that its native files use, where it is known;
            a wheel may need more than its tag promises.

    Raises:
        RefusedError: one line for each wheel, with what it needs and what the base has.
    """
    libc = next((package.version for package in target.os_packages if package.name == "libc6"), "")
    # 1:2.36-9+deb12u10 -> 2.36
    here = re.sub(r"^\d+:|[-+].*$", "", libc) if target.image is None else target.image.glibc
    here = here if glibc is None else glibc
    details = [line for each in lock.distributions if (line := _mismatch(each, target, here, floors or {}))]
    if details:
        raise RefusedError(
            f"{len(details)} locked wheel(s) cannot run on the base `{target.base}`",
            hint="name a newer base with `--base`, or lock for the Python that the snapshot has",
            details=tuple(details),
        )


def _mismatch(distribution: LockedDistribution, target: Target, glibc: str, floors: Mapping[str, str]) -> str:
    """Why one wheel cannot run on one target; empty if it can."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    label = f"{distribution.name} {distribution.version}"
    try:
        tags = parse_wheel_filename(distribution.wheel.name)[3]
    except InvalidWheelFilename as error:
        return f"{label}: `{distribution.wheel.name}` is not the name of a wheel: {error}"
    version = target.interpreter.version
    architecture = target.platform.split("/")[1]
    machine = MACHINES.get(architecture, architecture)
    fits_python = [tag for tag in tags if (tag.interpreter, tag.abi) in _python_tags(version)]
    if not fits_python:
        pythons = {f"{tag.interpreter}-{tag.abi}" for tag in tags}
        return f"{label}: is for {_listed(pythons)}, the image has Python {version}"
    platforms = {tag.platform for tag in fits_python}
    floor = floors.get(distribution.wheel.name, "")
    if "any" not in platforms:
        ours = {platform for platform in platforms if re.fullmatch(rf"(many)?linux.*_{re.escape(machine)}", platform)}
        if not ours:
            return f"{label}: is for {_listed(platforms)}, the image is {target.platform} with glibc"
        floor = max(floor, tag_floor("-" + ".".join(ours)), key=glibc_key)
    if floor and not glibc:
        return f"{label}: needs glibc {floor}, and the base has no C library"
    if glibc_key(floor) > glibc_key(glibc):
        return f"{label}: needs glibc {floor} or newer, and the base has {glibc}"
    return ""


@cache
def _python_tags(version: str) -> frozenset[tuple[str, str]]:
    """The pairs of interpreter and ABI that a CPython accepts."""
    from packaging.tags import compatible_tags, cpython_tags

    xy = _xy(version)
    abi = f"cp{xy[0]}{xy[1]}"
    pairs = {(tag.interpreter, tag.abi) for tag in cpython_tags(xy, abis=[abi], platforms=["any"])}
    return frozenset(pairs | {(tag.interpreter, tag.abi) for tag in compatible_tags(xy, abi, platforms=["any"])})


def _xy(version: str) -> tuple[int, int]:
    major, _, rest = version.partition(".")
    return int(major), int(rest.partition(".")[0])


def _listed(texts: Iterable[str]) -> str:
    """The first few, as code."""
    ordered = sorted(set(texts))
    return ", ".join(f"`{text}`" for text in ordered[:_SHOWN]) + (" …" if len(ordered) > _SHOWN else "")


def _is_provided(module: str, provided: frozenset[str], stdlib: frozenset[str], app: Path | None) -> bool:
    # What the server runs as `__main__` is never what trained the model, whoever brings a file of that name.
    return module != "__main__" and (
        module in _PYTHON_2
        or module.partition(".")[0] in stdlib
        or any(prefix in provided for prefix in _prefixes(module))
        or (app is not None and _in_folder(module, app))
    )


def _prefixes(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _in_folder(module: str, app: Path) -> bool:
    """Whether `import module` finds it in a folder: a module, an extension module, a package, or a namespace."""
    place = app
    for part in module.split("."):
        if not part.isidentifier() or not place.is_dir():
            return False
        if not (place / part).is_dir() and not _is_module(place, part):
            return False
        place = place / part
    return True


def _is_module(folder: Path, name: str) -> bool:
    return any(
        each.name.partition(".")[0] == name and each.name.endswith(_EXTENSIONS) and each.is_file()
        for each in folder.iterdir()
    )


def _explained(module: str, classes: Iterable[str], provided: frozenset[str], stdlib: frozenset[str]) -> str:
    names = [name for owner, _, name in (each.partition(":") for each in classes) if owner == module]
    subject = f"`{module}`" + (f" ({_listed(names)})" if names else "")
    top = module.partition(".")[0]
    if module == "__main__":
        return f"{subject}: was defined in the notebook or script that trained the model, and is in no module"
    shared = [name for name in provided if name.startswith(f"{top}.")]
    if shared:
        return f"{subject}: the lock provides only {_listed(shared)} of the namespace `{top}`"
    if any(top in text.split() for _, text in _REMOVED) and top not in stdlib:
        return f"{subject}: was part of the standard library of an older Python"
    return f"{subject}: is a module of your own, or of a distribution that is not in the lock"


def _advice(missing: list[str], app: Path | None) -> str:
    own = [module for module in missing if module != "__main__"]
    advice = []
    if "__main__" in missing:
        advice.append("put what is defined in `__main__` into a module, import it from there, train and save again")
    if app is None:
        advice.append("ship your own modules with `--app DIR`")
    elif own:
        advice.append(f"put {_listed(own)} into the folder of `--app`")
    if own:
        advice.append("or install the distribution that provides it where the model is trained, and lock again")
    return "; ".join(advice)
