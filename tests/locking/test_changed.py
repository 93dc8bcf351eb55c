"""A lock that lies there is changed in what was asked for, and in nothing else."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from envparity import codec, lockfile, platforms
from envparity.cache import Cache
from envparity.errors import IntegrityError, RefusedError, UsageError
from envparity.fetch import Fetcher
from envparity.lockfile import Recovered
from envparity.locking.asked import Asked
from envparity.locking.changed import changed
from envparity.network import Client
from envparity.resolvers.indexes import Indexes
from envparity.values import Distribution, LockedArtifact, LockedDistribution, LockedWheel
from tests.commands import envparity
from tests.small_indexes import small_index
from tests.tools import needs_uv
from tests.values import SOME_SHA256, a_lock, training
from tests.wheels import LocalIndex

WHEELS = {"sums 1.0": [], "sums 2.0": ["web"], "web 1.0": [], "web 2.0": ["sums>=2"], "near 1.0": []}


def locked(name: str) -> LockedDistribution:
    wheel = f"{name}-1.0-py3-none-any.whl"
    return LockedDistribution(
        name=name,
        version="1.0",
        wheels=(LockedWheel(name=wheel, url=f"https://x.example/{wheel}", size_bytes=9, sha256=SOME_SHA256),),
        state="proven",
        index="https://x.example/simple/",
    )


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A lock of three distributions, with what lies beside it, and with comments."""
    names = ("near", "sums", "zoo")
    known = tuple(Distribution(name=name, version="1.0", wheel_tags=("py3-none-any",)) for name in names)
    content = codec.content_bytes(training(distributions=known, artifacts=()))
    digest = codec.content_digest(codec.load_environment(content, "it")).removeprefix("sha256:")
    snapshot = LockedArtifact(name=f"snapshot-{digest[:12]}.env.json", size_bytes=len(content), sha256=digest)
    (target,) = a_lock().targets
    interpreter = msgspec.structs.replace(target.interpreter, kind="base", version="3.11.2", artifact=None)
    target = msgspec.structs.replace(target, interpreter=interpreter)
    made = a_lock(distributions=tuple(map(locked, names)), targets=(target,), snapshot=snapshot, models=())
    path = tmp_path / "pylock.toml"
    lockfile.write(Recovered(made, {snapshot.name: content}), path)
    text = path.read_text().replace('[[packages]]\nname = "sums"', '# Ada: wait for 2.1\n[[packages]]\nname = "sums"')
    path.write_text("# ours\n" + text.replace('name = "zoo"', 'name = "zoo"  # why?'))
    return path


@pytest.fixture
def index() -> Iterator[LocalIndex]:
    with small_index(WHEELS) as served:
        yield served


def change(path: Path, index: LocalIndex, workplace: Path, **options: Any) -> None:
    environ = {**os.environ, "PATH": str(Path(needs_uv()).parent)}
    asked = Asked(indexes=Indexes.at(index.root), environ=environ, **options)
    with Fetcher(Client(timeout_s=10.0), Cache(workplace / "cache")) as fetcher:
        made, _ = changed(path, asked=asked, fetcher=fetcher, workplace=workplace)
    lockfile.write(made, path)


def lines_that_differ(before: str, after: str) -> list[str]:
    compared = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0)
    return [line for line in compared if not line.startswith(("---", "+++", "@@"))]


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def test_one_moved_pin_changes_its_own_lines_and_comments_stay(place: Path, index: LocalIndex, workplace: Path) -> None:
    before = place.read_text()
    change(place, index, workplace, updated=["sums==2.0"], added=["web==1.0"])
    after = place.read_text()
    differing = lines_that_differ(before, after)

    assert '+version = "2.0"' in differing
    assert '-version = "1.0"' in differing
    assert [line for line in after.splitlines() if "#" in line] == [
        "# ours",
        "# Ada: wait for 2.1",
        'name = "zoo"  # why?',
    ]
    near = before[before.index('name = "near"') : before.index("# Ada")]
    assert near in after
    packages = after[: after.index("[tool.envparity]")]
    assert packages[packages.index('name = "zoo"') : packages.index("[packages.wheels.hashes]")] in after


