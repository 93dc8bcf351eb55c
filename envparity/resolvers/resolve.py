"""
What a requirement needs beside pins that must not move: uv (or pip-tools) is asked, as a process.

Nothing of the machine decides the answer: the resolver's configuration is off, of the variables only those are kept
that say how to reach a network, and it works for the Python and the platform that are named. Wheels only, so that no
code of a project runs. https://docs.astral.sh/uv/reference/cli/#uv-pip-compile, https://pip-tools.readthedocs.io/
"""

from __future__ import annotations

__all__ = ["RESOLVERS", "Pin", "Request", "allows", "exactly", "name_of", "parsed", "resolve"]

import importlib.util
import json
import platform
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from envparity.errors import (
    ConflictError,
    MalformedError,
    UnreachableError,
    UnsupportedError,
    UsageError,
    excerpt,
    plain,
)
from envparity.files import private_folder
from envparity.network import address_fault, printable, user_of, without_logins
from envparity.process import Command, Completed, run
from envparity.resolvers.index import PYPI
from envparity.values import Distribution

if TYPE_CHECKING:
    from packaging.requirements import Requirement

RESOLVERS = ("uv", "pip-tools")

_TIMEOUT_S = 600.0
_SHOWN = 300
_OLDEST = {"uv": (0, 5), "pip-tools": (7, 4)}
_GLIBC = (17, 28, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40)
"""Versions 2.x of glibc that uv has a platform for."""
_KEPT = re.compile(
    r"(PATH|HOME|TMPDIR|LANG|LC_ALL|NETRC|SSL_CERT_FILE|SSL_CERT_DIR|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE"
    r"|XDG_CACHE_HOME|XDG_DATA_HOME|UV_CACHE_DIR|PIP_CACHE_DIR|UV_HTTP_RETRIES|UV_HTTP_TIMEOUT|PIP_RETRIES"
    r"|PIP_DEFAULT_TIMEOUT|(HTTP|HTTPS|ALL|NO)_PROXY|(http|https|all|no)_proxy)\Z"
)


@dataclass(frozen=True, kw_only=True)
class Request:
    """
    What to resolve, and under what.

    Args:
        requirements: what is asked for, by name (PEP 508 without an address).
        python_version: of the place, in full: `3.11.7`.
        platform_tags: what that Python can load, as a snapshot records it; the best comes first.
        constraints: name -> version of what must be that version where it is needed at all.
        limits: further constraints, each a requirement (`numpy<2`).
        installed: what is known of distributions by their own metadata, so that the index is not asked for these
            versions: one that no index serves (built here, with a local version) can be required by what is added.
        indexes: the roots of the indexes; the first is the default one. A user and password in one are handed over in
            the environment of the process, which no other user can read.
        pinned: name -> root of the one index that a distribution comes from; uv alone can be told that.
    """

    requirements: tuple[str, ...]
    python_version: str
    platform_tags: Sequence[str]
    constraints: Mapping[str, str] = field(default_factory=dict)
    limits: tuple[str, ...] = ()
    installed: Sequence[Distribution] = ()
    indexes: tuple[str, ...] = (PYPI,)
    pinned: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, order=True)
class Pin:
    """One distribution of the answer: `asked` for itself, and required by those of `via`."""

    name: str
    version: str
    asked: bool = False
    via: tuple[str, ...] = ()


