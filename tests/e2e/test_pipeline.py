"""The five verbs on a real model: the law that joins them, and what each must refuse."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

import envparity as envparity_package
from envparity import codec, lockfile, verify
from envparity.cache import Cache
from envparity.fetch import Fetcher
from envparity.network import Client
from envparity.oci.places import open_image
from envparity.oci.tree import merge
from envparity.values import Severity
from tests.commands import envparity
from tests.e2e.pipeline import PREDICTING, Pipeline, predictions
from tests.tools import needs_tool, needs_uv, not_here
from tests.values import resealed


@pytest.mark.parametrize("against", ["snapshot", "lock"])
def test_an_image_built_from_a_lock_is_the_environment_that_was_locked(pipeline: Pipeline, against: str) -> None:
    """The law of the five stages. What the lock declares (substituted, left out) is shown, and is no finding."""
    request = verify.Request(f"oci:{pipeline.image}", str(getattr(pipeline, against)))

    with Fetcher(Client(), Cache()) as fetcher:
        verdict = verify.against(request, fetcher=fetcher)

    assert verdict.passed
    assert [item for item in verdict.findings if item.severity.at_least(Severity.MEDIUM)] == []
    assert all(count > 0 for _, count in verdict.checked)


def test_the_image_predicts_what_training_predicted_to_the_last_bit(
    pipeline: Pipeline, namespace: tuple[str, ...], tmp_path: Path
) -> None:
    """Unpacked and entered by other people's tools, so that no fault of ours can hide another."""
    umoci = needs_tool("umoci")
    subprocess.run([umoci, "unpack", "--rootless", "--image", f"{pipeline.image}:latest", tmp_path / "b"], check=True)
    root = tmp_path / "b" / "rootfs"
    command = [*namespace, root, "/opt/env/bin/python", "-c", PREDICTING, "/opt/model/model.joblib"]

    served = subprocess.run(command, check=True, capture_output=True, text=True, env={}).stdout
    assert predictions(served) == predictions(pipeline.predictions)

    model = root / "opt/model/model.joblib"
    model.chmod(0o644)
    model.write_bytes(_with_one_mantissa_bit_flipped(pipeline))
    altered = subprocess.run(command, check=True, capture_output=True, text=True, env={}).stdout
    assert predictions(altered) != predictions(pipeline.predictions)


def _with_one_mantissa_bit_flipped(pipeline: Pipeline) -> bytes:
    """The model with one bit (a relative 1e-11) of one coefficient flipped, whose bytes stand in the file once."""
    show = "import joblib, sys; print(*(float(c).hex() for c in joblib.load(sys.argv[1])[-1].coef_[0]))"
    told = subprocess.run([pipeline.python, "-c", show, pipeline.model], check=True, capture_output=True, text=True)
    data = pipeline.model.read_bytes()
    candidates = (struct.pack("<d", float.fromhex(text)) for text in told.stdout.split())
    packed = next(candidate for candidate in candidates if data.count(candidate) == 1)
    return data.replace(packed, packed[:2] + bytes([packed[2] ^ 1]) + packed[3:])


