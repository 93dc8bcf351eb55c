"""`--data`, `--param` and the repository around; and no secret of theirs in anything that is printed or written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from envparity import codec, lockfile
from envparity.locking.code import code as code_of
from tests.cli.conftest import World
from tests.cli.test_secrets import everything
from tests.commands import envparity, refused

NAMES = ("remote", "parameter", "file", "channel", "dvc", "pip", "variable", "run")
CANARIES = {name: f"canary-{name}-5up3rs3cr3t" for name in NAMES}

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")


def git(folder: Path, *arguments: str) -> str:
    words = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    return subprocess.run(["git", *words, *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A project of somebody: a repository with a script, parameters, data and a remote with a password."""
    folder = tmp_path / "code"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    git(folder, "remote", "add", "origin", f"https://ada:{CANARIES['remote']}@git.example/code.git")
    (folder / "train.py").write_text(
        "import os\n"
        "from envparity import snapshot\n"
        f"params = {{'lr': 0.1, 'db': {{'password': {CANARIES['parameter']!r}}}}}\n"
        "snapshot.take('../out/take.env.json', data=['rows.csv', 'images.dvc'], params=params, strict=True)\n"
    )
    (folder / "rows.csv").write_text("a,b\n1,2\n")
    (folder / "images.dvc").write_text(
        f"outs:\n- md5: 22a1a2931c8370d3aeedd7183606fd7f\n  size: 7\n  path: s3://ada:{CANARIES['dvc']}@bucket/images\n"
    )
    (folder / "params.yaml").write_text(f"seed: 42\nhf_token: {CANARIES['file']}\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    (tmp_path / "out").mkdir()
    return folder


@pytest.fixture
def conda(tmp_path: Path) -> Path:
    """The records of a conda environment from a private channel, as conda writes them."""
    meta = tmp_path / "conda" / "conda-meta"
    meta.mkdir(parents=True)
    channel = f"https://conda.example/t/{CANARIES['channel']}/private"
    record = {
        "build": "0",
        "channel": f"{channel}/linux-64",
        "name": "numpy",
        "requested_spec": f"{channel}::numpy",
        "subdir": "linux-64",
        "url": f"{channel}/linux-64/numpy-1.26.4-0.conda",
        "version": "1.26.4",
    }
    (meta / "numpy-1.26.4-0.json").write_text(json.dumps(record, indent=2))
    (meta / "history").write_text(f"# cmd: conda create -c {channel} numpy\n# update specs: ['{channel}::numpy']\n")
    (meta / "pinned").write_text(f"{channel}::numpy 1.26.*\n")
    return meta.parent


def document(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


def test_a_snapshot_holds_the_commit_the_parameters_and_the_data(world: World, code: Path) -> None:
    done = envparity(
        *("snapshot", f"venv:{world.venv}", "-o", "../out/model.env.json", "--data", "rows.csv"),
        *("--param", "lr=0.1", "--param", "@params.yaml"),
        cwd=code,
        WANDB_RUN_ID="1abc2def",
    )

    found = document(code.parent / "out" / "model.env.json")
    commit = git(code, "rev-parse", "HEAD").strip()
    assert found["source_code"] == {
        "commit": commit,
        "branch": "main",
        "remote": "https://git.example/code.git",
        "dirty": False,
        "untracked": 0,
        "parameters": [{"name": "lr", "value": "0.1"}, {"name": "seed", "value": "42"}],
        "run": [{"name": "wandb.run_id", "value": "1abc2def"}],
    }
    shown = envparity("show", code.parent / "out" / "model.env.json").stdout
    assert "Data rows.csv\n  file, 8 bytes, sha256" in shown
    assert f"commit {commit[:12]}, https://git.example/code.git, with nothing changed" in shown
    (data,) = found["artifacts"]
    assert (data["kind"], data["name"], data["size_bytes"]) == ("data", "rows.csv", 8)
    assert f"1 data set, commit {commit[:12]}" in " ".join(done.stderr.split())
    assert {"artifacts: no model was named", "source_code hf_token: its name or form speaks of a secret"} <= {
        f"{gap['section']} {gap.get('item', '')}".strip() + ": " + gap["reason"].partition(":")[0]
        for gap in found["gaps"]
    }


def test_another_commit_and_other_data_are_differences_and_so_are_parameters(world: World, code: Path) -> None:
    words = ("snapshot", f"venv:{world.venv}", "-q", "--data", "rows.csv")
    envparity(*words, "--param", "lr=0.1", "-o", "../out/before.env.json", cwd=code)
    (code / "rows.csv").write_text("a,b\n1,3\n")
    git(code, "commit", "-q", "-a", "-m", "other data")
    envparity(*words, "--param", "lr=0.2", "-o", "../out/after.env.json", cwd=code)

    done = envparity("diff", "before.env.json", "after.env.json", "-v", status=None, cwd=code.parent / "out")

    for words_ in ("rows.csv", "commit", "lr"):
        assert words_ in done.stdout, done.stdout


def test_where_nobody_named_data_it_is_unknown_and_not_removed(world: World, code: Path) -> None:
    """It may be the same data: an image, for one, never carries it."""
    words = ("snapshot", f"venv:{world.venv}", "-q")
    envparity(*words, "--data", "rows.csv", "-o", "../out/before.env.json", cwd=code)
    envparity(*words, "-o", "../out/after.env.json", cwd=code)
    out = code.parent / "out"

    done = envparity("diff", "before.env.json", "after.env.json", "--format", "json", status=None, cwd=out)

    assert "no data was named there" in done.stdout
    gaps = document(out / "after.env.json")["gaps"]
    assert {"section": "artifacts", "kind": "not-recorded", "reason": "no data was named", "item": "data"} in gaps


def test_the_repository_around_does_not_belong_to_an_image(world: World, code: Path) -> None:
    """Whoever inspects an image from inside a checkout must not read that this commit is in it."""
    found = json.loads(envparity("snapshot", f"oci:{world.image}", "-q", "--param", "a=1", cwd=code).stdout)

    assert found["source_code"] == {"parameters": [{"name": "a", "value": "1"}]}


def test_a_folder_that_is_no_repository_is_a_gap_and_no_failure(world: World, tmp_path: Path) -> None:
    found = json.loads(envparity("snapshot", f"venv:{world.venv}", "-q", cwd=tmp_path).stdout)

    assert "source_code" not in found
    (gap,) = (gap for gap in found["gaps"] if gap["section"] == "source_code")
    assert (gap["kind"], gap["reason"]) == ("not-recorded", "the code lies in no git repository")


def test_a_working_directory_that_is_gone_is_a_gap_and_no_failure(world: World, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    words = f"rmdir {gone}; exec {sys.executable} -P -m envparity snapshot venv:{world.venv} -q"
    env = {**os.environ, "PYTHONPATH": str(Path(codec.__file__).parents[2])}

    done = subprocess.run(["sh", "-c", words], cwd=gone, env=env, capture_output=True, text=True, check=True)

    (gap,) = (gap for gap in json.loads(done.stdout)["gaps"] if gap["section"] == "source_code")
    assert "is gone" in gap["reason"]


def test_data_that_is_not_there_is_said_before_any_work(world: World, code: Path) -> None:
    refused("snapshot", f"venv:{world.venv}", "--data", "absent.csv", status=2, says="there is no data at", cwd=code)
    refused("snapshot", f"venv:{world.venv}", "--param", "lr", status=2, says="KEY=VALUE", cwd=code)


def test_data_that_leads_out_of_its_folder_makes_the_snapshot_incomplete(world: World, code: Path) -> None:
    (code / "images").mkdir()
    (code / "images" / "out").symlink_to("/etc/hostname")

    done = envparity(
        *("snapshot", f"venv:{world.venv}", "--data", "images", "-o", "../out/x.env.json"), status=3, cwd=code
    )

    assert "images/out: it is a link that leads out of the folder" in " ".join(done.stderr.split())


def test_take_tells_the_script_and_its_repository_wherever_it_was_started(code: Path, tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(Path(codec.__file__).parents[2]), "MLFLOW_RUN_ID": "0123456789abcdef"}
    subprocess.run([sys.executable, "train.py"], cwd=code, env=env, check=True)

    found = document(code.parent / "out" / "take.env.json")
    code_of = found["source_code"]
    assert code_of["script"] == str(code / "train.py")
    assert (code_of["branch"], code_of["dirty"], len(code_of["script_sha256"])) == ("main", False, 64)
    assert code_of["run"] == [{"name": "mlflow.run_id", "value": "0123456789abcdef"}]
    assert code_of["parameters"] == [{"name": "lr", "value": "0.1"}]
    assert [item["name"] for item in found["artifacts"]] == ["rows.csv", "s3://bucket/images"]


def test_no_secret_of_the_lineage_is_printed_or_written(world: World, code: Path, conda: Path, tmp_path: Path) -> None:
    out, home = tmp_path / "out", tmp_path / "home"
    for place in (home / ".config" / "pip" / "pip.conf", tmp_path / "pip.conf"):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"[global]\nindex-url = https://ada:{CANARIES['pip']}@index.example/simple\n")
    variables = {
        "HOME": str(home),
        "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"),
        "PIP_INDEX_URL": f"https://ada:{CANARIES['variable']}@index.example/simple",
        "WANDB_API_KEY": CANARIES["run"],
        "WANDB_RUN_ID": f"https://{CANARIES['run']}@wandb.example",
        "MLFLOW_TRACKING_PASSWORD": CANARIES["run"],
        "CONDA_TOKEN": CANARIES["channel"],
        "OMP_NUM_THREADS": "3",
        "PYTHONPATH": str(Path(codec.__file__).parents[2]),
    }
    lineage = ("--data", "images.dvc", "--data", "rows.csv", "--param", "@params.yaml")
    lineage += ("--param", f"password={CANARIES['parameter']}", "--param", f"url=s3://a:{CANARIES['parameter']}@b/c")
    commands: list[tuple[str | Path, ...]] = [
        ("snapshot", f"venv:{world.venv}", *lineage, "-o", "../out/venv.env.json"),
        ("snapshot", f"venv:{world.venv}", *lineage, "--debug"),
        ("snapshot", f"conda:{conda}", *lineage, "-o", "../out/conda.env.json"),
        ("snapshot", f"venv:{world.venv}", "--param", CANARIES["parameter"], "--debug"),
        ("snapshot", f"venv:{world.venv}", "--param", f"@{code}/train.py", "--debug"),
        ("show", "../out/venv.env.json", "-v"),
        ("show", f"conda:{conda}", "-v", "--format", "json", "-o", "../out/shown.json"),
        ("diff", "../out/venv.env.json", "../out/conda.env.json", "-v", "-o", "../out/report.txt"),
        ("diff", "../out/venv.env.json", f"conda:{conda}", "--format", "json"),
        ("build", world.lock, "--output", f"oci:{out}/image"),
    ]
    printed = [
        subprocess.run(
            [sys.executable, "train.py"], cwd=code, env={**os.environ, **variables}, capture_output=True, text=True
        )
    ]
    printed += [envparity(*arguments, status=None, cwd=code, **variables) for arguments in commands]

    for done in printed:
        for name, canary in CANARIES.items():
            assert canary not in done.stdout + done.stderr, f"{name}: {done.args}\n{done.stdout}\n{done.stderr}"
    for place, data in everything(out):
        for name, canary in CANARIES.items():
            assert canary.encode() not in data, f"{name}: {place}"
    for name in ("venv.env.json", "conda.env.json", "take.env.json", "shown.json", "report.txt", "image/index.json"):
        assert (out / name).exists(), name
    assert document(out / "conda.env.json")["conda_packages"][-1]["pinned"] == "1.26.*"


def test_what_goes_into_images_names_neither_this_host_nor_a_parameter(world: World, code: Path) -> None:
    """The content of a snapshot is what a lock keeps, and strangers pull images."""
    envparity(
        *("snapshot", f"venv:{world.venv}", "-q", "-o", "../out/x.env.json", "--data", code / "rows.csv"),
        *("--param", "lr=0.17171"),
        cwd=code,
        WANDB_RUN_ID="1abc2def",
    )
    environment = codec.load_environment((code.parent / "out" / "x.env.json").read_bytes(), "x")

    content = codec.content_bytes(environment).decode()

    commit = git(code, "rev-parse", "HEAD").strip()
    for word in (str(code.parent), "git.example", "0.17171", "1abc2def", "rows.csv", commit):
        assert word not in content


def test_an_image_says_which_code_trained_and_nothing_of_the_login_for_it(
    world: World, code: Path, tmp_path: Path
) -> None:
    (code / "train.py").write_text("changed\n")
    envparity("snapshot", f"venv:{world.venv}", "-o", "../out/model.env.json", cwd=code)
    out = tmp_path / "out"
    recorded = code_of(codec.load_environment((out / "model.env.json").read_bytes(), "it"))
    lock, _ = lockfile.read(world.lock)
    snapshot = lockfile.artifacts_folder(world.lock) / lock.snapshot.name
    held = {lock.snapshot.name: snapshot.read_bytes()}
    lockfile.write(lockfile.Recovered(msgspec.structs.replace(lock, code=recorded), held), out / "pylock.toml")

    envparity("build", "pylock.toml", "--output", "oci:image", "--attach", "all", cwd=out)
    envparity("verify", "oci:image", "--against", "pylock.toml", cwd=out)

    index = document(out / "image" / "index.json")
    manifest = document(out / "image" / "blobs" / "sha256" / index["manifests"][0]["digest"].partition(":")[2])
    said = {name.rpartition(".")[2]: value for name, value in manifest["annotations"].items()}
    assert said["source"] == "https://git.example/code.git"
    assert said["revision"] == f"{git(code, 'rev-parse', 'HEAD').strip()}-dirty"
    for place, data in everything(out):
        assert CANARIES["remote"].encode() not in data, place