def resolve(request: Request, *, environ: Mapping[str, str], resolver: str = "uv") -> tuple[Pin, ...]:
    """
    Everything that the requirements need, themselves and what is held by `constraints` included, by name.

    Args:
        environ: the variables of envparity's own process, of which few are handed on.
        resolver: one of `RESOLVERS`.

    Raises:
        ConflictError: there is no answer; each pin that would have to move is told, with what wants that.
        UsageError: a requirement is none, or names an address.
        UnsupportedError: a platform that the resolver does not know; pip-tools resolves for its own Python alone.
        UnreachableError: the resolver is not there, too old, or got no answer of an index.
        MalformedError: its answer is not understood.
    """
    asked = tuple(map(parsed, request.requirements))
    clashes = [item for item in asked if not _held(item, request.constraints)]
    if clashes:
        raise _conflict(
            request,
            tuple(
                f"{_name(item)} {request.constraints[_name(item)]} would move: `{item}` was asked for itself"
                for item in clashes
            ),
            tuple(map(_name, clashes)),
        )
    for root in (*request.indexes, *request.pinned.values()):
        if fault := address_fault(root):
            raise UsageError(f"the index `{printable(root)}` cannot be asked: {fault}")
    if request.pinned and resolver != "uv":
        raise UnsupportedError(
            f"{resolver} cannot be told the index of one distribution, as `--index-for` asks",
            hint="take `--resolver uv`, or leave `--index-for` out",
        )
    program = program_of(resolver, environ)
    with private_folder() as folder:
        (folder / "asked.in").write_text("".join(f"{item}\n" for item in asked))
        if request.pinned:
            (folder / "pyproject.toml").write_text(_project(asked, request))
        held = [f"{name}=={version}" for name, version in sorted(request.constraints.items()) if _valid(version)]
        (folder / "held.txt").write_text("".join(f"{line}\n" for line in [*held, *request.limits]))
        from envparity.resolvers import stubs

        stubs.write(folder / "known", request.installed)
        command = (_uv if resolver == "uv" else _pip_tools)(program, request, _kept(environ), folder)
        done = run(command)
    if done.status:
        raise _failed(resolver, request, done, tuple(map(_name, asked)))
    found = _pins(done.stdout, resolver)
    if not found:
        if all(item.marker is not None for item in asked):
            conditions = ", ".join(f"`{item}`" for item in request.requirements)
            raise UsageError(
                f"{conditions} cannot be had: the condition does not hold for Python {request.python_version} on Linux",
                hint="leave the condition out",
            )
        raise MalformedError(f"the answer of {resolver} is empty", hint="take another with --resolver")
    pins = _needed(found, frozenset(map(_name, asked)))
    _require_held(pins, request)
    return pins


def parsed(text: str) -> Requirement:
    """
    A requirement by name.

    Raises:
        UsageError: it is none, or names an address, which no index can give again.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        found = Requirement(text)
    except InvalidRequirement as error:
        raise UsageError(
            f"`{excerpt(text)}` is no requirement: {excerpt(str(error).partition(chr(10))[0])}",
            hint="write a name and versions as PEP 508 has them: `fastapi>=0.115`, `uvicorn[standard]`",
        ) from error
    if found.url:
        raise UsageError(
            f"`{found.name}` is asked for by an address, and only an index is asked",
            hint="upload it to an index that `--index` names, and ask for it by name",
        )
    return found


def name_of(text: str) -> str:
    """The normalised name that a requirement is of."""
    return _name(parsed(text))


def allows(specifier: str, version: str) -> bool:
    """Whether a version lies within a specifier; one that cannot be read forbids nothing."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        return SpecifierSet(specifier).contains(version, prereleases=True)
    except InvalidSpecifier:
        return True


def exactly(text: str) -> str:
    """The one version that a requirement names; empty where it leaves a choice."""
    (only, *others) = [*parsed(text).specifier, None]
    return (
        only.version
        if only is not None and others == [None] and only.operator == "==" and "*" not in only.version
        else ""
    )


def _held(item: Requirement, constraints: Mapping[str, str]) -> bool:
    version = constraints.get(_name(item))
    return version is None or not _valid(version) or item.specifier.contains(version, prereleases=True)


def _name(item: Requirement) -> str:
    from packaging.utils import canonicalize_name

    return canonicalize_name(item.name)


