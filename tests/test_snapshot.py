"""A snapshot is the same whoever takes it, it is written whole, and it never ends a training."""

from __future__ import annotations

import gc
import json
import os
import pickle
import stat
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from envparity import codec, snapshot
from envparity.cli.snapshot import command, summary
from envparity.codec.environment import SILENT
from envparity.errors import EnvparityError, IncompleteError, UsageError
from envparity.sources import Options
from envparity.values import (
    SECTIONS,
    Artifact,
    Distribution,
    Environment,
    Gap,
    GapKind,
    Origin,
    Python,
    Settings,
    Variable,
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(Counter("abc")))
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_inside_and_outside_agree(model: Path, tmp_path: Path) -> None:
    """A training script and a CI job that look at one environment must write one content digest."""
    inside = tmp_path / "inside.env.json"
    script = (
        f"import sys; sys.path.insert(0, {str(Path(snapshot.__file__).parents[1])!r})\n"
        "import os\n"
        "os.environ.setdefault('KMP_INIT_AT_FORK', 'FALSE')  # as joblib does when it is imported\n"
        "from envparity import snapshot\n"
        f"snapshot.take({str(inside)!r}, models=[{str(model)!r}], strict=True)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)

    outside = snapshot.of(f"python:{sys.executable}", models=[model], options=Options(environ=os.environ))

    taken = codec.load_environment(inside.read_bytes(), "inside")
    assert taken.numerics is not None
    assert taken.modules
    assert outside.numerics is None
    assert codec.content_digest(taken) == codec.content_digest(outside)
    assert taken.artifacts == outside.artifacts
    assert {item.path for item in outside.native_libraries or ()} <= {
        item.path for item in taken.native_libraries or ()
    }


CHECKOUT = str(Path(snapshot.__file__).parents[1])


def taken_by(folder: Path, code: str, *options: str, **variables: str) -> Environment:
    """What a script in a folder takes, whose interpreter was started with these options and variables."""
    (folder / "train.py").write_text(
        f"import sys; sys.path.append({CHECKOUT!r})\n{code}\n"
        "from envparity import snapshot\nsnapshot.take('inside.env.json', strict=True)\n"
    )
    environ = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **variables}
    subprocess.run([sys.executable, *options, "train.py"], cwd=folder, env=environ, check=True)
    return codec.load_environment((folder / "inside.env.json").read_bytes(), "it")


def installed(folder: Path, version: str) -> Path:
    """A folder with one distribution of this version."""
    (folder / f"planted-{version}.dist-info").mkdir(parents=True)
    (folder / f"planted-{version}.dist-info/METADATA").write_text(f"Name: planted\nVersion: {version}\n")
    (folder / f"planted-{version}.dist-info/RECORD").write_text("planted.py,,\n")
    (folder / "planted.py").write_text("")
    return folder


def test_the_copy_that_the_process_imported_is_the_one_that_counts(tmp_path: Path) -> None:
    """Whoever put a folder on `sys.path` trained with what lies there, and not with what is installed."""
    (tmp_path / "script").mkdir()
    first, second = installed(tmp_path / "first", "2"), installed(tmp_path / "second", "1")

    environment = taken_by(
        tmp_path / "script", f"sys.path.insert(0, {str(first)!r}); import planted", PYTHONPATH=str(second)
    )

    copies = [item for item in environment.distributions or () if item.name == "planted"]
    assert [(item.version, item.shadowed, item.loaded) for item in copies] == [("2", False, True), ("1", True, False)]


def test_a_module_beside_the_script_that_wins_an_import_is_named(tmp_path: Path) -> None:
    (tmp_path / "script/planted").mkdir(parents=True)
    (tmp_path / "script/planted/__init__.py").write_text("")
    behind = installed(tmp_path / "behind", "1")

    environment = taken_by(tmp_path / "script", "import planted", PYTHONPATH=str(behind))

    (copy,) = (item for item in environment.distributions or () if item.name == "planted")
    assert copy.shadowed
    (gap,) = (gap for gap in environment.gaps if gap.item == "planted")
    assert str(tmp_path / "script/planted/__init__.py") in gap.reason


