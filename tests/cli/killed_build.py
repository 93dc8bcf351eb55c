"""
Whole builds, each a process of its own that is killed one step later than the one before, and what they leave:
`python -m tests.cli.killed_build (files|registry) FOLDER LOCK CACHE STRIDE`.

A step is a call that changes a file of the layout or the cache, as Python reports them
(https://docs.python.org/3/library/audit_events.html); or a request that changes something in a registry, which kills
its client just before. Of the steps each STRIDE-th is taken. Prints, as JSON, one row a build: whether it was killed,
which digest the tag has then, what is wrong with what lies there, and what there is once it was done again in peace.

The processes are forked off one that has everything imported, so that none takes longer than what it does.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from envparity.cache import Cache
from envparity.cli import main as envparity
from envparity.network import Client
from envparity.oci.access import Access
from envparity.oci.check import check, check_layout
from envparity.oci.layout import Layout
from envparity.oci.places import open_image
from envparity.oci.referrers import opened
from tests.oci.registry import Fake, Handler, serving

STEPS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.chmod"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
MOST = 2_000


def begun(cache: Path, build: Callable[[], list[str]]) -> int:
    """The id of a process that builds."""
    child = os.fork()
    if child == 0:
        silent = os.open(os.devnull, os.O_WRONLY)
        for number in (1, 2):
            os.dup2(silent, number)
        os.environ["ENVPARITY_CACHE_DIR"] = str(cache)
        try:
            envparity(["build", *build()])
        except SystemExit as leave:
            os._exit(int(leave.code or 0))
        os._exit(99)
    return child


def ended(child: int) -> int:
    """Its exit status; the number of a signal, less than nothing."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def die_at(step: int, place: Path) -> None:
    """From here on, SIGKILL just before a call that changes a file below a place."""
    left = [step]

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event in STEPS or (event == "open" and int(arguments[2] or 0) & WRITES):  # type: ignore[call-overload]
            if str(place) not in str(arguments[0]):
                return
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def to_files(folder: Path, lock: Path, cache: Path, stride: int) -> Iterator[dict[str, object]]:
    for step in range(0, MOST, stride):
        place = folder / str(step)
        shutil.copytree(cache, place / "cache")
        wanted = [str(lock), "--attach", "lock", "--output", f"oci:{place}/image:1"]

        def dying(step: int = step, place: Path = place, wanted: list[str] = wanted) -> list[str]:
            die_at(step, place)
            return wanted

        status = ended(begun(place / "cache", dying))
        tagged = (place / "image" / "index.json").exists()
        row: dict[str, object] = {
            "status": status,
            "digest": open_image(f"oci:{place}/image:1").digest if tagged else "",
            "wrong": [
                *([problem.message for problem in check_layout(f"{place}/image").problems] if tagged else []),
                *(each.name for each in (place / "image/blobs").glob("sha256/*") if len(each.name) != 64),
            ],
            "again": ended(begun(place / "cache", lambda wanted=wanted: wanted)),  # type: ignore[misc]
        }
        row["then"] = open_image(f"oci:{place}/image:1").digest
        row["wrong then"] = [problem.message for problem in check_layout(f"{place}/image").problems]
        row["lines"] = len(Layout(place / "image").index().manifests)
        Cache(place / "cache").prune(check=True)
        row["half"] = sorted(str(path.relative_to(place)) for path in half(place))
        yield row
        shutil.rmtree(place)
        if status == 0:
            return


def half(place: Path) -> Iterator[Path]:
    yield from place.rglob("*.part")
    yield from (place / "cache" / "incoming").glob("*")


def to_a_registry(folder: Path, lock: Path, cache: Path, stride: int) -> Iterator[dict[str, object]]:
    for step in range(0, MOST, stride):
        shutil.copytree(cache, folder / str(step))
        pipes = [os.pipe(), os.pipe()]

        def told(pipe: tuple[int, int]) -> list[str]:
            return [str(lock), "--output", os.read(pipe[0], 200).decode()]

        # All are forked before there are threads.
        children = [begun(folder / str(step), lambda pipe=pipe: told(pipe)) for pipe in pipes]  # type: ignore[misc]
        left = [step]

        def kills(request: Handler, left: list[int] = left, child: int = children[0]) -> bool:
            if request.command in {"POST", "PUT", "PATCH"}:
                left[0] -= 1
                if left[0] < 0:
                    with suppress(ProcessLookupError):  # another of its requests was faster
                        os.kill(child, signal.SIGKILL)
                    return True
            return False

        with serving(Fake(api=True)) as fake:
            fake.answer = kills
            os.write(pipes[0][1], fake.reference.encode())
            status = ended(children[0])
            fake.answer = lambda request: False
            row: dict[str, object] = {"status": status, **seen(fake, "digest", "wrong")}
            os.write(pipes[1][1], fake.reference.encode())
            row["again"] = ended(children[1])
            row |= seen(fake, "then", "wrong then")
            with Client() as client, opened(fake.reference, access=Access(client)) as place:
                row["lines"] = 1 + len(place.listed(str(row["then"])))
        row["half"] = []
        for pipe in pipes:
            os.close(pipe[0])
            os.close(pipe[1])
        yield row
        if status == 0:
            return


def seen(fake: Fake, digest: str, wrong: str) -> dict[str, object]:
    """What the tag leads to, read as anybody reads it, without a cache."""
    if "1" not in fake.tags:
        return {digest: "", wrong: []}
    with Client() as client:
        image = open_image(fake.reference, access=Access(client))
        return {digest: image.digest, wrong: [problem.message for problem in check(image).problems]}


MODES = {"files": to_files, "registry": to_a_registry}


def main(mode: str, folder: str, lock: str, cache: str, stride: str) -> None:
    warm = Path(folder) / "warm"
    shutil.copytree(cache, warm / "cache")
    os.environ["ENVPARITY_CACHE_DIR"] = str(warm / "cache")
    standard = os.dup(1)
    os.dup2(2, 1)
    with serving(Fake(api=True)) as fake:
        try:
            envparity(["build", lock, "-q", "--output", f"oci:{warm}/image:1", "--output", fake.reference])
        except SystemExit as leave:
            status = leave.code
    assert not status, status
    os.dup2(standard, 1)
    print(json.dumps(list(MODES[mode](Path(folder), Path(lock), Path(cache), int(stride)))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
