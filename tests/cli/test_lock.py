"""`envparity lock`: the states of what is locked, and what is refused because of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import msgspec
import pytest

from envparity import codec, lockfile
from envparity.lockfile import Recovered
from envparity.values import LockedArtifact
from tests.cli.conftest import World, write_lock
from tests.commands import envparity, refused
from tests.indexes import SECRET, USER, private_index
from tests.serving import Answer, Ranged, plain, serving
from tests.wheels import JSON


@pytest.fixture
def snapshot(world: World, tmp_path: Path) -> Path:
    """The snapshot, with `demo` and one that no index has."""
    document = json.loads(world.snapshot.read_text())
    (demo,) = (item for item in document["distributions"] if item["name"] == "demo")
    document["distributions"] = [demo, demo | {"name": "gone"}]
    document["gaps"] = [item for item in document["gaps"] if item["kind"] != "unread"]
    del document["content_digest"]
    place = tmp_path / "demo.env.json"
    place.write_text(json.dumps(document))
    return place


def index(world: World, file: Answer) -> dict[str, list[Answer]]:
    data = world.wheel.read_bytes()
    listed = {"filename": world.wheel.name, "url": f"/files/{world.wheel.name}", "size": len(data),
              "hashes": {"sha256": hashlib.sha256(data).hexdigest()}}  # fmt: skip
    page = {"meta": {"api-version": "1.1"}, "name": "demo", "files": [listed]}
    return {
        "/simple/demo/": [plain(json.dumps(page).encode(), content_type=JSON)],
        f"/files/{world.wheel.name}": [file],
    }


def test_a_refused_lock_explains_every_state_and_writes_nothing(world: World, snapshot: Path, tmp_path: Path) -> None:
    served = Ranged(world.wheel.read_bytes())
    with serving(index(world, served)) as place:
        arguments = ("lock", snapshot, "--index", f"{place.url}/simple/", "--prove", "--explain")
        done = envparity(*arguments, status=1, cwd=tmp_path, ENVPARITY_CACHE_DIR=str(tmp_path / "cache"))
        told = envparity(*arguments, "--format", "json", status=1, cwd=tmp_path)

    assert done.stdout.splitlines()[0] == "1 unmatched, 1 proven"
    assert "proven       demo 1.0" in done.stdout
    assert "1 distribution cannot be locked" in done.stderr
    assert "gone 1.0: is not on the index" in done.stderr
    assert json.loads(told.stdout)["counts"] == {"unmatched": 1, "proven": 1}
    assert served.wholes == 0
    assert not (tmp_path / "pylock.toml").exists()


def test_without_explain_nothing_goes_to_standard_output(world: World, snapshot: Path, tmp_path: Path) -> None:
    with serving(index(world, Ranged(world.wheel.read_bytes()))) as place:
        done = envparity("lock", snapshot, "--index", f"{place.url}/simple/", status=1, cwd=tmp_path)

    assert done.stdout == ""


def test_a_wheel_that_was_replaced_ends_with_the_status_of_integrity(
    world: World, snapshot: Path, tmp_path: Path
) -> None:
    wrong = b"x" * world.wheel.stat().st_size
    with serving(index(world, Ranged(wrong))) as place:
        done = envparity("lock", snapshot, "--index", f"{place.url}/simple/", "--prove", status=5, cwd=tmp_path,
                         ENVPARITY_CACHE_DIR=str(tmp_path / "cache"))  # fmt: skip

    assert hashlib.sha256(wrong).hexdigest() in done.stderr


def test_a_lock_that_is_there_is_explained_without_asking_anybody(world: World, tmp_path: Path) -> None:
    write_lock(tmp_path / "pylock.toml", world.wheel)
    before = (tmp_path / "pylock.toml").read_bytes()

    done = envparity("lock", "pylock.toml", "--explain", "--offline", cwd=tmp_path)
    told = json.loads(envparity("lock", "pylock.toml", "--explain", "--format", "json", cwd=tmp_path).stdout)

    assert done.stdout.startswith("1 matched\nmatched      demo 1.0\n")
    assert "    pip install --force-reinstall --no-deps --only-binary :all: demo==1.0\n" in done.stdout
    assert told["counts"] == {"matched": 1}
    assert told["distributions"][0]["file"] == world.wheel.name
    assert (tmp_path / "pylock.toml").read_bytes() == before


def test_a_lock_that_is_there_may_be_required_to_be_proven(world: World, tmp_path: Path) -> None:
    """A pipeline that ships a lock somebody else made."""
    write_lock(tmp_path / "pylock.toml", world.wheel)

    envparity("lock", "pylock.toml", "--explain", "--require", "matched", cwd=tmp_path)
    done = envparity("lock", "pylock.toml", "--explain", "--require", "proven", status=1, cwd=tmp_path)

    assert "1 distribution is not proven, which --require asks for" in done.stderr
    assert "demo 1.0 is matched: " in done.stderr
    assert done.stdout.startswith("1 matched\n")


def test_a_lock_of_another_tool_has_no_states(tmp_path: Path) -> None:
    (tmp_path / "pylock.toml").write_text('lock-version = "1.0"\ncreated-by = "uv"\npackages = []\n')

    done = envparity("lock", "pylock.toml", "--explain", status=2, cwd=tmp_path)

    assert "was not made by envparity" in done.stderr


def test_build_finds_the_login_of_a_private_index_and_no_file_knows_it(world: World, tmp_path: Path) -> None:
    """A lock is committed: who may read it is not who may read the index."""
    with private_index(world.wheel) as index:
        write_lock(tmp_path / "pylock.toml", world.wheel, f"{index.served.url}/files/")
        kept = {"ENVPARITY_CACHE_DIR": str(tmp_path / "cache"), "ENVPARITY_INDEX_CORP_URL": index.root}
        login = {"ENVPARITY_INDEX_CORP_USERNAME": USER, "ENVPARITY_INDEX_CORP_PASSWORD": SECRET}
        done = envparity("build", "pylock.toml", "--output", "oci:image", status=3, cwd=tmp_path, **kept)
        envparity("build", "pylock.toml", "--output", "oci:image", cwd=tmp_path, **kept, **login)

    assert "set ENVPARITY_INDEX_CORP_USERNAME and ENVPARITY_INDEX_CORP_PASSWORD" in done.stderr
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


def test_a_lock_is_held_against_its_snapshot_without_asking_anybody(world: World, tmp_path: Path) -> None:
    write_lock(tmp_path / "pylock.toml", world.wheel)
    before = sorted(path.name for path in tmp_path.iterdir())

    done = envparity("lock", "pylock.toml", "--check", "--offline", cwd=tmp_path)
    other = envparity("lock", world.snapshot, "--check", "-o", "pylock.toml", status=1, cwd=tmp_path)

    assert done.stdout.startswith("pylock.toml matches its snapshot ")
    assert done.stderr == other.stderr == ""
    assert other.stdout.startswith("pylock.toml does not match ")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_snapshot_comes_over_standard_input_too(world: World, snapshot: Path, tmp_path: Path) -> None:
    write_lock(tmp_path / "pylock.toml", world.wheel)
    with serving(index(world, Ranged(world.wheel.read_bytes()))) as place:
        url = f"{place.url}/simple/"
        done = envparity("lock", "-", "--index", url, stdin=snapshot.read_text(), status=1, cwd=tmp_path)
    checked = envparity("lock", "-", "--check", stdin=snapshot.read_text(), status=1, cwd=tmp_path)

    assert "gone 1.0: is not on the index" in done.stderr
    assert checked.stdout.startswith("pylock.toml does not match `-` any more")
    refused("lock", "-", status=2, says="standard input is empty", cwd=tmp_path)


def test_a_living_environment_is_read_for_a_check_as_it_was_for_the_lock(world: World, tmp_path: Path) -> None:
    """Its variables and its model are part of it: without them it would differ from its own lock at once."""
    (tmp_path / "model.bin").write_bytes(b"weights")
    variables = {"OMP_NUM_THREADS": "3", "TZ": "Europe/Vienna"}
    live = f"venv:{world.venv}"
    envparity("snapshot", live, "--model", "model.bin", "-q", "-o", "x.env.json", cwd=tmp_path, **variables)
    environment = codec.load_environment((tmp_path / "x.env.json").read_bytes(), "it")
    content, digest = codec.content_bytes(environment), codec.content_digest(environment).removeprefix("sha256:")
    kept = LockedArtifact(name=f"snapshot-{digest[:12]}.env.json", size_bytes=len(content), sha256=digest)
    lock = write_lock(tmp_path / "pylock.toml", world.wheel)
    made = Recovered(msgspec.structs.replace(lock, snapshot=kept), {kept.name: content})
    lockfile.write(made, tmp_path / "pylock.toml")

    same = envparity("lock", live, "--model", "model.bin", "--check", cwd=tmp_path, **variables)
    other = envparity("lock", live, "--check", status=1, cwd=tmp_path, **{**variables, "OMP_NUM_THREADS": "4"})

    assert same.stdout.startswith(f"pylock.toml matches `{live}`")
    assert [line.partition(":")[0].strip() for line in other.stdout.splitlines()[2:]] == ["settings", "models"]
    assert "`--model` names them" in other.stdout


def test_a_check_ends_with_the_status_of_what_is_wrong(world: World, tmp_path: Path) -> None:
    write_lock(tmp_path / "pylock.toml", world.wheel)
    (snapshot,) = (tmp_path / "pylock.artifacts").iterdir()
    text = (tmp_path / "pylock.toml").read_text()

    (tmp_path / "pylock.toml").write_text(text.replace('state = "matched"', 'state = "proven"'))
    edited = envparity("lock", "pylock.toml", "--check", status=4, cwd=tmp_path)
    (tmp_path / "pylock.toml").write_text(text)
    snapshot.write_bytes(b"{}")
    changed = envparity("lock", "pylock.toml", "--check", status=5, cwd=tmp_path)
    snapshot.unlink()
    missing = envparity("lock", "pylock.toml", "--check", status=3, cwd=tmp_path)

    line = text[: text.index("[[packages]]")].count("\n") + 1
    assert f"  line {line}: `demo` was changed" in edited.stderr
    assert snapshot.name in changed.stdout
    assert snapshot.name in missing.stdout
    envparity("lock", "absent/pylock.toml", "--check", status=2, cwd=tmp_path)


def test_a_check_makes_nothing_so_options_of_making_are_a_mistake(world: World, tmp_path: Path) -> None:
    write_lock(tmp_path / "pylock.toml", world.wheel)

    done = envparity("lock", "pylock.toml", "--check", "--prove", status=2, cwd=tmp_path)

    assert "`--prove` is for making a lock" in done.stderr


def test_what_requirements_name_only_by_its_place_is_never_dropped_in_silence(tmp_path: Path) -> None:
    """The usual `-e .` is the team's own code, and an image without it fails when it is first asked."""
    (tmp_path / "requirements.txt").write_text("six==1.17.0\n-e .\n./my libs/other\n")
    lock = ("lock", "requirements.txt")

    done = refused(*lock, status=1, says="2 distributions of `requirements.txt` are named only by", cwd=tmp_path)
    one = refused(*lock, "--leave-out", ".", status=1, says="1 distribution of `requirements.txt` is", cwd=tmp_path)
    both = ("--leave-out", ".", "--leave-out", "./my libs/other")
    refused(*lock, *both, "--offline", status=3, says="--offline forbids it", cwd=tmp_path)

    assert "`--leave-out .`" in done.stderr
    assert "`--leave-out './my libs/other'`" in one.stderr
    assert "`--leave-out .`" not in one.stderr