def test_a_library_that_was_patched_in_its_place_is_modified_without_hashing_anything(tmp_path: Path) -> None:
    (tmp_path / "script").mkdir()
    place = installed(tmp_path / "site", "1")
    (place / "planted-1.dist-info/RECORD").write_text("planted.py,,0\n")

    def modified() -> tuple[str, ...] | None:
        environment = taken_by(tmp_path / "script", "import planted", PYTHONPATH=str(place))
        (copy,) = (item for item in environment.distributions or () if item.name == "planted")
        return copy.modified

    assert modified() is None
    (place / "planted.py").write_text("patched = True\n")
    assert modified() == ("planted.py",)


def test_what_a_build_left_beside_the_script_is_not_installed(tmp_path: Path) -> None:
    """A repository holds metadata of its own project; the one that was installed says more, and counts."""
    (tmp_path / "script/planted.egg-info").mkdir(parents=True)
    (tmp_path / "script/planted.egg-info/PKG-INFO").write_text("Name: planted\nVersion: 2\n")
    behind = installed(tmp_path / "behind", "1")

    def versions() -> list[str]:
        environment = taken_by(tmp_path / "script", "", PYTHONPATH=str(behind))
        return [item.version for item in environment.distributions or () if item.name == "planted"]

    assert versions() == ["2", "1"]
    (tmp_path / "script/pyproject.toml").write_text("")
    assert versions() == ["1"]


def test_what_the_command_line_of_the_process_said_is_recorded(tmp_path: Path) -> None:
    """`-O` leaves out assertions, `-X utf8` reads other texts; no variable tells that they were given."""
    plain = taken_by(tmp_path, "", PYTHONPATH=str(installed(tmp_path / "given", "1")), PYTHONUSERBASE=str(tmp_path))
    switched = taken_by(
        tmp_path, "", "-OO", "-E", "-X", "utf8=1", "-X", "dev", PYTHONPATH=str(tmp_path / "given"), PYTHONOPTIMIZE="1"
    )

    assert plain.python is not None
    assert switched.python is not None
    known = [(python.optimize, python.utf8_mode, python.dev_mode) for python in (plain.python, switched.python)]
    assert known == [(None, None, None), (2, True, True)]
    assert [str(tmp_path / "given") in python.path for python in (plain.python, switched.python)] == [True, False]
    assert "planted" not in {item.name for item in switched.distributions or ()}
    assert "PYTHONPATH" in {item.name for item in switched.settings.variables}  # type: ignore[union-attr]


def test_a_process_without_the_users_folder_says_so(tmp_path: Path) -> None:
    closed = taken_by(tmp_path, "", "-s", PYTHONUSERBASE=str(tmp_path))

    assert closed.python is not None
    assert closed.python.user_site is False


def test_a_model_is_recorded_with_what_its_bytes_need(model: Path) -> None:
    environment = snapshot.take(models=[model], strict=True)

    assert environment is not None
    (artifact,) = environment.artifacts or ()
    assert (artifact.kind, artifact.name, artifact.size_bytes) == ("model", "model.pkl", model.stat().st_size)
    assert artifact.classes == ("collections:Counter",)
    known = {name for name in SECTIONS if getattr(environment, name) is not None}
    silent = {gap.section for gap in environment.gaps if gap.reason == SILENT}
    assert {"artifacts", "python", "distributions"} <= known
    assert known.isdisjoint(silent)


def test_a_model_that_is_a_folder_is_recorded_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle/model.pkl").write_bytes(pickle.dumps(Counter("abc")))
    monkeypatch.chdir(tmp_path / "bundle")

    for place in (tmp_path / "bundle", Path()):
        (artifact,) = snapshot.of(f"python:{sys.executable}", models=[place]).artifacts or ()

        assert (artifact.name, artifact.files, artifact.format) == ("bundle", 1, "folder")
        assert artifact.classes == ("collections:Counter",)


def test_a_snapshot_that_fails_warns_and_training_goes_on(tmp_path: Path) -> None:
    with pytest.warns(snapshot.SnapshotWarning, match="no snapshot was taken: there is no virtual environment"):
        assert snapshot.take(source="venv:nowhere") is None
    with pytest.raises(UsageError):
        snapshot.take(source="venv:nowhere", strict=True)