def _valid(version: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        Version(version)
    except InvalidVersion:
        return False
    return True


def program_of(resolver: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    """
    The command that starts it: from PATH, else the module beside envparity.

    Raises:
        UnreachableError: it is in neither place, or is too old.
    """
    command, module = {"uv": ("uv", "uv"), "pip-tools": ("pip-compile", "piptools")}[resolver]
    found = shutil.which(command, path=environ.get("PATH", ""))
    if found is None and importlib.util.find_spec(module) is None:
        raise UnreachableError(
            f"`{command}` is needed to resolve what is added, and is not there",
            hint=f"install it (`pip install {resolver}`), or take another with --resolver: {', '.join(RESOLVERS)}",
        )
    program = (found,) if found else (sys.executable, "-m", *(("piptools", "compile") if module != "uv" else ("uv",)))
    done = run(Command((*program, "--version"), env=_kept(environ), timeout_s=60.0))
    version = re.search(rb"(\d+)\.(\d+)\S*", done.stdout)
    if done.status or version is None:
        raise UnreachableError(
            f"`{command} --version` does not answer with a version: {_last(done)}",
            hint=f"is `{program[0]}` the {resolver} that you mean? Install it again, or name another with --resolver",
        )
    oldest = _OLDEST[resolver]
    if (int(version[1]), int(version[2])) < oldest:
        raise UnreachableError(
            f"`{program[0]}` is {resolver} {version[0].decode()}, and at least {'.'.join(map(str, oldest))} is needed",
            hint=f"`pip install --upgrade {resolver}`",
        )
    return program


def _kept(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if _KEPT.match(name)}


def _project(asked: Sequence[Requirement], request: Request) -> str:
    """
    The same requirements as a project, since only of one uv takes the index of a distribution, and only of one that it
    requires itself (https://docs.astral.sh/uv/concepts/indexes/#pinning-a-package-to-an-index).
    """
    known = {item.name for item in request.installed}
    pinned = {name: root for name, root in sorted(request.pinned.items()) if name not in known}
    also = [name for name in pinned if name not in set(map(_name, asked))]
    lines = ["[project]", 'name = "asked"', 'version = "0"']
    lines += [f"dependencies = {json.dumps([*map(str, asked), *also])}"]
    for number, root in enumerate(dict.fromkeys(pinned.values())):
        lines += ["[[tool.uv.index]]", f'name = "i{number}"', f"url = {json.dumps(_bare(root))}", "explicit = true"]
    numbers = {root: number for number, root in enumerate(dict.fromkeys(pinned.values()))}
    lines += ["[tool.uv.sources]", *(f'{name} = {{ index = "i{numbers[root]}" }}' for name, root in pinned.items())]
    return "\n".join(lines) + "\n"


def _bare(root: str) -> str:
    parts = urlsplit(root)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _needed(pins: tuple[Pin, ...], roots: frozenset[str]) -> tuple[Pin, ...]:
    """Those that the requirements lead to: of a pinned distribution that nothing needs, no version is asked for."""
    kept = {pin.name for pin in pins if pin.name in roots}
    while more := {pin.name for pin in pins if pin.name not in kept and kept & set(pin.via)}:
        kept |= more
    return tuple(
        Pin(pin.name, pin.version, pin.asked and pin.name in roots, pin.via) for pin in pins if pin.name in kept
    )


def _uv(program: Iterable[str], request: Request, env: Mapping[str, str], folder: Path) -> Command:
    default, *others = request.indexes
    known = {item.name for item in request.installed}
    roots = dict.fromkeys(root for name, root in sorted(request.pinned.items()) if name not in known)
    logins = {
        f"UV_INDEX_I{number}_{what}": word
        for number, root in enumerate(roots)
        for what, word in zip(("USERNAME", "PASSWORD"), user_of(root), strict=True)
        if word
    }
    argv = (
        *(
            *program,
            "pip",
            "compile",
            "pyproject.toml" if request.pinned else "asked.in",
            "--constraint",
            "held.txt",
            "--find-links",
            "known",
        ),
        *("--no-config", "--no-header", "--annotation-style", "line", "--only-binary", ":all:", "--no-progress"),
        *("--python-version", request.python_version, "--python-platform", _uv_platform(request.platform_tags)),
        # It asks some Python to be there, whichever is meant.
        *("--python", sys.executable, "--no-python-downloads", "--color", "never", "--quiet"),
    )
    places = {"UV_DEFAULT_INDEX": default, **({"UV_INDEX": " ".join(others)} if others else {})}
    # Ours asks with the authorities of the system first; uv is told to do so too.
    return Command(argv, env={**env, **places, **logins, "UV_SYSTEM_CERTS": "true"}, cwd=folder, timeout_s=_TIMEOUT_S)


def _uv_platform(tags: Sequence[str]) -> str:
    for tag in tags:
        if found := re.fullmatch(r"manylinux_2_(\d+)_(x86_64|aarch64)", tag):
            fitting = [minor for minor in _GLIBC if minor <= int(found[1])]
            if fitting:
                return f"{found[2]}-manylinux_2_{fitting[-1]}"
        if found := re.fullmatch(r"musllinux_\d+_\d+_(x86_64|aarch64)", tag):
            return f"{found[1]}-unknown-linux-musl"
    raise UnsupportedError(
        f"uv cannot be asked about a place that loads {', '.join(tags[:3]) or 'no known wheels'}",
        hint="Linux on x86_64 and aarch64 is supported",
    )


def _pip_tools(program: tuple[str, ...], request: Request, env: Mapping[str, str], folder: Path) -> Command:
    _require_own_python(program, request, env)
    default, *others = request.indexes
    argv = (
        *(*program, "asked.in", "--constraint", "held.txt", "--find-links", "known", "--output-file", "-"),
        *("--no-config", "--no-header", "--annotation-style", "line", "--strip-extras", "--allow-unsafe"),
        *("--no-emit-index-url", "--no-emit-trusted-host", "--no-emit-options", "--no-emit-find-links"),
        *("--pip-args", "--only-binary :all:"),
    )
    places = {"PIP_INDEX_URL": default, **({"PIP_EXTRA_INDEX_URL": " ".join(others)} if others else {})}
    own = {"PIP_CONFIG_FILE": "/dev/null", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    return Command(argv, env={**env, **places, **own}, cwd=folder, timeout_s=_TIMEOUT_S)


def _require_own_python(program: tuple[str, ...], request: Request, env: Mapping[str, str]) -> None:
    """pip-tools resolves for the Python that runs it, and for no other."""
    interpreter = sys.executable
    if len(program) == 1:
        first = Path(program[0]).read_bytes()[:4096].partition(b"\n")[0]
        interpreter = first.removeprefix(b"#!").strip().decode(errors="replace") if first.startswith(b"#!") else ""
    asks = "import platform; print(*platform.python_version_tuple()[:2], platform.system(), platform.machine())"
    told: list[str] = []
    if Path(interpreter).is_file():
        told = run(Command((interpreter, "-I", "-S", "-c", asks), env=env)).stdout.decode(errors="replace").split()
    wanted = [*request.python_version.split(".")[:2], "Linux"]
    if told[:3] != wanted or not any(tag.endswith(f"_{told[3]}") for tag in request.platform_tags):
        own = f"{told[0]}.{told[1]} on {told[3]}" if len(told) == 4 else "one that is not known"
        there = request.platform_tags[0] if request.platform_tags else platform.machine()
        raise UnsupportedError(
            f"pip-tools resolves for the Python that it runs in ({own}), and"
            f" {'.'.join(wanted[:2])} for {there} is asked for",
            hint=f"install pip-tools into an environment of Python {'.'.join(wanted[:2])}, or take --resolver uv",
        )


_LINE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==([^\s;#]+)\s*(?:;[^#]*)?(?:#\s*via\s+(.*))?")


def _pins(answer: bytes, resolver: str) -> tuple[Pin, ...]:
    """
    The lines of a compiled file, one a distribution, with what required it.

    Raises:
        MalformedError: another line stands there.
    """
    from packaging.utils import canonicalize_name

    pins: dict[str, Pin] = {}
    for number, line in enumerate(answer.decode(errors="replace").splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        found = _LINE.fullmatch(text)
        if found is None or not _valid(found[2]):
            raise MalformedError(
                f"the answer of {resolver} is not understood: `{excerpt(text)}`",
                where=f"line {number}",
                hint="another release of it may write it otherwise; take another with --resolver",
            )
        via = [part.strip() for part in (found[3] or "").split(",") if part.strip()]
        via = ["-r asked" if part.endswith("(pyproject.toml)") else part for part in via]
        named = {canonicalize_name(part.partition("[")[0]) for part in via if not part.startswith("-")}
        name = canonicalize_name(found[1])
        asked = any(part.startswith("-r ") for part in via)
        pins[name] = Pin(name, found[2], asked, tuple(sorted(named - {name})))
    return tuple(sorted(pins.values()))


def _require_held(pins: tuple[Pin, ...], request: Request) -> None:
    """A resolver takes `1.0+cpu` for `1.0`; it is another build, and would move what trained the model."""
    moved = [pin for pin in pins if not _same(request.constraints.get(pin.name), pin.version)]
    if moved:
        raise _conflict(
            request,
            tuple(f"{pin.name} {request.constraints[pin.name]} would move to {pin.version}" for pin in moved),
            tuple(pin.name for pin in moved),
        )


def _same(held: str | None, version: str) -> bool:
    from packaging.version import Version

    return held is None or not _valid(held) or Version(held) == Version(version)


_NO_CONNECTION = ("connection broken by", "Max retries exceeded", "Could not fetch URL", "error sending request")


def _failed(resolver: str, request: Request, done: Completed, roots: tuple[str, ...]) -> Exception:
    told = (done.stdout + b"\n" + done.stderr).decode(errors="replace")
    impossible = any(word in told for word in ("No solution found", "ResolutionImpossible", "DistributionNotFound"))
    if not impossible or any(word in told for word in _NO_CONNECTION):
        return UnreachableError(
            f"{resolver} gave no answer (status {done.status}): {_last(done)}",
            hint="can the index be reached? Try again, or take another with --resolver",
        )
    from envparity.resolvers import conflicts

    found = conflicts.wants(told)
    lines = conflicts.against(found, dict(request.constraints), roots)
    moved = tuple(name for name in sorted(request.constraints) if any(line.startswith(f"{name} ") for line in lines))
    return _conflict(request, lines or (conflicts.unsaid(told),), moved)


def _conflict(request: Request, lines: tuple[str, ...], moved: tuple[str, ...]) -> ConflictError:
    asked = ", ".join(f"`{item}`" for item in request.requirements)
    if not moved:
        return ConflictError(
            f"{asked} cannot be had for Python {request.python_version} beside what is locked",
            hint="ask for other versions, or name the index that has them with `--index`; only wheels are taken, so"
            " that no code of a project runs",
            details=lines,
        )
    return ConflictError(f"{asked} cannot be had without moving what is locked", details=lines, moved=moved)


def _last(done: Completed) -> str:
    """The line of an error that says what happened, without a user and password."""
    lines = [line.strip() for line in (done.stderr or done.stdout).decode(errors="replace").splitlines()]
    lines = [without_logins(line) for line in lines if line]
    telling = [line for line in lines if line.lower().startswith(("error", "×", "warning: retrying"))][:1]
    causes = [line.removeprefix("cause:").strip() for line in lines if line.startswith(("cause:", "╰─▶"))][-1:]
    return plain(": ".join(telling + causes) or (lines[-1] if lines else "it says nothing"))[:_SHOWN]
