"""
Write an image and a document about it into a layout again and again, each time killed one step later, and say what was
left: `python -m tests.oci.interrupted_layout FOLDER`.

As `tests/interrupted.py` does it for locks. Prints, as JSON, one row an attempt: which digest the tag has then, what is
wrong with the layout, and how many documents are found once the same was written in peace.
"""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

from envparity.oci.check import check_layout
from envparity.oci.image import BuiltImage
from envparity.oci.layout import Layout, write_layout
from envparity.oci.places import open_image
from envparity.oci.referrers import Document, made, opened, subject_of
from tests.oci.made import built, file

STEPS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.chmod"}
NOTE = Document("application/vnd.example.note", "text/plain", b"all is well", "note.txt")


def write(place: Path, image: BuiltImage, tag: str = "1") -> None:
    write_layout(place, image, tag)
    with opened(f"oci:{place}", writes=True) as there:
        there.attach(subject_of(image), [made(subject_of(image), NOTE)])


def killed_at(step: int, place: Path, image: BuiltImage) -> bool:
    """Whether a process that writes this was killed before it had come to its end."""
    child = os.fork()
    if child == 0:
        left = [step]

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            if event in STEPS and str(place) in str(arguments[0]):
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        write(place, image)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def main(folder: Path) -> None:
    older, newer = (built(folder / name, (file("a", name.encode()),)) for name in ("older", "newer"))
    names = {older.digest: "older", newer.digest: "newer"}
    rows = []
    for step in range(300):
        place = folder / str(step)
        write(place, older)
        was_killed = killed_at(step, place, newer)
        row = {
            "tag": names.get(open_image(f"oci:{place}:1").digest, "?"),
            "wrong": [problem.message for problem in check_layout(str(place)).problems],
        }
        write(place, newer)
        with opened(f"oci:{place}") as there:
            row["after"] = [names[open_image(f"oci:{place}:1").digest], len(there.listed(newer.digest))]
        row["lines"] = len(Layout(place).index().manifests)
        rows.append(row)
        shutil.rmtree(place)
        if not was_killed:
            break
    print(json.dumps(rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