def test_a_snapshot_that_cannot_be_written_is_given_all_the_same(tmp_path: Path) -> None:
    """At the end of a training nobody takes it a second time: whoever has it can still write it elsewhere."""
    (tmp_path / "requirements.txt").write_text("numpy==1.26.4\n")
    source, nowhere = str(tmp_path / "requirements.txt"), tmp_path / "missing/model.env.json"

    with pytest.warns(snapshot.SnapshotWarning, match="the snapshot was not written: .*make the folder first"):
        environment = snapshot.take(nowhere, source=source)

    assert environment is not None
    snapshot.write(environment, tmp_path / "model.env.json")
    assert codec.load_environment((tmp_path / "model.env.json").read_bytes(), "it") == environment
    with pytest.raises(EnvparityError):
        snapshot.take(nowhere, source=source, strict=True)


@pytest.mark.parametrize("source", ["requirements.txt", "venv:nowhere"])
@pytest.mark.parametrize("is_on", [True, False])
def test_garbage_collection_is_afterwards_as_it_was(tmp_path: Path, source: str, is_on: bool) -> None:
    """A training that goes on without it would grow until it is killed."""
    (tmp_path / "requirements.txt").write_text("numpy==1.26.4\n")
    source = source if ":" in source else str(tmp_path / source)
    was_on = gc.isenabled()
    (gc.enable if is_on else gc.disable)()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            snapshot.take(source=source)
        is_still_on = gc.isenabled()
    finally:
        (gc.enable if was_on else gc.disable)()

    assert is_still_on is is_on


def test_a_wrong_path_costs_no_more_than_what_it_names(model: Path, tmp_path: Path) -> None:
    """After a training of days nobody can take the snapshot again: all that could be read is written."""
    (tmp_path / "train.csv").write_text("1")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / model.name).write_bytes(b"")
    (tmp_path / "bad.yaml").write_text("a: [")
    named: dict[str, Any] = {
        "models": [tmp_path / "gone.pkl", model, tmp_path / "other" / model.name],
        "data": [tmp_path / "train.csv", tmp_path / "gone.csv"],
        "params": [f"@{tmp_path / 'bad.yaml'}"],
    }

    with pytest.warns(snapshot.SnapshotWarning) as warned:
        environment = snapshot.take(tmp_path / "it.env.json", **named)

    assert environment is not None
    assert {item.name for item in environment.artifacts or ()} == {model.name, "train.csv"}
    unread = {(gap.section, gap.item) for gap in environment.gaps if gap.kind is GapKind.UNREAD}
    assert unread == {
        ("artifacts", "gone.pkl"),
        ("artifacts", model.name),
        ("artifacts", "gone.csv"),
        ("source_code", "parameters"),
    }
    assert codec.load_environment((tmp_path / "it.env.json").read_bytes(), "it") == environment
    assert not environment.complete
    said = [str(warning.message) for warning in warned]
    assert sum(text.startswith("left out of the snapshot: ") for text in said) == len(unread)
    assert any("gone.csv" in text and "--data" in text for text in said)
    assert any("not complete" in text for text in said)
    for name in named:
        with pytest.raises(EnvparityError):
            snapshot.take(strict=True, **{name: named[name]})


def test_data_that_is_named_twice_is_left_out_and_the_model_is_not(model: Path, tmp_path: Path) -> None:
    with pytest.warns(snapshot.SnapshotWarning) as warned:
        environment = snapshot.take(models=[model], data=[model, model])

    assert environment is not None
    assert "named twice" in str(warned[0].message)
    assert [(item.kind, item.name) for item in environment.artifacts or ()] == [("model", model.name)]


def test_a_fault_of_ours_is_a_warning_too(tmp_path: Path) -> None:
    """ "It never breaks the training" holds for what nobody thought of: here a number where a name is due."""
    with pytest.warns(snapshot.SnapshotWarning, match="no snapshot was taken"):
        assert snapshot.take(models=7) is None  # type: ignore[arg-type]
    with pytest.warns(snapshot.SnapshotWarning, match="the snapshot was not written"):
        assert snapshot.take(7) is not None  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        snapshot.take(models=7, strict=True)  # type: ignore[arg-type]


