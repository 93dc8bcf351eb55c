"""A running container: the collectors are sent to its own Python through the engine; nothing is copied in or out."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import msgspec

from envparity import codec
from envparity.collectors import variables
from envparity.errors import EnvparityError, UnreachableError, UsageError
from envparity.process import Completed
from envparity.sources import image, image_places
from envparity.sources.live import PROBING, asked, elsewhere, last_line
from envparity.sources.reading import Options, origin
from envparity.values import Environment, Gap, GapKind

if TYPE_CHECKING:
    from envparity.oci.engine import Container, Engine

_NOT_THERE = re.compile(rb"executable file not found|no such file or directory|permission denied", re.IGNORECASE)


def read_container(reference: str, options: Options) -> Environment:
    """
    The Environment of `container:NAME`: of the Python that its own start command names, else of the `python3` on its
    PATH, read while it lives.

    A container without a Python is read as its image, and a gap says so.

    Raises:
        UsageError: no such container. UnreachableError: it does not run, or stopped meanwhile; or there is no engine.
        TimeLimitError, MalformedError: as for any interpreter.
    """
    from envparity.oci.engine import connected

    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", reference):
        raise UsageError(f"`container:{reference[:100]!a}` is not the name of a container", hint="see `docker ps`")
    with image_places.access(options) as reach, connected(reach) as engine:
        found = engine.container(reference)
        if not found.running:
            raise UnreachableError(
                f"the container `{reference}` does not run: it is {found.status}",
                hint=f"start it, or read its image: `docker:{found.image_name or found.image}`",
            )
        python = image.python_of(found.argv) or "python3"
        try:
            answer = asked(
                f"container:{reference}",
                lambda program: engine.run(found, (python, *PROBING), program),
                lambda done: _failure(engine, found, python, done),
                options,
                _variables(found),
            )
        except _NoPythonError:
            return _of_image(reference, found, options)
    return elsewhere(f"container:{reference}", answer, _variables(found))


def _variables(found: Container) -> dict[str, str]:
    lines = (line.partition("=") for line in found.env)
    return {name: value for name, equals, value in lines if name and equals}


class _NoPythonError(Exception):
    """There is nothing in the container that the collectors could run in; its image is read instead."""


def _failure(engine: Engine, found: Container, python: str, done: Completed) -> EnvparityError:
    said = done.stdout + done.stderr
    now = _state_after(engine, found, killed=done.status > 128)
    if now is None or not now.running:
        return UnreachableError(
            f"the container `{found.name}` {'was removed' if now is None else 'stopped'} while it was read",
            hint="read it while it runs",
        )
    if done.status in {126, 127} and _NOT_THERE.search(said):
        raise _NoPythonError(python)
    ended = f"signal {done.status - 128}" if done.status > 128 else f"status {done.status}"
    words = last_line(done)
    return UnreachableError(
        f"`{python}` of the container `{found.name}` ended with {ended} before it answered"
        + (f": {words}" if words else ""),
        hint="it must be Python 3.8 or newer",
    )


def _state_after(engine: Engine, found: Container, *, killed: bool) -> Container | None:
    """What became of a container; None where it is gone. The engine notes an end a moment after it."""
    for _ in range(20 if killed else 1):
        try:
            now = engine.container(found.id)
        except UsageError:
            return None
        if not now.running:
            break
        time.sleep(0.1 if killed else 0)
    return now


def _of_image(reference: str, found: Container, options: Options) -> Environment:
    environment = image_places.read_docker(found.image, options)
    what = origin("image", f"container:{reference}@{found.image}")
    settings = variables.settings(_variables(found))
    reason = "it has no Python that could be asked: its image was read, and not what changed in it since it started"
    return msgspec.structs.replace(
        environment,
        origin=what,
        settings=codec.environment([settings], what).settings,
        gaps=tuple(sorted({*environment.gaps, Gap(kind=GapKind.NOT_RECORDED, section="distributions", reason=reason)})),
    )
