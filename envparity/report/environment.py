"""One Environment, for a person: what `envparity show` prints."""

from __future__ import annotations

from collections.abc import Iterator

from envparity import codec
from envparity.compare import effective
from envparity.report.details import details
from envparity.report.text import Style
from envparity.report.unknown import unknown_lines
from envparity.values import Environment
from envparity.words import counted, listed

_FIRST = 20


def text(environment: Environment, style: Style | None = None, *, verbose: bool = False) -> str:
    """
    Python, system and processor on a line each, the distributions as a table, settings, files, and what is not known.

    Args:
        verbose: all distributions and OS packages, with tooling and shadowed copies, instead of the first of them.
    """
    style = style or Style()
    lines = _reference(environment.origin.reference or environment.origin.kind, style)
    lines = [style.bold(line) for line in lines]
    if environment.origin.taken_at:
        lines += [style.faint(line) for line in style.wrapped(f"taken at {environment.origin.taken_at}")]
    for label, words in _single(environment):
        lines += style.wrapped(words, first=f"{label} ", indent=" " * 10)
    lines += _distributions(environment, style, verbose)
    lines += _os_packages(environment, style, verbose)
    if environment.settings is not None and environment.settings.variables:
        lines += ["", style.bold("Variables")]
        for variable in environment.settings.variables:
            lines += style.wrapped(f"{variable.name}={variable.value}", first="  ", indent="    ")
    lines += details(environment, style, verbose)
    for artifact in environment.artifacts or ():
        lines += ["", *(style.bold(line) for line in style.wrapped(f"{artifact.kind.capitalize()} {artifact.name}"))]
        kind = artifact.format or ("file" if artifact.files is None else counted(artifact.files, "file"))
        words = f"{kind}, {artifact.size_bytes:,} bytes, sha256 {artifact.sha256[:12]}"
        words += f", by a pointer of {artifact.pointer}" if artifact.pointer else ""
        lines += style.wrapped(words, first="  ", indent="  ")
        if artifact.versions:
            words = ", ".join(f"{name} {version}" for name, version in artifact.versions)
            lines += style.wrapped(f"written by {words}", first="  ", indent="  ")
        if artifact.properties:
            words = listed((f"{name} {value}" for name, value in artifact.properties), 20 if verbose else 8)
            lines += style.wrapped(f"says {words}", first="  ", indent="    ")
        names = artifact.classes or artifact.modules
        if names:
            limit = len(names) if verbose else 8
            lines += style.wrapped(f"refers to {listed(names, limit)}", first="  ", indent="    ")
    unknown = [*unknown_lines((), environment.gaps, (), ("", ""), style)]
    if unknown:
        lines += ["", style.bold("Not known"), *unknown]
    return "\n".join(lines) + "\n"


def _reference(reference: str, style: Style) -> list[str]:
    """Where it was read from; a digest that does not fit beside its name stands whole on a line of its own."""
    name, at, digest = reference.rpartition("@")
    together = style.wrapped(reference)
    return [*style.wrapped(name), *style.wrapped(at + digest)] if name and len(together) > 1 else together


def _single(environment: Environment) -> Iterator[tuple[str, str]]:
    python, system, cpu, host = environment.python, environment.system, environment.cpu, environment.host
    if python is not None:
        words = [python.implementation, python.version or python.specifier, python.provenance]
        words += ["free-threaded"] if python.free_threaded else []
        words += [f"-{'O' * min(python.optimize, 2)}"] if python.optimize else []
        words += ["in UTF-8 mode"] if python.utf8_mode else []
        words += ["in development mode"] if python.dev_mode else []
        yield "Python", " ".join(filter(None, words)) + (f", {python.compiler}" if python.compiler else "")
        if python.planted:
            yield "At start", f"{listed(python.planted, 3)}: code that no distribution brought"
    if system is not None:
        release = system.name or " ".join(filter(None, (system.id, system.version_id)))
        libc = " ".join(filter(None, (system.libc, system.libc_version)))
        yield "System", ", ".join(filter(None, (release or system.os, system.machine, libc)))
    if cpu is not None:
        yield "CPU", ", ".join(filter(None, (cpu.model or cpu.vendor, cpu.isa_level)))
    if host is not None:
        memory = f"{host.memory_bytes / 2**30:.0f} GiB" if host.memory_bytes else ""
        cores = counted(host.cores, "core") if host.cores else ""
        yield "Host", ", ".join(filter(None, (host.kernel, cores, memory)))


def _distributions(environment: Environment, style: Style, verbose: bool) -> Iterator[str]:
    if environment.distributions is None:
        return
    found = effective(environment)
    aside = len(environment.distributions) - len(found)
    note = f" ({aside} more of tooling or out of reach)" if aside > 0 else ""
    yield ""
    yield from (style.bold(line) for line in style.wrapped(f"{counted(len(found), 'distribution')}{note}"))
    shown = list(environment.distributions) if verbose else list(found.values())[:_FIRST]
    names = [f"{item.name:<28}" for item in shown]
    for name, item in zip(names, shown, strict=True):
        marks = [word for word in ("editable", "tooling", "shadowed") if getattr(item, word)]
        marks += [f"{len(item.modified)} modified"] if item.modified else []
        marks += [f"{len(item.missing)} missing"] if item.missing else []
        marks += [f"{len(item.added)} added"] if item.added else []
        marks += [f"inside {item.vendored_in}"] if item.vendored_in else []
        marks += ["runs code at every start"] if item.startup else []
        words = f"{item.version or item.specifier or 'any version':<16} {' '.join(marks)}".rstrip()
        yield style.clipped(f"  {style.plain(name)} {style.plain(words)}")
    if len(found) > len(shown):
        yield f"  and {len(found) - len(shown)} more (-v lists them)"


def _os_packages(environment: Environment, style: Style, verbose: bool) -> Iterator[str]:
    if environment.os_packages is None:
        return
    yield ""
    yield style.bold(counted(len(environment.os_packages), "OS package"))
    if verbose:
        for package in environment.os_packages:
            yield style.clipped(f"  {style.plain(f'{package.name:<28} {package.version}')}")
    elif environment.os_packages:
        names = listed((f"{package.name} {package.version}" for package in environment.os_packages), 3)
        yield from style.wrapped(f"{names} (-v lists them)", first="  ", indent="  ")


def json(environment: Environment, style: Style | None = None, *, verbose: bool = False) -> str:
    """The saved document itself."""
    return codec.dump_environment(environment).decode()