def test_two_builds_under_other_circumstances_have_one_digest(little: Pipeline, tmp_path: Path) -> None:
    """
    Another time zone, umask, locale, folder, hash seed, number of cores, host name, home, empty cache; another checkout
    of envparity itself, and the lock in another place.
    """
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    shutil.copy(little.lock, copy)
    shutil.copytree(lockfile.artifacts_folder(little.lock), copy / "pylock.artifacts")
    shutil.copy(little.model, copy)
    command = [
        sys.executable,
        "-m",
        "envparity",
        "build",
        "pylock.toml",
        "--model",
        "model.joblib",
        "--output",
        "oci:image",
    ]
    checkout = tmp_path / "checkout"
    shutil.copytree(Path(envparity_package.__file__).parent, checkout / "envparity")
    one_core = [taskset, "-c", "0"] if (taskset := shutil.which("taskset")) else []
    variables = {
        "TZ": "Pacific/Apia",
        "LC_ALL": "C",
        "PYTHONHASHSEED": "7",
        "ENVPARITY_CACHE_DIR": str(tmp_path / "cache"),
        "HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(checkout),
    }
    whose = [sys.executable, "-c", "import envparity; print(envparity.__file__)"]
    environment = {**os.environ, **variables}
    told = subprocess.run(whose, check=True, capture_output=True, text=True, cwd=copy, env=environment).stdout
    assert told.startswith(str(checkout))

    subprocess.run([*_on_another_host(), *one_core, *command], check=True, cwd=copy, env=environment, umask=0o077)

    first, second = (json.loads((place / "index.json").read_text()) for place in (little.image, copy / "image"))
    assert second["manifests"][0]["digest"] == first["manifests"][0]["digest"]


