"""
What works on this machine and what does not, with what to do: each question asked beside the others, and none for long.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from envparity import platforms
from envparity.cache import Cache
from envparity.errors import EnvparityError, MalformedError, UnreachableError, UsageError
from envparity.files import make_folder, private_folder, read_text, write_bytes
from envparity.network import Client, printable, without_logins
from envparity.oci import credentials, engine
from envparity.oci.access import Access
from envparity.oci.registry import Registry, parse_name
from envparity.process import Command, run
from envparity.resolvers import archives, package_lists
from envparity.resolvers.configured import configured
from envparity.resolvers.indexes import Index, indexes
from envparity.resolvers.resolve import RESOLVERS, program_of
from envparity.run import the_way

PATIENCE_S = 8.0
"""How long all questions together may take; what is not answered by then is said."""

_EACH_S = 4.0


class State(StrEnum):
    """`FAIL` is what snapshot, lock, build and verify cannot do without; `WARN`, what only some options need."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, how it is, and what to do where it is not well."""

    name: str
    state: State
    said: str
    hint: str = ""


@dataclass(frozen=True)
class Machine:
    """What is asked about: the variables of our process, the cache, and a registry's host, if one was named."""

    environ: Mapping[str, str]
    cache: Cache
    registry: str = ""
    base: str = ""
    offline: bool = False


class Question(NamedTuple):
    """A check to be made: what to ask, what it is where that fails, and whether somebody is asked for it."""

    name: str
    ask: Callable[[Machine], str]
    otherwise: State
    asks_network: bool = False


def examine(
    machine: Machine, *, questions: Sequence[Question] = (), patience_s: float = PATIENCE_S
) -> tuple[Check, ...]:
    """
    Every check, in the order of `QUESTIONS` unless others are given. What fails is a line.

    Raises:
        UsageError: the registry's host is none, or there is no such base.
    """
    if machine.registry:
        _registry_name(machine.registry)
    if machine.base:
        archives.release(machine.base)
    asked = [row for row in questions or QUESTIONS if row.name != "registry" or machine.registry]
    answers: dict[str, Check] = {}
    threads = [
        # Nobody waits at the end for one that hangs.
        threading.Thread(target=lambda row=row: answers.update({row.name: _answer(row, machine)}), daemon=True)
        for row in asked
    ]
    for thread in threads:
        thread.start()
    until = datetime.now(UTC).timestamp() + patience_s
    for thread in threads:
        thread.join(max(0.0, until - datetime.now(UTC).timestamp()))
    known = dict(answers)
    late = f"no answer within {patience_s:g} s"
    return tuple(known.get(row.name) or Check(row.name, row.otherwise, late, "try again") for row in asked)


def _answer(row: Question, machine: Machine) -> Check:
    if row.asks_network and machine.offline:
        return Check(row.name, State.WARN, "not asked: --offline", "ask without --offline")
    try:
        return Check(row.name, State.OK, row.ask(machine))
    except _Warning as error:
        return Check(row.name, State.WARN, without_logins(str(error)), without_logins(error.hint))
    except EnvparityError as error:
        details = "".join(f"; {detail}" for detail in error.details[:3])
        return Check(row.name, row.otherwise, without_logins(f"{error}{details}"), without_logins(error.hint))
    except Exception as error:  # noqa: BLE001 (a check that breaks must not hide the others)
        return Check(row.name, row.otherwise, f"{type(error).__name__}", "this is a bug of envparity")


