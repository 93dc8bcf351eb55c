"""The switches of numeric libraries that are already imported: what they are set to now. None is imported for it."""

from __future__ import annotations

import os
import re
import warnings
from types import ModuleType
from typing import Any, Iterator, Mapping

from envparity.collectors.shapes import Fact
from envparity.collectors.switch_table import SWITCHES
from envparity.collectors.tree import gap

_LONGEST_VALUE = 300
_UNDECIDED = object()


def switches(modules: Mapping[str, object], environ: Mapping[str, str]) -> Iterator[Fact]:
    """
    Observe the switches of libraries that stand in `modules` (`sys.modules`), numpy's choice of instructions, and
    torch's. What a library has not decided yet (`None` stands where it will) is passed over, and so is what its version
    need not have.

    Yields:
        One `numerics` with `switches` and `dispatch`; a gap for a switch that its version should have and has not, and
        an unread one for a switch that is there and fails.
    """
    found: list[Fact] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a switch that is deprecated is still the one that counts
        for library, lines in SWITCHES.items():
            if library in modules:
                yield from _of_library(library, lines, modules, found)
        dispatch = [*_numpy(modules, environ), *_torch(modules)]
    yield {"kind": "numerics", "switches": found, "dispatch": dispatch}


def _of_library(library: str, lines: str, modules: Mapping[str, object], found: list[Fact]) -> Iterator[Fact]:
    """Append what each line of the table says to `found`; yields the gaps."""
    failed = []
    told = set()
    for line in lines.strip().split("\n"):
        how, since, instead = [*line.split(), "", ""][:3]
        name = _named(library + "." + how)
        try:
            value = _evaluated(library + "." + how, modules)
        except (AttributeError, LookupError):
            version = _own(modules[library]).get("__version__")
            if since and isinstance(version, str) and _has(version, since):
                yield gap("numerics", "not-recorded", "%s %s does not have it" % (library, version[:40]), name)
        except Exception as error:  # noqa: BLE001 - the code of a library, which may raise anything
            failed.append((library + "." + instead, name, "%s: %s" % (type(error).__name__, str(error)[:200])))
        else:
            if value is _UNDECIDED:
                continue
            told.add(name)
            found.append({"name": name, "value": _spelt(value)})
    for instead, name, reason in failed:
        if instead not in told:
            yield gap("numerics", "unread", reason, name)


def _named(text: str) -> str:
    """`sklearn.assume_finite` for `sklearn.get_config()[assume_finite]`; else the name of the call."""
    name, _, rest = text.partition("(")
    option = rest.strip("()[]")
    return name.partition(".")[0] + "." + option if option else name


def _has(version: str, known: str) -> bool:
    """Whether a version lies among those known: from `1.9`, or `1.9-2` until the last of 2."""
    first, _, last = known.partition("-")
    numbers = [int(number) for number in re.findall("[0-9]+", version.partition("+")[0])[:3]]
    least, most = ([int(number) for number in text.split(".") if number] for text in (first, last))
    return numbers >= least and (not most or numbers[: len(most)] <= most)


def _evaluated(text: str, modules: Mapping[str, object]) -> Any:
    """
    Follow the dots without importing: in a module only what stands in it, or what is imported below it, is taken.

    Raises:
        AttributeError, LookupError: something on the way is not there. Where `None` stands on it, that is no error.
    """
    path, call, rest = text.partition("(")
    argument, _, key = rest.partition(")")
    at, so_far = modules[path.partition(".")[0]], path.partition(".")[0]
    for part in path.split(".")[1:]:
        so_far += "." + part
        within = _own(at)
        # What a package holds under the name of a module of it is what its users get: `config` of older jax.
        if so_far in modules and isinstance(within.get(part, modules[so_far]), ModuleType):
            at = modules[so_far]
        elif type(at) is ModuleType:
            at = within[part]
        elif at is None:
            return _UNDECIDED
        else:
            at = getattr(at, part)
    if call:
        at = at(argument) if argument else at()  # type: ignore[operator]
    return at[key.strip("[]")] if key else at  # type: ignore[index]


def _own(module: object) -> Mapping[str, Any]:
    """What stands in a module, without asking its `__getattr__`."""
    return vars(module) if isinstance(module, ModuleType) else {}


def _spelt(value: Any) -> str:
    if isinstance(value, (list, tuple, set, frozenset)):
        return ", ".join(str(item) for item in value)[:_LONGEST_VALUE]
    return str(value)[:_LONGEST_VALUE]


def _numpy(modules: Mapping[str, object], environ: Mapping[str, str]) -> Iterator[Fact]:
    """
    Which instructions numpy was built for, and of those that it can choose at run time, which it found and uses; which
    of them NPY_DISABLE_CPU_FEATURES, or its opposite, switched off (https://numpy.org/doc/stable/reference/simd/build-options.html).
    """
    for name in ("numpy._core._multiarray_umath", "numpy.core._multiarray_umath"):
        inside = _own(modules.get(name))
        has, dispatch = inside.get("__cpu_features__"), inside.get("__cpu_dispatch__")
        if not isinstance(has, dict) or not isinstance(dispatch, (list, tuple)):
            continue
        off = environ.get("NPY_DISABLE_CPU_FEATURES", "").replace(",", " ").split()
        only = environ.get("NPY_ENABLE_CPU_FEATURES", "").replace(",", " ").split()
        yield {
            "library": "numpy",
            "baseline": list(inside.get("__cpu_baseline__", ())),
            "found": [feature for feature in dispatch if has.get(feature)],
            "disabled": [
                feature
                for feature in dispatch
                if not has.get(feature) and (feature in off or (only and feature not in only))
            ],
        }
        return


def _torch(modules: Mapping[str, object]) -> Iterator[Fact]:
    ask = getattr(modules.get("torch.backends.cpu"), "get_cpu_capability", None)
    if ask is None:
        return
    try:
        yield {"library": "torch", "baseline": [], "found": [str(ask())], "disabled": []}
    except Exception:  # noqa: BLE001 - the code of a library, which may raise anything
        return


def started_environment() -> dict[str, str]:
    """The variables with which this process was started, which its loader and its libraries have read."""
    try:
        with open("/proc/self/environ", "rb") as file:
            lines = file.read().decode("utf-8", "surrogateescape").split("\0")
    except OSError:
        return dict(os.environ)
    return {name: value for name, equals, value in (line.partition("=") for line in lines) if equals}
