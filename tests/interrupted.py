"""
Write a lock again and again, each time killed one step later, and say what was left: `python interrupted.py FOLDER`.

Each attempt is a process of its own that gets SIGKILL just before its n-th call that could change a file, as Python
reports them (https://docs.python.org/3/library/audit_events.html). Prints, as JSON, one row an attempt: whether the
lock that lies there then is the older or the newer one, and which of its bytes are nowhere in its folder; and the same
after one more lock, together with what lies there beyond it.
"""

import hashlib
import json
import os
import shutil
import signal
import sys
from pathlib import Path

from envparity import lockfile
from tests.test_lockfile import recovered, repacked

STEPS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "shutil.copyfile"}


def killed_at(step: int, path: Path, wanted: lockfile.Recovered) -> bool:
    """Whether a process that writes this lock was killed before it had come to its end."""
    child = os.fork()
    if child == 0:
        left = [step]

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            if event in STEPS and str(path.parent) in str(arguments[0]):
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        lockfile.write(wanted, path)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def state(path: Path, names: dict[str, str]) -> dict[str, object]:
    """Which lock lies there, and which of its artifacts' bytes lie nowhere beside it."""
    lock, _ = lockfile.read(path)
    folder = lockfile.artifacts_folder(path)
    digests = {hashlib.sha256(place.read_bytes()).hexdigest() for place in folder.iterdir() if place.is_file()}
    places = {hashlib.sha256((folder / item.name).read_bytes()).hexdigest() for item in lockfile.artifacts(lock)
              if (folder / item.name).is_file()}  # fmt: skip
    wanted = {item.name: item.sha256 for item in lockfile.artifacts(lock)}
    return {
        "lock": names.get(lock.distributions[0].wheels[0].sha256, "?"),
        "lost": sorted(name for name, digest in wanted.items() if digest not in digests),
        "misplaced": sorted(name for name, digest in wanted.items() if digest not in places),
    }


def main(folder: Path) -> None:
    older, newer, third = repacked(b"older"), repacked(b"newer"), recovered(b"third")
    names = {hashlib.sha256(content).hexdigest(): content.decode() for content in (b"older", b"newer")}
    rows = []
    for step in range(500):
        place = folder / str(step)
        place.mkdir()
        path = place / "pylock.toml"
        lockfile.write(older, path)
        was_killed = killed_at(step, path, newer)
        row = state(path, names)
        lockfile.write(newer, path)
        row["after"] = state(path, names)
        lockfile.write(third, path)
        row["beyond"] = sorted(item.name for item in (*place.iterdir(), *lockfile.artifacts_folder(path).iterdir()))
        rows.append(row)
        shutil.rmtree(place)
        if not was_killed:
            break
    print(json.dumps(rows))


main(Path(sys.argv[1]))
