"""A layout that many write to, and whose writers die: it is valid at every moment, and nobody's image is lost."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
from pathlib import Path

from envparity.oci.check import check_layout
from envparity.oci.places import open_image
from envparity.oci.referrers import opened
from tests.oci.interrupted_layout import write
from tests.oci.made import built, file


def test_a_writer_that_is_killed_at_any_step_leaves_the_one_image_or_the_other(tmp_path: Path) -> None:
    """SIGKILL runs nothing of ours: what lies there at that moment is what everybody else reads."""
    command = [sys.executable, "-m", "tests.oci.interrupted_layout", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)

    assert len(rows) > 15
    assert {row["tag"] for row in rows} == {"older", "newer"}
    assert [row["tag"] for row in rows] == sorted((row["tag"] for row in rows), reverse=True)
    assert all(row["wrong"] == [] for row in rows)
    assert all(row["after"] == ["newer", 1] for row in rows)
    # The new image and its document; that of the older one went with its tag.
    assert {row["lines"] for row in rows} == {2}


def _one_of_many(folder: Path, number: int) -> None:
    image = built(folder / f"made-{number}", (file("a", b"%d" % (number // 2)),))
    write(folder / "layout", image, str(number // 2))


def test_eight_processes_at_once_lose_no_document_and_no_blob(tmp_path: Path) -> None:
    """Two of each make the same image: what one has written, the other finds half written, whole, or not at all."""
    context = multiprocessing.get_context("spawn")
    started = [context.Process(target=_one_of_many, args=(tmp_path, number)) for number in range(8)]
    for process in started:
        process.start()
    for process in started:
        process.join(120)

    assert [process.exitcode for process in started] == [0] * 8
    report = check_layout(f"{tmp_path}/layout")
    assert report.problems == ()
    with opened(f"oci:{tmp_path}/layout") as place:
        for number in range(4):
            image = built(tmp_path / f"again-{number}", (file("a", b"%d" % number),))
            assert [line.artifact_type for line in place.listed(image.digest)] == ["application/vnd.example.note"]
            assert open_image(f"oci:{tmp_path}/layout:{number}").digest == image.digest
