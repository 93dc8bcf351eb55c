"""Whether files are still those that something was made of."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from envparity.resolvers import unchanged

LATE_NS = 2**62


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path.resolve()
    (root / "lib" / "inner").mkdir(parents=True)
    (root / "lib" / "os.py").write_bytes(b"os")
    (root / "lib" / "inner" / "a.py").write_bytes(b"a")
    (root / "lib64").symlink_to("lib")
    (root / "lib" / "linked.py").symlink_to("os.py")
    (root / "lib" / "gone.py").symlink_to("nowhere.py")
    (root / "lib" / "round").symlink_to("round")
    monkeypatch.chdir(root)
    return root


@pytest.mark.parametrize(
    "place",
    [
        "lib/os.py",
        "lib64/os.py",
        "lib64/linked.py",
        "lib/inner",
        "lib/inner/",
        "lib/inner/../os.py",
        "lib64/inner/..",
        "lib64",
        "lib/gone.py",
        "lib/round",
        "lib/round/a.py",
        "missing/a.py",
        "lib/os.py/a.py",
        "",
        ".",
    ],
)
@pytest.mark.parametrize("absolute", [True, False])
def test_a_place_leads_where_the_system_says(tree: Path, place: str, absolute: bool) -> None:
    """A link that somebody turned must be told, however many files of its folder were looked at before."""
    place = f"{tree}/{place}" if absolute else place
    folders: dict[str, str] = {}

    for _ in range(2):
        real, found = unchanged._found(place, folders)

        assert Path(real) == Path(os.path.realpath(place))
        assert (found is not None) == Path(real).exists()
        assert found is None or os.path.samestat(found, Path(real).stat())


@pytest.mark.parametrize("place", ["/", "/usr", "/.."])
def test_the_root_and_what_lies_in_it_are_found(place: str) -> None:
    """An interpreter may have `/usr` for its prefix."""
    real, found = unchanged._found(place, {})

    assert real == os.path.realpath(place)
    assert found is not None
    assert os.path.samestat(found, Path(place).stat())


def test_a_link_that_was_turned_is_another_state(tree: Path) -> None:
    """What lies behind it is another library, with another inode, and the capture is one of the old."""
    places = ["lib64/os.py", "lib64/inner/a.py"]
    before = unchanged.state(places, before_ns=LATE_NS)
    (tree / "other").mkdir()
    (tree / "other" / "os.py").write_bytes(b"os")
    (tree / "lib64").unlink()
    (tree / "lib64").symlink_to("other")

    assert before is not None
    assert unchanged.state(places, before_ns=LATE_NS) != before