def test_base_interpreter_and_artifacts_stay_as_they_are(place: Path, index: LocalIndex, workplace: Path) -> None:
    before, _ = lockfile.read(place)
    change(place, index, workplace, added=["web<2"])
    after, _ = lockfile.read(place)
    (new,) = (item for item in after.distributions if item.name == "web")

    assert (after.targets, after.snapshot, after.settings) == (before.targets, before.snapshot, before.settings)
    assert [item for item in after.distributions if item.name != "web"] == list(before.distributions)
    assert (new.state, new.added and new.added.asked_by) == ("added", ("web<2",))
    assert (lockfile.artifacts_folder(place) / after.snapshot.name).exists()


def test_what_trained_keeps_its_requirements_where_its_version_is_spelled_otherwise(
    place: Path, workplace: Path
) -> None:
    """METADATA says `1.00`, the lock `1.0`: what it requires still holds for what is moved."""
    known = Distribution(name="near", version="1.00", wheel_tags=("py3-none-any",), requires=("sums<2",))
    sums = Distribution(name="sums", version="1.0", wheel_tags=("py3-none-any",))
    content = codec.content_bytes(training(distributions=(known, sums), artifacts=()))
    digest = codec.content_digest(codec.load_environment(content, "it")).removeprefix("sha256:")
    snapshot = LockedArtifact(name=f"snapshot-{digest[:12]}.env.json", size_bytes=len(content), sha256=digest)
    lock, _ = lockfile.read(place)
    made = msgspec.structs.replace(lock, distributions=(locked("near"), locked("sums")), snapshot=snapshot)
    lockfile.write(Recovered(made, {snapshot.name: content}), place)
    with small_index({"near 1.0": [], "sums 1.0": [], "sums 1.5": [], "sums 2.0": []}) as index:
        change(place, index, workplace, updated=["sums"])

    found = {item.name: (item.version, item.state) for item in lockfile.read(place)[0].distributions}
    assert found == {"near": ("1.0", "proven"), "sums": ("1.5", "updated")}


@pytest.mark.parametrize("wanted", ["near", "near==1.0", "far"])
def test_what_trained_and_was_left_out_does_not_come_back_in_another_version(
    wanted: str, place: Path, workplace: Path
) -> None:
    """It would be the newest of today, or another wheel than the one that trained, and the lock would call it new."""
    lock, _ = lockfile.read(place)
    (snapshot,) = lockfile.artifacts_folder(place).glob("snapshot-*")
    kept = tuple(item for item in lock.distributions if item.name != "near")
    made = msgspec.structs.replace(lock, distributions=kept)
    lockfile.write(Recovered(made, {snapshot.name: snapshot.read_bytes()}), place)
    before = place.read_bytes()
    with small_index({"near 1.0": [], "near 2.0": [], "far 1.0": ["near"], "web 1.0": []}) as index:
        with pytest.raises(RefusedError, match="left out of this lock") as caught:
            change(place, index, workplace, added=[wanted])
        assert place.read_bytes() == before
        change(place, index, workplace, added=["web"])

    version = "1.0" if "==" in wanted else "2.0"
    assert caught.value.details == (f"near 1.0 trained the model, and {version} would come in",)
    assert "snapshot again" in caught.value.hint


def test_what_was_added_once_is_moved_as_what_it_is(place: Path, index: LocalIndex, workplace: Path) -> None:
    change(place, index, workplace, added=["web==1.0"])
    change(place, index, workplace, updated=["web", "sums"])
    found = {item.name: item for item in lockfile.read(place)[0].distributions}

    assert {name: (item.version, item.state) for name, item in found.items() if item.added} == {
        "web": ("2.0", "added"),
        "sums": ("2.0", "updated"),
    }
    assert found["sums"].added is not None
    assert found["sums"].added.before == "1.0"


def test_what_would_move_another_pin_leaves_the_file_as_it_is(place: Path, index: LocalIndex, workplace: Path) -> None:
    before = place.read_bytes()
    with pytest.raises(RefusedError) as caught:
        change(place, index, workplace, added=["web>=2"])

    assert caught.value.details[0].startswith("sums 1.0 would move: web")
    assert place.read_bytes() == before


def test_a_snapshot_that_is_not_the_locked_one_is_an_integrity_error(
    place: Path, index: LocalIndex, workplace: Path
) -> None:
    (beside,) = lockfile.artifacts_folder(place).glob("snapshot-*")
    beside.write_bytes(beside.read_bytes().replace(b"1.0", b"1.1", 1))
    with pytest.raises(IntegrityError):
        change(place, index, workplace, added=["web"])