class _Warning(Exception):
    """Something that works, and yet should be known."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def _client(machine: Machine) -> Client:
    return Client(offline=machine.offline, timeout_s=_EACH_S, attempts=1)


def _python(machine: Machine) -> str:
    named = machine.environ.get("VIRTUAL_ENV") or machine.environ.get("CONDA_PREFIX")
    own = f"envparity runs in {'.'.join(map(str, sys.version_info[:3]))}"
    if not named:
        return f"{own}; no environment is active"
    python = Path(named, "bin", "python")
    if not python.exists():
        raise UnreachableError(f"the active environment has no `{python}`", hint="make it again, or deactivate it")
    text = "import sys; print('.'.join(map(str, sys.version_info[:3])))"
    done = run(Command((str(python), "-I", "-S", "-c", text), env={"PATH": os.defpath}, timeout_s=_EACH_S))
    if done.status:
        raise UnreachableError(f"`{python}` does not start (status {done.status})", hint="make the environment again")
    return f"{done.stdout.decode(errors='replace').strip()} in {named}; {own}"


def _cache(machine: Machine) -> str:
    cache, folder = machine.cache, machine.cache.folder
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    if existing != folder:
        if not os.access(existing, os.W_OK):
            raise UnreachableError(f"`{folder}` cannot be made", hint="name another folder in ENVPARITY_CACHE_DIR")
        return f"{folder}, not made yet"
    count, size_bytes = cache.size()
    with private_folder(make_folder(folder)) as trial:
        write_bytes(trial / "trial", b"")
    free = os.statvfs(folder)
    free_bytes = free.f_bavail * free.f_frsize
    said = f"{folder}: {size_bytes / 1e9:.1f} GB in {count:,} files, {free_bytes / 1e9:.0f} GB free"
    if free_bytes < 2e9:
        raise _Warning(said, hint="`envparity cache prune --max-size 1GB`, or free some space")
    return said


def _index(machine: Machine) -> str:
    chosen = [indexes([]).default]
    others = [index for index in configured(machine.environ).order if index.url != chosen[0].url]
    try:
        return f"{_page_of(chosen[0], machine)} answers"
    except EnvparityError:
        for index in others:
            try:
                shown = _page_of(index, machine)
            except EnvparityError:
                continue
            raise _Warning(
                f"{chosen[0].shown} does not answer, and {shown} does, which pip or uv is configured with",
                hint="lock with `--index from-config`",
            ) from None
        raise


def _page_of(index: Index, machine: Machine) -> str:
    with _client(machine) as client:
        answer = client.get(f"{index.url}pip/", within_s=_EACH_S, good=frozenset({200, 401, 403, 404}))
    if answer.status in {401, 403}:
        raise _Warning(f"{index.shown} answers, and wants a login", hint="as the documentation of `lock --index` says")
    if answer.status != 200:
        raise UnreachableError(f"{index.shown} is no package index (status {answer.status})", hint="check its address")
    return index.shown


def _archive(machine: Machine) -> str:
    base = machine.base or _own_base()
    row = archives.release(base)
    with _client(machine) as client:
        for suite in row.of(platforms.here().partition("/")[2]).suites:
            address = f"{archives.mirror_of(suite.archive)}/dists/{suite.name}/InRelease"
            answer = client.get(address, within_s=_EACH_S)
            if answer.status != 200:
                raise UnreachableError(f"{address} does not exist (status {answer.status})")
            package_lists.checked_release(answer.body, suite, datetime.now(UTC))
    return f"{base}: {', '.join(suite.name for suite in row.suites)} are signed by keys that are known"


def _own_base() -> str:
    try:
        lines = read_text("/etc/os-release").splitlines()
    except EnvparityError:
        return archives.BASES[0]
    found = {name: value.strip("\"'") for name, _, value in (line.partition("=") for line in lines)}
    return archives.own_base(found.get("ID", ""), found.get("VERSION_ID", "")) or archives.BASES[0]


def _engine(machine: Machine) -> str:
    with engine.connected(Access(environ=machine.environ, patience_s=_EACH_S)):
        return f"{printable(machine.environ.get('DOCKER_HOST') or engine.DEFAULT_HOST)} answers"


def _registry_name(host: str) -> str:
    try:
        return parse_name(f"{host}/any").host
    except UsageError as error:
        raise UsageError(
            "the registry is not given as a host", hint="such as `envparity doctor registry.example.com:5000`"
        ) from error


def _registry(machine: Machine) -> str:
    host = _registry_name(machine.registry)
    with _client(machine) as client:
        address = Registry(parse_name(f"{machine.registry}/any"), Access(client, None, machine.environ)).base
        answer = client.incoming(f"{address}/v2/", good=frozenset({200, 401, 403, 404}))
        status, api = answer.status, answer.headers.get("docker-distribution-api-version", "")
        answer.close()
    if status == 200:
        return f"{address} answers, without a login"
    if status == 404 and not api:
        raise MalformedError(f"{address} answers, and not as a registry", hint="check host and port")
    if credentials.login_for(host, machine.environ) is None:
        raise _Warning(f"{address} answers, and there is no login for it here", hint=f"`docker login {host}`")
    return f"{address} answers, and there is a login for it (not tried)"


def _run(machine: Machine) -> str:
    return f"`run` goes by {the_way().name}"


def _resolvers(machine: Machine) -> str:
    found, missing = [], ""
    for name in RESOLVERS:
        try:
            program_of(name, machine.environ)
            found.append(name)
        except EnvparityError as error:
            missing = missing or str(error)
    if not found:
        raise UnreachableError(missing, hint=f"pip install {RESOLVERS[0]}")
    return f"{' and '.join(found)} for `lock --add` and `--update`"


def _conda(machine: Machine) -> str:
    if importlib.util.find_spec("rattler") is None:
        raise UnreachableError(
            "py-rattler is not installed, so no conda environment can be locked", hint="pip install 'envparity[conda]'"
        )
    return "py-rattler is installed, for conda environments"


QUESTIONS = (
    Question("python", _python, State.FAIL),
    Question("cache", _cache, State.FAIL),
    Question("index", _index, State.FAIL, asks_network=True),
    Question("archive", _archive, State.FAIL, asks_network=True),
    Question("registry", _registry, State.FAIL, asks_network=True),
    Question("engine", _engine, State.WARN),
    Question("run", _run, State.WARN),
    Question("resolver", _resolvers, State.WARN),
    Question("conda", _conda, State.WARN),
)
"""What is looked at, and what it is where it does not work."""