def test_a_lock_never_takes_the_place_of_its_source(tmp_path: Path) -> None:
    """`envparity lock pylock.toml` of the lock that uv made: without `-o`, both would be called the same."""
    theirs = 'lock-version = "1.0"\ncreated-by = "uv"\npackages = []\n'
    (tmp_path / "pylock.toml").write_text(theirs)

    done = envparity("lock", "pylock.toml", status=2, cwd=tmp_path)

    assert "the lock would take the place of its source, `pylock.toml`" in done.stderr
    assert "`--update`" in done.stderr
    assert (tmp_path / "pylock.toml").read_text() == theirs


def test_a_lock_of_ours_is_not_locked_again(world: World, tmp_path: Path) -> None:
    write_lock(tmp_path / "pylock.toml", world.wheel)

    done = envparity("lock", "pylock.toml", "-o", "pylock.again.toml", status=2, cwd=tmp_path)

    assert "is a lock of envparity already" in done.stderr
    assert "`--update`" in done.stderr


def test_what_only_a_file_takes_is_refused_for_a_snapshot(world: World, tmp_path: Path) -> None:
    done = envparity("lock", world.snapshot, "--leave-out", "demo", "--allow-incomplete", status=2, cwd=tmp_path)

    assert "--leave-out" in done.stderr
    assert "snapshot" in done.stderr


def test_a_python_is_taken_from_elsewhere_only_where_it_may_be(world: World, tmp_path: Path) -> None:
    done = envparity("lock", world.snapshot, "--python", "python:python3", status=2, cwd=tmp_path)

    assert "has one" in done.stderr


def test_indexes_may_stand_in_the_settings_and_a_variable_is_stronger(
    world: World, snapshot: Path, tmp_path: Path
) -> None:
    """A team says once which index its own libraries are on; a pipeline has a mirror."""
    with serving({}) as nothing:
        options = {"lock": {"index": [f"corp={nothing.url}/simple/"], "index-for": ["demo=corp", "gone=corp"]}}
        (tmp_path / "envparity.yaml").write_text(json.dumps({"options": options}))

        done = envparity("lock", snapshot, status=1, cwd=tmp_path)
        refused("lock", snapshot, status=2, says="names the index `corp`, which is not among", cwd=tmp_path,
                ENVPARITY_LOCK_INDEX=f"{nothing.url}/one/ two={nothing.url}/two/")  # fmt: skip

    assert f"demo 1.0: is not on the index {nothing.url}/simple/;" in done.stderr
    assert set(nothing.asked) == {"/simple/demo/", "/simple/gone/"}