def _on_another_host() -> list[str]:
    """What starts a command on a machine of another name, where namespaces allow that."""
    elsewhere = ["unshare", "--map-root-user", "--uts", "sh", "-c", 'hostname elsewhere && exec "$@"', "sh"]
    try:
        told = subprocess.run([*elsewhere, "hostname"], capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        told = ""
    return elsewhere if told == "elsewhere\n" else []


def _python_for_all(folder: Path) -> str:
    """A Python with envparity in it that every user may start: this one, or an environment of the system's own."""
    if all(part.stat().st_mode & 0o001 for part in Path(sys.executable).resolve().parents):
        return sys.executable
    system = Path("/usr/bin/python3")
    probe = [system, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    if not system.exists() or subprocess.run(probe, check=False).returncode != 0:
        not_here("every Python >= 3.11 lies where no other user may go")
    uv = needs_uv()
    subprocess.run([uv, "venv", "-q", "-p", system, folder / "python"], check=True)
    checkout = Path(__file__).resolve().parents[2]
    subprocess.run([uv, "pip", "install", "-q", "-p", folder / "python", checkout], check=True)
    return str(folder / "python" / "bin" / "python")


def test_another_user_builds_the_same_image(little: Pipeline, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        not_here("building as another user takes root")
    setpriv = needs_tool("setpriv")
    python = _python_for_all(tmp_path)
    copy = tmp_path / "elsewhere"
    shutil.copytree(lockfile.artifacts_folder(little.lock), copy / "pylock.artifacts")
    shutil.copy(little.lock, copy)
    shutil.copy(little.model, copy)
    for path in (copy, *copy.rglob("*")):
        os.chown(path, 65534, 65534)
    for part in tmp_path.parents:
        if part.stat().st_uid == 0 and part.is_relative_to("/tmp") and part != Path("/tmp"):
            part.chmod(part.stat().st_mode | 0o011)
    tmp_path.chmod(0o755)
    command = [setpriv, "--reuid", "65534", "--regid", "65534", "--clear-groups", python, "-m", "envparity"]
    command += ["build", "pylock.toml", "--model", "model.joblib", "--output", "oci:image"]
    variables = {"HOME": str(copy), "PATH": os.environ["PATH"], "ENVPARITY_CACHE_DIR": str(copy / "cache")}

    subprocess.run(command, check=True, cwd=copy, env=variables)

    first, second = (json.loads((place / "index.json").read_text()) for place in (little.image, copy / "image"))
    assert second["manifests"][0]["digest"] == first["manifests"][0]["digest"]


def test_the_same_snapshot_gives_the_same_lock(little: Pipeline, tmp_path: Path) -> None:
    envparity("lock", little.snapshot, "--prove", "-o", tmp_path / "pylock.toml")

    assert (tmp_path / "pylock.toml").read_bytes() == little.lock.read_bytes()


def test_a_lock_is_the_same_with_nothing_cached_and_away_from_the_environment(little: Pipeline, tmp_path: Path) -> None:
    """What the native files need is read where they are installed, or in the wheels; nobody sees which."""
    snapshot = json.loads(little.snapshot.read_text())
    snapshot["distributions"] = [
        {**item, "location": f"/elsewhere/{item['name']}.dist-info"} for item in snapshot["distributions"]
    ]
    (tmp_path / "s.env.json").write_text(json.dumps(snapshot))
    empty = str(tmp_path / "cache")

    here = envparity("lock", little.snapshot, "-o", tmp_path / "pylock.here.toml", ENVPARITY_CACHE_DIR=empty)
    shutil.rmtree(empty)
    envparity("lock", tmp_path / "s.env.json", "-o", tmp_path / "pylock.away.toml", ENVPARITY_CACHE_DIR=empty)

    assert "  matched and not proven: " in here.stderr
    assert (tmp_path / "pylock.here.toml").read_bytes() == (tmp_path / "pylock.away.toml").read_bytes()


def test_a_tool_runner_gives_the_same_lock(little: Pipeline, tmp_path: Path) -> None:
    """`uvx envparity snapshot` runs in an environment that uv made for it, and reads the one that is active."""
    uv, checkout = needs_uv(), Path(__file__).resolve().parents[2]
    runner = [uv, "tool", "run", "--no-config", "-q", "-p", _base()]
    command = [*runner, "--from", checkout, "envparity"]
    environment = {**os.environ, "VIRTUAL_ENV": str(little.folder / "train")}
    taken = [*command, "snapshot", "--model", little.model, "-o", "model.env.json"]
    subprocess.run(taken, check=True, cwd=tmp_path, env=environment)
    subprocess.run([*command, "lock", "model.env.json", "--prove"], check=True, cwd=tmp_path, env=environment)

    assert (tmp_path / "pylock.toml").read_bytes() == little.lock.read_bytes()


def test_a_model_of_another_kind_and_other_data_goes_the_whole_way(
    pipeline: Pipeline, namespace: tuple[str, ...], tmp_path: Path
) -> None:
    """A forest on images of digits, compressed: arrays of numbers, where the other one is made of words."""
    train = (
        "import joblib, sys\n"
        "from sklearn.datasets import load_digits\n"
        "from sklearn.ensemble import RandomForestClassifier\n"
        "from sklearn.pipeline import make_pipeline\n"
        "from sklearn.preprocessing import StandardScaler\n"
        "x, y = load_digits(return_X_y=True)\n"
        "model = make_pipeline(StandardScaler(), RandomForestClassifier(20, random_state=0)).fit(x, y)\n"
        "joblib.dump(model, sys.argv[1], compress=3)\n"
    )
    predict = (
        "import joblib, json, sys\n"
        "from sklearn.datasets import load_digits\n"
        "model = joblib.load(sys.argv[1])\n"
        "rows = model.predict_proba(load_digits().data)\n"
        "print(json.dumps([[float(p).hex() for p in row] for row in rows]))\n"
    )
    model = tmp_path / "digits.joblib"
    subprocess.run([pipeline.python, "-c", train, model], check=True)
    trained = subprocess.run([pipeline.python, "-c", predict, model], check=True, capture_output=True, text=True).stdout

    source = f"venv:{pipeline.folder / 'train'}"
    envparity("snapshot", source, "--model", model, "-o", "digits.env.json", cwd=tmp_path)
    envparity("lock", "digits.env.json", cwd=tmp_path)
    envparity("build", "pylock.toml", "--model", model, "--output", "oci:image", cwd=tmp_path)
    for against in ("digits.env.json", "pylock.toml"):
        envparity("verify", "oci:image", "--against", against, cwd=tmp_path)
    done = envparity("run", "oci:image", "--", "python", "-c", predict, "/opt/model/digits.joblib", cwd=tmp_path)

    assert len(predictions(trained)) == 1797
    assert predictions(done.stdout) == predictions(trained)


def test_a_model_that_calls_an_extension_module_by_its_last_name_is_not_refused(tmp_path: Path) -> None:
    """Gradient boosting of scikit-learn 1.6 refers to `_loss`, which is `sklearn._loss._loss`."""
    uv = needs_uv()
    python = tmp_path / "train" / "bin" / "python"
    subprocess.run([uv, "venv", "-q", "--no-config", "-p", _base(), tmp_path / "train"], check=True)
    pins = ["scikit-learn==1.6.1", "numpy==2.1.3", "joblib==1.4.2"]
    subprocess.run([uv, "pip", "install", "-q", "--no-config", "--python", python, *pins], check=True)
    train = (
        "import joblib\n"
        "from sklearn.ensemble import GradientBoostingRegressor\n"
        "model = GradientBoostingRegressor(n_estimators=2).fit([[1], [2], [3]], [1, 2, 4])\n"
        "joblib.dump(model, 'model.joblib')\n"
    )
    subprocess.run([python, "-c", train], check=True, cwd=tmp_path)
    envparity("snapshot", "venv:train", "--model", "model.joblib", "-o", "model.env.json", cwd=tmp_path)
    envparity("lock", "model.env.json", cwd=tmp_path)

    envparity("build", "pylock.toml", "--model", "model.joblib", "--output", "oci:image", cwd=tmp_path)


def _base() -> str:
    return str(getattr(sys, "_base_executable", sys.executable))


def test_run_starts_the_image_without_an_engine(pipeline: Pipeline, namespace: tuple[str, ...]) -> None:
    done = envparity("run", f"oci:{pipeline.image}", "--", "python", "-c", PREDICTING, "/opt/model/model.joblib")

    assert predictions(done.stdout) == predictions(pipeline.predictions)


def test_the_exit_status_of_run_is_that_of_the_command(little: Pipeline, namespace: tuple[str, ...]) -> None:
    envparity("run", f"oci:{little.image}", "--", "python", "-c", "raise SystemExit(41)", status=41)


def test_the_python_that_answers_is_the_one_that_the_lock_says(pipeline: Pipeline, namespace: tuple[str, ...]) -> None:
    """A captured interpreter that finds another libpython answers as another version, and nobody notices."""
    done = envparity("run", f"oci:{pipeline.image}", "--", "python", "-c", "import sys; print(sys.version.split()[0])")

    lock, _ = lockfile.read(pipeline.lock)
    assert done.stdout.strip() == lock.targets[0].interpreter.version


def test_a_lock_names_its_snapshot_by_content(pipeline: Pipeline) -> None:
    lock, _ = lockfile.read(pipeline.lock)
    snapshot = codec.load_environment(pipeline.snapshot.read_bytes(), "the snapshot")

    assert f"sha256:{lock.snapshot.sha256}" == codec.content_digest(snapshot)


def test_another_model_than_the_recorded_one_is_refused(pipeline: Pipeline, tmp_path: Path) -> None:
    other = tmp_path / "model.joblib"
    other.write_bytes(_with_one_mantissa_bit_flipped(pipeline))

    done = envparity("build", pipeline.lock, "--model", other, "--output", f"oci:{tmp_path / 'i'}", status=5)

    assert "not the one that the lock's snapshot knew" in done.stderr
    assert not (tmp_path / "i").exists()


def test_a_model_of_a_notebook_is_refused_before_anything_is_downloaded(little: Pipeline, tmp_path: Path) -> None:
    """The commonest way in which serving fails: the class was defined in `__main__`, and the image has another one."""
    make = (
        "import joblib, sys\n"
        "class Doubler:\n    def predict(self, x): return 2 * x\n"
        "joblib.dump(Doubler(), sys.argv[1])\n"
    )
    subprocess.run([little.python, "-c", make, tmp_path / "notebook.joblib"], check=True)
    envparity(
        "snapshot",
        f"venv:{little.folder / 'train'}",
        "--model",
        tmp_path / "notebook.joblib",
        "-o",
        tmp_path / "n.env.json",
    )
    envparity("lock", tmp_path / "n.env.json", "-o", tmp_path / "pylock.toml")

    done = envparity(
        *(
            "build",
            tmp_path / "pylock.toml",
            "--model",
            tmp_path / "notebook.joblib",
            "--output",
            f"oci:{tmp_path / 'i'}",
        ),
        "--offline",
        status=1,
        ENVPARITY_CACHE_DIR=str(tmp_path / "empty"),
    )

    assert "__main__" in done.stderr
    assert "Doubler" in done.stderr


def test_everything_that_cannot_be_locked_is_named_at_once(pipeline: Pipeline, tmp_path: Path) -> None:
    snapshot = json.loads(pipeline.snapshot.read_text())
    snapshot.pop("content_digest")
    by_name = {item["name"]: item for item in snapshot["distributions"]}
    by_name["joblib"] |= {"editable": True, "direct_url": "file:///home/ada/joblib"}
    by_name["threadpoolctl"] |= {"version": "99.0"}
    by_name["numpy"] |= {"wheel_tags": ["cp311-cp311-linux_x86_64"], "record_sha256": "0" * 64}
    (tmp_path / "s.env.json").write_text(json.dumps(snapshot))

    done = envparity("lock", tmp_path / "s.env.json", "-o", tmp_path / "pylock.toml", status=1)

    assert "3 distributions cannot be locked" in done.stderr
    assert all(name in done.stderr for name in ("joblib", "threadpoolctl 99.0", "numpy"))
    assert not (tmp_path / "pylock.toml").exists()


def test_proving_changes_nothing_of_the_lock_but_the_states(little: Pipeline, tmp_path: Path) -> None:
    matched, proven = tmp_path / "pylock.matched.toml", tmp_path / "pylock.proven.toml"

    quick = envparity("lock", little.snapshot, "--explain", "-o", matched)
    done = envparity("lock", little.snapshot, "--require", "proven", "--explain", "-o", proven)

    count = len(lockfile.read(little.lock)[0].distributions)
    assert quick.stdout.splitlines()[0] == f"{count} matched"
    assert done.stdout.splitlines()[0] == f"{count} proven", "who requires it need not ask for it too"
    changed = [(a, b) for a, b in zip(*(p.read_text().splitlines() for p in (matched, proven)), strict=True) if a != b]
    seals = [(a, b) for a, b in changed if re.fullmatch(r' +"[0-9a-f]+",|sha256 = "[0-9a-f]{64}"', a)]
    assert len(seals) == 1 + -(-count // 8), "a line for eight distributions, and the digest of all"
    changed = [pair for pair in changed if pair not in seals]
    assert {(a.replace("matched", "proven"), b) for a, b in changed} == {(b, b) for _, b in changed}
    assert proven.read_bytes() == little.lock.read_bytes()


def test_without_network_and_cache_the_host_and_the_option_are_named(pipeline: Pipeline, tmp_path: Path) -> None:
    done = envparity(
        *("lock", pipeline.snapshot, "-o", tmp_path / "pylock.toml", "--offline"),
        status=3,
        ENVPARITY_CACHE_DIR=str(tmp_path / "empty"),
    )

    assert "--offline" in done.stderr
    assert "error: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_build_without_network_lists_everything_that_is_missing(pipeline: Pipeline, tmp_path: Path) -> None:
    done = envparity(
        *("build", pipeline.lock, "--output", f"oci:{tmp_path / 'i'}", "--offline"),
        status=3,
        ENVPARITY_CACHE_DIR=str(tmp_path / "empty"),
    )

    lock, _ = lockfile.read(pipeline.lock)
    assert all(item.wheel.name in done.stderr for item in lock.distributions)
    assert all(item.name in done.stderr for item in lock.targets[0].os_packages)


@pytest.mark.parametrize("name", ["lock.toml", "x.pylock.toml", "pylock.a.b.toml"])
def test_a_lock_of_a_name_that_installers_refuse_is_a_usage_error(
    pipeline: Pipeline, tmp_path: Path, name: str
) -> None:
    envparity("lock", pipeline.snapshot, "-o", tmp_path / name, status=2)


def test_a_lock_that_needs_artifacts_cannot_go_to_standard_output(pipeline: Pipeline) -> None:
    assert "artifacts" in envparity("lock", pipeline.snapshot, "-o", "-", status=2).stderr


def test_an_artifact_that_was_changed_or_lost_is_told_apart(little: Pipeline, tmp_path: Path) -> None:
    shutil.copy(little.lock, tmp_path)
    artifacts = tmp_path / "pylock.artifacts"
    shutil.copytree(lockfile.artifacts_folder(little.lock), artifacts)
    lock, _ = lockfile.read(little.lock)
    build = ("build", tmp_path / "pylock.toml", "--output", f"oci:{tmp_path / 'i'}")

    (artifacts / lock.snapshot.name).write_bytes(b"{}")
    assert "not the file that was locked" in envparity(*build, status=5).stderr
    (artifacts / lock.snapshot.name).unlink()
    assert "copy the folder of artifacts along" in envparity(*build, status=3).stderr


def test_a_wheel_with_another_hash_is_an_integrity_error_and_keeps_the_old_image(
    little: Pipeline, tmp_path: Path
) -> None:
    """The index, or a proxy, served something else under the locked name."""
    shutil.copytree(lockfile.artifacts_folder(little.lock), tmp_path / "pylock.artifacts")
    lock, _ = lockfile.read(little.lock)
    wheel = next(item.wheel for item in lock.distributions if item.name == "threadpoolctl")
    text = little.lock.read_text().replace(wheel.sha256, "0" * 64)
    (tmp_path / "pylock.toml").write_text(resealed(text))
    shutil.copytree(little.image, tmp_path / "image")
    before = (tmp_path / "image" / "index.json").read_bytes()

    done = envparity("build", tmp_path / "pylock.toml", "--output", f"oci:{tmp_path / 'image'}", status=5)

    assert "does not have the promised content" in done.stderr
    assert (tmp_path / "image" / "index.json").read_bytes() == before


def test_a_build_without_a_place_is_a_usage_error(pipeline: Pipeline) -> None:
    assert "--output" in envparity("build", pipeline.lock, status=2).stderr


def test_the_lock_is_the_same_with_envparity_installed_beside_the_model(
    little: Pipeline, checkout: Path, tmp_path: Path
) -> None:
    """Whoever installs the tool where the model is trained must not ship the tool, nor get another lock for it."""
    uv = needs_uv()
    pins = [f"{item.name}=={item.version}" for item in lockfile.read(little.lock)[0].distributions]
    base = getattr(sys, "_base_executable", sys.executable)
    inside = tmp_path / "train"
    subprocess.run([uv, "venv", "-q", "--no-config", "-p", base, inside], check=True)
    install = [uv, "pip", "install", "-q", "--no-config", "--python", inside / "bin" / "python"]
    subprocess.run([*install, *pins, checkout], check=True)
    take = "from envparity import snapshot; snapshot.take('model.env.json', models=['model.joblib'], strict=True)"
    shutil.copy(little.model, tmp_path)
    subprocess.run([inside / "bin" / "python", "-c", take], check=True, cwd=tmp_path)

    envparity("lock", tmp_path / "model.env.json", "--prove", "-o", tmp_path / "pylock.toml")

    snapshot = codec.load_environment((tmp_path / "model.env.json").read_bytes(), "the snapshot")
    assert "envparity" in {item.name for item in snapshot.distributions or () if item.tooling}
    assert (tmp_path / "pylock.toml").read_bytes() == little.lock.read_bytes()


def test_another_base_carries_the_same_model(pipeline: Pipeline, namespace: tuple[str, ...], tmp_path: Path) -> None:
    """Debian trixie for real: another libc, so a finding, and here the same predictions."""
    envparity("lock", pipeline.snapshot, "--base", "debian:trixie", "-o", tmp_path / "pylock.toml")
    envparity("build", tmp_path / "pylock.toml", "--model", pipeline.model, "--output", f"oci:{tmp_path / 'image'}")
    reference = f"oci:{tmp_path / 'image'}"

    verdict = verify.against(verify.Request(reference, str(pipeline.snapshot)), fetcher=Fetcher(Client(), Cache()))
    served = envparity("run", reference, "--", "python", "-c", PREDICTING, "/opt/model/model.joblib").stdout

    assert predictions(served) == predictions(pipeline.predictions)
    told = {item.difference.item: item.severity for item in verdict.findings}
    if lockfile.read(pipeline.lock)[0].targets[0].base == "debian:bookworm":
        assert told["libc6"].at_least(Severity.MEDIUM)


def test_the_image_holds_nothing_that_builds_or_installs(pipeline: Pipeline) -> None:
    tree = merge(open_image(f"oci:{pipeline.image}"))
    paths = [node.path for node in tree.walk() if node.kind == "file"]
    names = {path.rpartition("/")[2] for path in paths}

    assert names & {"pip", "pip3", "gcc", "cc", "make", "apt", "apt-get", "dpkg", ".bash_history"} == set()
    assert [path for path in paths if "/site-packages/pip/" in path] == []


def test_a_class_of_your_own_serves_from_the_application(
    little: Pipeline, namespace: tuple[str, ...], tmp_path: Path
) -> None:
    """Wherever the command starts: a console script has no current folder on its path."""
    app = tmp_path / "app"
    (app / "myproject").mkdir(parents=True)
    (app / "myproject" / "__init__.py").write_text("")
    (app / "myproject" / "features.py").write_text("class Doubler:\n    def predict(self, x):\n        return 2 * x\n")
    make = "import pickle, sys; from myproject.features import Doubler; pickle.dump(Doubler(), open(sys.argv[1], 'wb'))"
    model = tmp_path / "doubler.pkl"
    subprocess.run([little.python, "-c", make, model], check=True, cwd=app)
    envparity("snapshot", f"venv:{little.folder / 'train'}", "--model", model, "-o", tmp_path / "d.env.json")
    envparity("lock", tmp_path / "d.env.json", "-o", tmp_path / "pylock.toml")
    build = ("build", tmp_path / "pylock.toml", "--model", model, "--output", f"oci:{tmp_path / 'image'}")

    assert "myproject.features" in envparity(*build, status=1).stderr
    envparity(*build, "--app", app)

    load = "import pickle; print(pickle.load(open('/opt/model/doubler.pkl', 'rb')).predict(21))"
    elsewhere = f'cd / && python -c "{load}"'
    assert envparity("run", f"oci:{tmp_path / 'image'}", "--", "sh", "-c", elsewhere).stdout.strip() == "42"
    envparity("verify", f"oci:{tmp_path / 'image'}", "--against", tmp_path / "d.env.json")
    envparity("verify", f"oci:{tmp_path / 'image'}", "--against", tmp_path / "pylock.toml", "--app", app)


def test_a_distribution_that_was_changed_by_hand_is_not_locked_as_the_published_one(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    snapshot = json.loads(pipeline.snapshot.read_text())
    snapshot.pop("content_digest")
    next(item for item in snapshot["distributions"] if item["name"] == "joblib")["modified"] = ["joblib/__init__.py"]
    (tmp_path / "s.env.json").write_text(json.dumps(snapshot))

    done = envparity("lock", tmp_path / "s.env.json", "-o", tmp_path / "pylock.toml", status=1)

    assert "joblib" in done.stderr
    assert "changed after it was installed" in done.stderr
