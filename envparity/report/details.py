"""The sections of an Environment that a person looks at one by one: accelerators, native code, modules, lineage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from envparity.report.text import Style
from envparity.values import Distribution, Environment
from envparity.words import counted, listed

_FIRST = 10
_STACK = "Accelerators"


def details(environment: Environment, style: Style, verbose: bool) -> Iterator[str]:
    """Each section that is there, with a heading; of long ones the first lines only, unless `verbose`."""
    for heading, lines in _sections(environment):
        lines = [line for line in lines if line]
        if heading == _STACK and not lines:
            continue  # what is not known of it stands among what is not known
        shown = lines if verbose else lines[:_FIRST]
        yield ""
        yield style.bold(heading)
        for line in shown:
            yield from style.wrapped(line, first="  ", indent="    ")
        if len(lines) > len(shown):
            yield f"  and {len(lines) - len(shown)} more (-v lists them)"


def _sections(environment: Environment) -> Iterator[tuple[str, Iterable[str]]]:
    if environment.accelerators is not None:
        yield _STACK, _accelerators(environment)
    altered = [item for item in environment.distributions or () if item.modified or item.missing or item.added]
    if altered:
        yield "Changed since installation", (line for item in altered for line in _altered(item))
    if environment.conda_packages is not None:
        real = [item for item in environment.conda_packages if not item.virtual]
        yield (
            counted(len(real), "conda package"),
            (" ".join(filter(None, (item.name, item.version or item.specifier, item.build))) for item in real),
        )
    if environment.origin.channels:
        yield "Channels of conda, the first one first", environment.origin.channels
    if environment.native_libraries is not None:
        # What a person asks first: which copies compute, and what nobody owns.
        items = sorted(environment.native_libraries, key=lambda item: (not item.role, bool(item.owner), item.name))
        yield (
            counted(len(items), "native file"),
            (
                _words(
                    f"{item.role or 'other'}: {item.product or item.name} {item.version}".rstrip(),
                    f"of {item.owner_kind} {item.owner}" if item.owner else "owned by nothing",
                    f"by {item.overridden_by}" if item.overridden_by else "",
                    "loaded" if item.basis == "loaded" else "",
                )
                for item in items
            ),
        )
    if environment.numerics is not None:
        yield "Numerics", _numerics(environment)
    if environment.modules is not None:
        outside = [item for item in environment.modules if item.owner not in {"stdlib", "built-in"}]
        names = (f"{item.name} ({item.owner or 'owned by nothing'})" for item in outside)
        yield counted(len(environment.modules), "imported module"), [listed(names, 20)] if outside else []
    if environment.source_code is not None:
        yield "Source code", _source_code(environment)


def _words(*words: str) -> str:
    return ", ".join(filter(None, words))


def _altered(item: Distribution) -> Iterator[str]:
    for files, word in ((item.modified, "changed"), (item.missing, "missing"), (item.added, "added")):
        yield from (f"{item.name} {item.version}: {word} {name}" for name in files or ())


def _accelerators(environment: Environment) -> Iterator[str]:
    stack = environment.accelerators
    assert stack is not None
    for device in stack.devices:
        memory = f"{device.memory_bytes / 2**30:.0f} GiB" if device.memory_bytes else ""
        slices = f"cut into {device.mig}" if device.mig else ""
        yield _words(
            f"{f'{device.count} x ' if device.count > 1 else ''}{device.title}", device.capability, memory, slices
        )
    if not stack.devices and not any(
        gap.section == "accelerators" and gap.item == "devices" for gap in environment.gaps
    ):
        yield "no devices"
    yield _words(
        f"driver {stack.driver}" if stack.driver else "",
        f"supports CUDA up to {stack.driver_cuda}" if stack.driver_cuda else "",
        f"the wheels need {stack.driver_floor} ({stack.floor_by})" if stack.driver_floor else "",
    )
    yield ", ".join(f"{name} {version}" for name, version in stack.runtimes)
    yield from (f"contradiction: {sentence}" for sentence in stack.contradictions)


def _numerics(environment: Environment) -> Iterator[str]:
    numerics = environment.numerics
    assert numerics is not None
    for item in numerics.libraries:
        yield _words(
            f"{item.product} {item.version}".rstrip(),
            f"of {item.owner}" if item.owner else item.name,
            f"kernel {item.kernel}" if item.kernel else "",
            f"{item.layer} threading" if item.layer else "",
            counted(item.threads, "thread") if item.threads else "",
        )
    for dispatch in numerics.dispatch:
        yield f"{dispatch.library} uses {' '.join(dispatch.baseline + dispatch.found) or 'no special instructions'}" + (
            f"; switched off: {' '.join(dispatch.disabled)}" if dispatch.disabled else ""
        )
    yield from (f"{switch.name} = {switch.value}" for switch in numerics.switches)
    yield from (f"seed: {seed.name} = {seed.value}" for seed in numerics.seeds)


def _source_code(environment: Environment) -> Iterator[str]:
    code = environment.source_code
    assert code is not None
    changed = {True: "with changes on top", False: "with nothing changed", None: ""}[code.dirty]
    untracked = counted(code.untracked, "untracked file") if code.untracked else ""
    yield _words(f"commit {code.commit[:12]}" if code.commit else "", code.remote, changed, untracked)
    yield f"script {code.script}" if code.script else ""
    yield from (f"{item.name} = {item.value}" for item in (*code.parameters, *code.run))
