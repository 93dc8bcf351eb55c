"""The verbs at work, as a user strings them together: files, pipes, formats, exit statuses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.conftest import World
from tests.commands import envparity


def test_an_environment_is_equal_to_itself(world: World) -> None:
    done = envparity("diff", world.snapshot, world.snapshot, status=0)

    assert "Traceback" not in done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_snapshot_taken_twice_has_one_content(world: World, tmp_path: Path) -> None:
    envparity("snapshot", f"venv:{world.venv}", "-q", "-o", tmp_path / "again.env.json")

    digests = {json.loads(path.read_text())["content_digest"] for path in (world.snapshot, tmp_path / "again.env.json")}
    assert len(digests) == 1
    envparity("diff", world.snapshot, tmp_path / "again.env.json", status=0)


def test_drift_is_status_1_and_the_bar_is_the_users(drift: tuple[Path, Path]) -> None:
    told = envparity("diff", *drift, status=1).stdout

    assert "scikit-learn 1.4.2" in told
    assert max(map(len, told.splitlines()[1:])) <= 80  # the first line names the two sides, whole
    envparity("diff", *drift, "--fail-on", "critical", status=0)


def test_what_is_known_of_one_side_only_fails_under_strict(world: World, tmp_path: Path) -> None:
    (tmp_path / "same.txt").write_text("demo==1.0\n")
    sides = (world.snapshot, tmp_path / "same.txt")

    told = envparity("diff", *sides, status=0).stdout
    assert "not" in told.lower()
    assert "--strict" in envparity("diff", *sides, "--strict", status=3).stdout


def test_nothing_compared_with_nothing_is_no_parity(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("# nothing\n")

    done = envparity("diff", "empty.txt", "empty.txt", status=3, cwd=tmp_path)

    assert "nothing to compare" in done.stderr


def test_of_several_sides_the_worst_is_the_answer(drift: tuple[Path, Path]) -> None:
    trained, served = drift

    told = envparity("diff", trained, trained, served, "--format", "json", status=1).stdout

    assert [report["status"] for report in json.loads(told)] == [0, 1]


def test_a_report_goes_to_a_file_whole_and_is_then_not_printed(drift: tuple[Path, Path], tmp_path: Path) -> None:
    arguments = ("diff", *drift, "--format", "json")

    printed = envparity(*arguments, status=1).stdout
    dashed = envparity(*arguments, "-o", "-", status=1).stdout
    written = envparity(*arguments, "-o", tmp_path / "report.json", status=1)

    assert written.stdout == ""
    assert (tmp_path / "report.json").read_text() == printed == dashed
    assert json.loads(printed)["findings"]


def test_standard_input_is_a_source_and_standard_output_a_place(world: World, drift: tuple[Path, Path]) -> None:
    trained, served = drift

    shown = envparity("snapshot", "-", "-q", stdin=world.snapshot.read_text()).stdout

    assert json.loads(shown) == json.loads(world.snapshot.read_text())
    envparity("diff", trained, "-", stdin=served.read_text(), status=1)
    envparity("diff", "-", world.snapshot, stdin=shown, status=0)
    assert "empty" in envparity("show", "-", status=2).stderr


def test_quiet_says_nothing_and_messages_never_mix_with_the_result(world: World, tmp_path: Path) -> None:
    loud = envparity("snapshot", world.snapshot)
    quiet = envparity("snapshot", world.snapshot, "-q")

    assert loud.stdout == quiet.stdout
    assert (bool(loud.stderr), quiet.stderr) == (True, "")


@pytest.mark.parametrize("which", ["snapshot", "lock", "image", "venv"])
def test_whatever_can_be_read_can_be_shown_in_80_columns_and_as_json(world: World, which: str) -> None:
    place = getattr(world, which)

    text = envparity("show", place).stdout
    document = json.loads(envparity("show", place, "--format", "json").stdout)

    assert max(map(len, text.splitlines())) <= 80
    assert document["envparity"] == "environment"


def test_the_image_of_a_lock_passes_as_layout_and_as_archive(world: World) -> None:
    for image in (f"oci:{world.image}", f"docker-archive:{world.archive}"):
        done = envparity("verify", image, "--against", world.lock, status=0)

        assert done.stdout.startswith("VERIFIED")
        assert max(map(len, done.stdout.splitlines())) <= 80
    verdict = json.loads(envparity("verify", image, "--against", world.lock, "--format", "json").stdout)
    assert verdict["passed"] is True


def test_the_digest_that_build_prints_is_the_one_that_it_wrote(world: World, tmp_path: Path) -> None:
    printed = envparity("build", world.lock, "--output", f"oci:{tmp_path}/image").stdout.strip()

    assert re.fullmatch(r"sha256:[0-9a-f]{64}", printed)
    (line,) = json.loads((tmp_path / "image" / "index.json").read_text())["manifests"]
    assert line["digest"] == printed
    (earlier,) = json.loads((world.image / "index.json").read_text())["manifests"]
    assert earlier["digest"] == printed