def test_a_lock_of_which_nothing_is_asked_is_a_mistake(place: Path, index: LocalIndex, workplace: Path) -> None:
    with pytest.raises(UsageError, match="a lock already"):
        change(place, index, workplace)


def test_comments_in_a_layout_of_ones_own_are_not_thrown_away(place: Path, index: LocalIndex, workplace: Path) -> None:
    text = place.read_text().replace('name = "near"', "name = 'near'")
    place.write_text(text)
    with pytest.raises(RefusedError, match="laid out by hand"):
        change(place, index, workplace, added=["web<2"])

    assert place.read_text() == text


def test_a_lock_for_several_platforms_is_changed_for_each_of_them(
    place: Path, index: LocalIndex, workplace: Path
) -> None:
    """All of them get one version, also of what was left to the resolver; what is native for one stays its own."""
    lock, _ = lockfile.read(place)
    (target,) = lock.targets
    alone = []
    for name, machine in (("linux/amd64", "x86_64"), ("linux/arm64", "aarch64")):
        file = f"zoo-1.0-cp311-cp311-manylinux_2_17_{machine}.whl"
        wheel = LockedWheel(name=file, url=f"https://x.example/{file}", size_bytes=9, sha256=SOME_SHA256)
        state = "proven" if machine == "x86_64" else "counterpart"
        zoo = msgspec.structs.replace(locked("zoo"), wheels=(wheel,), state=state)
        kept = (*(item for item in lock.distributions if item.name != "zoo"), zoo)
        on = msgspec.structs.replace(target, platform=name)
        condition = (platforms.condition(name),)
        alone.append(msgspec.structs.replace(lock, distributions=kept, targets=(on,), environments=condition))
    both = platforms.joined(alone)
    (beside,) = lockfile.artifacts_folder(place).glob("snapshot-*")
    lockfile.write(Recovered(both, {beside.name: beside.read_bytes()}), place)
    change(place, index, workplace, updated=["sums==2.0"], added=["web"])
    after, _ = lockfile.read(place)

    assert after.targets == both.targets
    for platform in ("linux/amd64", "linux/arm64"):
        found = {item.name: item for item in platforms.selected(after, platform).distributions}
        assert {name: item.version for name, item in found.items()} == {
            "near": "1.0",
            "sums": "2.0",
            "web": "2.0",
            "zoo": "1.0",
        }
        assert found["zoo"] == next(
            item for item in platforms.selected(both, platform).distributions if item.name == "zoo"
        )


def test_a_lock_that_somebody_else_changed_meanwhile_is_not_overwritten(
    place: Path, index: LocalIndex, workplace: Path
) -> None:
    made, data = lockfile.read(place)
    (beside,) = lockfile.artifacts_folder(place).glob("snapshot-*")
    content = beside.read_bytes()
    place.write_text(place.read_text() + "# another\n")
    with pytest.raises(RefusedError, match="changed meanwhile"):
        lockfile.write(Recovered(made, {beside.name: content}, data), place)


def test_a_command_changes_the_lock_in_its_place_and_says_what_that_does(place: Path, index: LocalIndex) -> None:
    """Whoever updates a lock means that file, and reads there what it does to the model."""
    options = ("--index", index.root, "--update", "sums==2.0", "--add", "web")
    path = f"{Path(needs_uv()).parent}:/usr/bin:/bin"
    done = envparity("lock", "pylock.toml", *options, "--explain", cwd=place.parent, PATH=path)
    found = {item.name: item.state for item in lockfile.read(place)[0].distributions}

    assert found == {"near": "proven", "sums": "updated", "web": "added", "zoo": "proven"}
    assert "sums 1.0 → 2.0" in done.stdout
    assert "1.0 trained the model; asked for by sums==2.0" in done.stdout
    assert "Exit status" not in done.stdout
    assert "wrote pylock.toml" in done.stderr


@pytest.mark.parametrize(
    "options", [("--base", "debian:trixie"), ("--prove",), ("--repack", "all"), ("--add-os", "tini")]
)
def test_what_is_for_a_snapshot_is_a_mistake_where_a_lock_is_changed(place: Path, options: tuple[str, ...]) -> None:
    done = envparity("lock", "pylock.toml", "--add", "web", *options, status=2, cwd=place.parent)

    assert f"`{options[0]}` is for a snapshot" in done.stderr