def test_a_block_is_recorded_at_its_end(tmp_path: Path) -> None:
    path = tmp_path / "model.env.json"

    with snapshot.recording(path, strict=True) as record:
        assert not path.exists()
        (tmp_path / "model.pkl").write_bytes(pickle.dumps(Counter("abc")))
        record.models.append(tmp_path / "model.pkl")

    assert record.environment is not None
    assert [item.name for item in record.environment.artifacts or ()] == ["model.pkl"]
    assert codec.load_environment(path.read_bytes(), "it").artifacts == record.environment.artifacts


def test_a_block_that_fails_is_not_recorded_and_its_own_error_goes_on(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), snapshot.recording(tmp_path / "model.env.json"):
        _ = 1 / 0

    assert list(tmp_path.iterdir()) == []


def test_a_notebook_can_take_it_in_a_cell(tmp_path: Path) -> None:
    """There `__main__` has no file, and the code comes in pieces."""
    path = tmp_path / "model.env.json"
    cells = (
        f"import os\n\nfrom envparity import snapshot\n\nx = snapshot.take({str(path)!r}, strict=True)\nx.complete\n"
    )

    done = subprocess.run(
        [sys.executable, "-i", "-q"],
        input=cells,
        env={**os.environ, "PYTHONPATH": str(Path(snapshot.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "True\n"
    modules = codec.load_environment(path.read_bytes(), "it").modules
    assert modules is not None
    assert not [item for item in modules if item.name == "envparity"]


def test_a_snapshot_that_is_not_complete_warns_and_is_given(model: Path) -> None:
    model.write_bytes(model.read_bytes()[:-5])

    with pytest.warns(snapshot.SnapshotWarning, match="not complete"):
        environment = snapshot.take(models=[model])

    assert environment is not None
    assert not environment.complete


def test_another_source_can_be_taken_too(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("numpy==1.26.4\n")

    environment = snapshot.take(source=str(tmp_path / "requirements.txt"), strict=True)

    assert environment is not None
    assert environment.open


@pytest.mark.parametrize("kind", ["empty folder", "fifo", "twice"])
def test_a_model_that_cannot_be_one_is_a_usage_error(kind: str, model: Path, tmp_path: Path) -> None:
    paths = [tmp_path / "thing"]
    if kind == "empty folder":
        paths[0].mkdir()
    elif kind == "fifo":
        os.mkfifo(paths[0])
    else:
        (tmp_path / "other").mkdir()
        (tmp_path / "other/model.pkl").write_bytes(b"")
        paths = [model, tmp_path / "other/model.pkl"]

    with pytest.raises(UsageError, match="model"):
        snapshot.of(f"python:{sys.executable}", models=paths)


def test_one_that_holds_values_of_variables_is_for_its_owner_alone(tmp_path: Path) -> None:
    """CVE-2026-4137: what was private in the environment must not become readable by its copy."""
    bare = Environment(origin=Origin(kind="live"))
    telling = Environment(origin=Origin(kind="live"), settings=Settings(variables=(Variable("LANG", "C"),)))

    snapshot.write(bare, tmp_path / "bare.env.json")
    snapshot.write(telling, tmp_path / "telling.env.json")

    assert stat.S_IMODE((tmp_path / "telling.env.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "bare.env.json").stat().st_mode) & 0o600 == 0o600


def test_the_command_writes_json_to_standard_output_and_the_summary_beside_it(model: Path) -> None:
    result = run(f"python:{sys.executable}", "--model", model)

    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["artifacts"][0]["name"] == "model.pkl"
    assert "1 model file" in result.stderr
    assert "not recorded:" in result.stderr


def test_the_command_writes_a_file_that_reads_back(tmp_path: Path) -> None:
    output = tmp_path / "model.env.json"

    result = run(f"python:{sys.executable}", "-o", output)

    assert result.exit_code == 0
    assert result.stdout == ""
    assert f"written to {output}" in result.stderr
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert codec.load_environment(output.read_bytes(), "it").python is not None


def test_a_failed_snapshot_leaves_the_earlier_file(tmp_path: Path) -> None:
    output = tmp_path / "model.env.json"
    output.write_text("earlier")

    result = run("venv:nowhere", "-o", output)

    assert isinstance(result.exception, UsageError)
    assert output.read_text() == "earlier"


def test_an_incomplete_snapshot_is_written_and_does_not_pass_for_a_whole_one(model: Path, tmp_path: Path) -> None:
    """E4: what could not be read must not end in exit status 0 unless somebody said so."""
    model.write_bytes(model.read_bytes()[:-5])
    output = tmp_path / "model.env.json"

    result = run(f"python:{sys.executable}", "--model", model, "-o", output)

    assert isinstance(result.exception, IncompleteError)
    assert "could not be read: artifacts model.pkl" in result.stderr
    assert not codec.load_environment(output.read_bytes(), "it").complete
    assert run(f"python:{sys.executable}", "--model", model, "-o", output, "--allow-incomplete").exit_code == 0


def test_deep_says_that_code_of_the_target_runs() -> None:
    """Reading runs nothing, and where somebody asks for more it is said."""
    result = run(f"python:{sys.executable}", "--deep", "--allow-incomplete")

    assert result.exit_code == 0
    assert "its libraries and code run" in " ".join(result.stderr.split())
    assert json.loads(result.stdout)["modules"]


def test_the_help_shows_how_it_is_used() -> None:
    assert "envparity snapshot --model model.joblib -o model.env.json" in run("--help").output


def test_the_summary_names_what_was_changed_and_lets_no_control_character_through() -> None:
    environment = Environment(
        origin=Origin(kind="live", reference="venv:x"),
        distributions=(
            Distribution(name="numpy", version="1.26.4", modified=("numpy/core.py",), missing=()),
            Distribution(name="envparity", tooling=True),
        ),
        gaps=tuple(Gap("distributions", GapKind.UNREAD, "no\x1b[31m", f"item{number}") for number in range(12)),
    )

    lines = summary(environment, None)

    assert lines[0] == "venv:x: 1 distribution (and 1 of tooling)"
    assert "  numpy 1.26.4: 1 file changed" in lines
    assert "\x1b" not in "".join(lines)
    assert lines[-1] == "  and 2 more"


def test_the_summary_fits_80_columns() -> None:
    """But for a path, which stays in one piece."""
    place = "/opt/lib/python3.11/site-packages/x"
    changed = [
        Distribution(name=f"d{number}", version="1", modified=(), missing=("a", "b"), added=("c",))
        for number in range(12)
    ]
    environment = Environment(
        origin=Origin(kind="live", reference="venv:x"),
        distributions=tuple(changed),
        artifacts=(Artifact(name="m.bin", size_bytes=1, sha256="a" * 64),),
        gaps=(
            Gap("os_packages", GapKind.UNREAD, "a reason of so many words " * 5, place),
            Gap("artifacts", GapKind.NOT_RECORDED, "a reason of so many words " * 5, "m.bin"),
        ),
    )

    lines = summary(environment, None)

    assert max(map(len, lines)) <= 80
    assert any(line.startswith(f"  could not be read: os packages {place}: a") for line in lines)
    assert "  d0 1: 2 files missing, 1 added" in lines
    assert "  and 2 more that were changed" in lines


def test_a_model_that_its_environment_cannot_load_is_said(tmp_path: Path) -> None:
    """The wrong environment is easily the active one; `build` would refuse it an hour later."""
    model = Artifact(
        name="m.joblib", size_bytes=1, sha256="a" * 64, modules=("sklearn.tree", "json", "features", "_loss")
    )
    environment = Environment(
        origin=Origin(kind="live"),
        python=Python(version="3.11.7"),
        distributions=(Distribution(name="numpy", version="1.26.4", import_names=("numpy",)),),
        artifacts=(model,),
    )

    assert snapshot.unprovided(environment) == {"m.joblib": ("features", "sklearn")}
    assert snapshot.unprovided(msgspec.structs.replace(environment, distributions=None)) == {}


def test_a_model_changes_nothing_of_what_is_known_beside_it(tmp_path: Path) -> None:
    """A section that was read must not be called "not recorded" because the model's file does not speak of it."""
    (tmp_path / "m.pkl").write_bytes(pickle.dumps([1]))

    source = f"python:{sys.executable}"

    plain, with_model = snapshot.of(source), snapshot.of(source, models=[tmp_path / "m.pkl"])

    assert {gap for gap in with_model.gaps if gap.section != "artifacts"} == {
        gap for gap in plain.gaps if gap.section != "artifacts"
    }
