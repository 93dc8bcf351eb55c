"""What no index serves goes through lock, build and verify: packed from where the model was trained."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from envparity import codec, lockfile, verify
from envparity.cache import Cache
from envparity.errors import ExitStatus
from envparity.fetch import Fetcher
from envparity.network import Client
from envparity.values import Distribution, LockedDistribution, RecordRow, Repacked
from tests.commands import envparity
from tests.tools import needs_tool, needs_uv
from tests.wheels import LocalIndex, local_index, pack, record_hash, serve

pytestmark = pytest.mark.xdist_group("repack")  # one worker makes what all of them read

BACKEND = """
import base64, hashlib, os, zipfile

def _wheel(folder, files):
    info = "project-1.0.dist-info/"
    files = {**files, info + "METADATA": b"Metadata-Version: 2.1\\nName: project\\nVersion: 1.0\\n",
             info + "WHEEL": b"Wheel-Version: 1.0\\nGenerator: own\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"}
    rows = []
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows.append(f"{name},sha256={digest},{len(data)}\\n")
    files[info + "RECORD"] = "".join([*rows, info + "RECORD,,\\n"]).encode()
    name = "project-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return name

def build_wheel(folder, settings=None, metadata=None):
    with open("project/__init__.py", "rb") as stream:
        return _wheel(folder, {"project/__init__.py": stream.read()})

def build_editable(folder, settings=None, metadata=None):
    return _wheel(folder, {"project.pth": os.getcwd().encode() + b"\\n"})
"""


@dataclass(frozen=True)
class Trained:
    """An environment of which the index serves `plain` alone, as it is installed."""

    folder: Path
    index: LocalIndex

    @property
    def venv(self) -> Path:
        return self.folder / "train"

    @property
    def site(self) -> Path:
        (found,) = self.venv.glob("lib/python3*/site-packages")
        return found

    @property
    def snapshot(self) -> Path:
        return self.folder / "model.env.json"

    @property
    def path(self) -> Path:
        return self.folder / "pylock.toml"

    @property
    def image(self) -> str:
        return f"oci:{self.folder / 'image'}"

    def lock(self, *arguments: str | Path, out: Path, status: int = 0, **variables: str) -> str:
        lock = ("lock", self.snapshot, "--index", self.index.root, "-o", out / "pylock.toml")
        path = f"{Path(needs_uv()).parent}:{os.environ['PATH']}"
        return envparity(*lock, *arguments, status=status, **{"PATH": path, **variables}).stderr


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    done = subprocess.run([needs_tool("git"), *who, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def a_project(folder: Path, text: str) -> Path:
    """A project with a build backend of its own, in a repository."""
    (folder / "project").mkdir(parents=True)
    (folder / "project" / "__init__.py").write_text(text)
    (folder / "backend.py").write_text(BACKEND)
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "project"\nversion = "1.0"\n'
    )
    git(folder, "init", "-q", ".")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    folder = tmp_path_factory.mktemp("repack")
    uv = needs_uv()
    base = getattr(sys, "_base_executable", sys.executable)
    subprocess.run([uv, "venv", "-q", "--no-config", "-p", base, folder / "train"], check=True)
    plain = pack(folder, {"plain/__init__.py": b""}, file_name="plain-1.0-py3-none-any.whl")
    edited = pack(
        folder,
        {
            "edited/__init__.py": b"answer = 41\n",
            "edited/other.py": b"other = 1\n",
            "edited-2.0.dist-info/entry_points.txt": b"[console_scripts]\nedited = edited:main\n",
            "edited-2.0.data/scripts/edited-tool": b"#!python\nprint('tool')\n",
            "edited-2.0.data/data/share/edited/words.txt": b"words\n",
            "edited-2.0.data/headers/edited.h": b"int edited;\n",
        },
        file_name="edited-2.0-py3-none-any.whl",
    )
    private = pack(folder, {"private.py": b"secret = 7\n"}, file_name="private-3.0-py3-none-any.whl")
    project = a_project(folder / "project", "where = 'editable'\n")
    install = [uv, "pip", "install", "-q", "--no-config", "--no-index", "--python", folder / "train" / "bin" / "python"]
    # The installation runs the project's backend where it lies: what it leaves there would hide what we leave.
    quiet = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([*install, plain, edited, private, "-e", project], check=True, env=quiet)
    with local_index() as index:
        made = Trained(folder, index)
        for info in made.site.glob("[pe][ld]*.dist-info"):  # as if they had been installed from the index
            (info / "direct_url.json").unlink()
        serve(index, plain)
        serve(index, edited)
        (made.site / "edited" / "__init__.py").write_text("answer = 42\n")
        envparity("snapshot", f"venv:{made.venv}", "--verify-files", "-o", made.snapshot)
        made.lock("--repack", "all", out=folder)
        envparity("build", made.path, "--output", made.image)
        yield made


def locked(path: Path) -> dict[str, LockedDistribution]:
    return {item.name: item for item in lockfile.read(path)[0].distributions}


def test_what_the_index_does_not_serve_as_installed_is_packed_and_nothing_else(trained: Trained) -> None:
    found = locked(trained.path)

    assert {name: item.state for name, item in found.items()} == {
        "edited": "repacked",
        "plain": "proven",
        "private": "repacked",
        "project": "repacked",
    }
    assert found["private"].wheel.name == "private-3.0-py3-none-any.whl"
    folder = lockfile.artifacts_folder(trained.path)
    for name in ("edited", "private", "project"):
        wheel = found[name].wheel
        assert _sha256((folder / wheel.name).read_bytes()) == wheel.sha256


@pytest.mark.parametrize("against", ["snapshot", "content", "lock"])
def test_the_image_of_it_is_the_environment_that_trained(trained: Trained, against: str) -> None:
    (content,) = lockfile.artifacts_folder(trained.path).glob("snapshot-*.env.json")
    reference = {"snapshot": trained.snapshot, "content": content, "lock": trained.path}[against]
    with Fetcher(Client(), Cache()) as fetcher:
        verdict = verify.against(verify.Request(trained.image, str(reference)), fetcher=fetcher)

    assert verdict.status is ExitStatus.OK, verdict.findings
    if against != "lock":
        assert "repacked by the lock: edited, project" in verdict.declared
        told = {gap.reason for gap in verdict.gaps}
        assert any("edited 2.0: changed where the model was trained" in reason for reason in told)
        assert any("project 1.0: it was editable" in reason for reason in told)


def test_it_runs_with_the_module_that_was_changed_by_hand(trained: Trained, namespace: tuple[str, ...]) -> None:
    code = "import edited, private, project; print(edited.answer, private.secret, project.where)"

    assert envparity("run", trained.image, "--", "python", "-c", code).stdout.split() == ["42", "7", "editable"]
    assert envparity("run", trained.image, "--", "edited-tool").stdout.strip() == "tool"
    assert envparity("run", trained.image, "--", "cat", "/opt/env/share/edited/words.txt").stdout == "words\n"


def test_the_lock_says_what_each_was_made_of(trained: Trained) -> None:
    found = locked(trained.path)

    edited, project = found["edited"].repacked, found["project"].repacked
    assert edited is not None
    assert project is not None
    assert (edited.origin, [row.path for row in edited.changed]) == ("installed", ["edited/__init__.py"])
    assert edited.changed[0].hash == record_hash(b"answer = 41\n")
    assert (project.origin, project.dirty) == ("editable", False)
    assert project.commit == git(trained.folder / "project", "rev-parse", "HEAD")


def test_no_place_of_the_training_host_is_in_the_lock(trained: Trained) -> None:
    assert str(trained.folder) not in trained.path.read_text()


def test_a_project_is_built_without_a_trace_in_its_folder(trained: Trained) -> None:
    assert git(trained.folder / "project", "status", "--porcelain", "--ignored") == ""


def test_two_users_make_the_same_lock(trained: Trained, tmp_path: Path) -> None:
    """Whatever their umask and time zone are: a lock is reviewed by its difference."""
    before = os.umask(0o077)
    try:
        trained.lock("--repack", "all", out=tmp_path, TZ="Asia/Kathmandu", LC_ALL="C", HOME=str(tmp_path))
    finally:
        os.umask(before)

    assert (tmp_path / "pylock.toml").read_bytes() == trained.path.read_bytes()
    for wheel in lockfile.artifacts_folder(trained.path).glob("*.whl"):
        assert (tmp_path / "pylock.artifacts" / wheel.name).read_bytes() == wheel.read_bytes()


def test_uv_installs_the_lock_with_what_was_packed(trained: Trained, tmp_path: Path) -> None:
    uv = needs_uv()
    base = getattr(sys, "_base_executable", sys.executable)
    subprocess.run([uv, "venv", "-q", "--no-config", "-p", base, tmp_path / "again"], check=True)
    python = tmp_path / "again" / "bin" / "python"

    subprocess.run([uv, "pip", "sync", "-q", "--no-config", "--python", python, trained.path], check=True)

    code = "import edited, private, project; print(edited.answer, private.secret, project.where)"
    done = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["42", "7", "editable"]
    assert (tmp_path / "again" / "bin" / "edited").is_file()


def test_pip_installs_its_export_and_makes_the_same_environment(trained: Trained, tmp_path: Path) -> None:
    """The files that were changed are those that trained; the editable one is a wheel there."""
    base = getattr(sys, "_base_executable", sys.executable)
    subprocess.run([needs_uv(), "venv", "-q", "--no-config", "-p", base, tmp_path / "again"], check=True)
    python = tmp_path / "again" / "bin" / "python"
    envparity("export", trained.path, "--format", "requirements", "-o", tmp_path / "r.txt")
    command = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python, "install", "-q")
    command += ("--no-cache-dir", "--require-hashes", "--no-deps", "-r", tmp_path / "r.txt")

    subprocess.run(command, check=True, cwd=trained.folder, env={**os.environ, "PIP_CONFIG_FILE": os.devnull})

    code = "import edited, private, project; print(edited.answer, private.secret, project.where)"
    done = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["42", "7", "editable"]
    envparity("snapshot", f"venv:{tmp_path / 'again'}", "--verify-files", "-o", tmp_path / "again.env.json")
    found = {item.name: item for item in read(tmp_path / "again.env.json")}
    wanted = {item.name: item for item in read(trained.snapshot)}
    for name in ("plain", "private"):
        assert found[name].record_sha256 == wanted[name].record_sha256
    assert not any(item.modified or item.missing for item in found.values())


def read(path: Path) -> tuple[Distribution, ...]:
    return codec.load_environment(path.read_bytes(), "it").distributions or ()


def test_a_wheel_of_it_holds_each_file_in_its_place(trained: Trained) -> None:
    with zipfile.ZipFile(lockfile.artifacts_folder(trained.path) / "edited-2.0-py3-none-any.whl") as archive:
        names = archive.namelist()
        script = archive.read("edited-2.0.data/scripts/edited-tool")
        infos = archive.infolist()

    assert names == [
        *("edited-2.0.data/data/share/edited/words.txt", "edited-2.0.data/headers/edited.h"),
        *("edited-2.0.data/scripts/edited-tool", "edited-2.0.dist-info/METADATA", "edited-2.0.dist-info/WHEEL"),
        *("edited-2.0.dist-info/entry_points.txt", "edited/__init__.py", "edited/other.py"),
        "edited-2.0.dist-info/RECORD",
    ]
    assert script == b"#!python\nprint('tool')\n"
    assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}


def forged(trained: Trained, folder: Path, other: bytes, before: dict[str, bytes]) -> str:
    """
    An image with another `edited/other.py`, from a sound wheel and a lock to fit, which says that these modules were
    changed in training, and what they held `before`.
    """
    lock, _ = lockfile.read(trained.path)
    shutil.copytree(lockfile.artifacts_folder(trained.path), folder / "pylock.artifacts")
    file = folder / "pylock.artifacts" / "edited-2.0-py3-none-any.whl"
    with zipfile.ZipFile(file) as archive:
        contents = {name: archive.read(name) for name in archive.namelist() if not name.endswith("RECORD")}
    data = pack(file.parent, {**contents, "edited/other.py": other}, file_name=file.name).read_bytes()
    replace = msgspec.structs.replace
    rows = [
        RecordRow(path=f"edited/{name}.py", hash=record_hash(text), size=str(len(text)))
        for name, text in before.items()
    ]
    distributions = [
        replace(
            item,
            wheels=(replace(item.wheel, size_bytes=len(data), sha256=_sha256(data)),),
            repacked=Repacked(origin="installed", changed=tuple(rows)),
        )
        if item.name == "edited"
        else item
        for item in lock.distributions
    ]
    (folder / "pylock.toml").write_text(codec.dump_lock(replace(lock, distributions=tuple(distributions))))
    envparity("build", folder / "pylock.toml", "--output", f"oci:{folder / 'image'}")
    return f"oci:{folder / 'image'}"


@pytest.mark.parametrize(
    "before",
    [
        {"__init__": b"answer = 41\n"},
        {"__init__": b"answer = 41\n", "other": b"other = 1\n"},
        {"__init__": b"answer = 40\n"},
        {},
    ],
    ids=["silent of it", "said to be changed in training", "with another past", "of nothing"],
)
def test_no_other_file_may_be_changed_whatever_the_lock_in_the_image_says(
    trained: Trained, tmp_path: Path, before: dict[str, bytes]
) -> None:
    """That one module was changed in training must be no door for another one: the snapshot knows of the first only."""
    image = forged(trained, tmp_path, b"other = 666\n", before)

    done = envparity("verify", image, "--against", trained.snapshot, status=5)

    assert "edited-2.0.dist-info/RECORD" in done.stdout


def test_such_an_image_with_nothing_changed_passes(trained: Trained, tmp_path: Path) -> None:
    """Else the four above would prove nothing."""
    image = forged(trained, tmp_path, b"other = 1\n", {"__init__": b"answer = 41\n"})

    envparity("verify", image, "--against", trained.snapshot)


def test_a_wheel_that_was_changed_or_lost_beside_the_lock_is_told_apart(trained: Trained, tmp_path: Path) -> None:
    """Where its layer has to be made: one that is kept was made of the locked wheel, and nobody reads it again."""
    shutil.copy(trained.path, tmp_path)
    shutil.copytree(lockfile.artifacts_folder(trained.path), tmp_path / "pylock.artifacts")
    wheel = tmp_path / "pylock.artifacts" / "private-3.0-py3-none-any.whl"
    build = ("build", tmp_path / "pylock.toml", "--output", f"oci:{tmp_path / 'i'}")

    empty = {"ENVPARITY_CACHE_DIR": str(tmp_path / "cache")}

    wheel.write_bytes(wheel.read_bytes() + b"x")
    assert "not the file that was locked" in envparity(*build, status=5, **empty).stderr
    wheel.unlink()
    assert "copy the folder of artifacts along" in envparity(*build, status=3, **empty).stderr


def test_without_the_option_everything_that_cannot_be_locked_is_refused(trained: Trained, tmp_path: Path) -> None:
    said = trained.lock(out=tmp_path, status=1)

    assert "3 distributions cannot be locked" in said
    assert "`--repack NAME`" in said
    assert all(name in said for name in ("edited 2.0", "private 3.0", "project 1.0"))
    assert not (tmp_path / "pylock.toml").exists()


def test_only_what_is_named_is_packed_and_that_even_where_the_index_has_it(trained: Trained, tmp_path: Path) -> None:
    names = [word for name in ("plain", "edited", "private", "project") for word in ("--repack", name)]
    told = " ".join(trained.lock(*names, out=tmp_path).split())
    assert {item.state for item in locked(tmp_path / "pylock.toml").values()} == {"repacked"}
    assert "repacked: edited 2.0, of the installed files, 1 of which had been changed" in told
    assert "repacked: plain 1.0, of the installed files" in told
    assert "repacked: project 1.0, built from its project at commit" in told

    said = trained.lock("--repack", "private", out=tmp_path, status=1)
    assert "2 distributions cannot be locked" in said
    assert "private 3.0" not in said


def test_explain_says_what_each_wheel_was_made_of(trained: Trained) -> None:
    told = " ".join(envparity("lock", trained.path, "--explain").stdout.split())

    assert told.startswith("3 repacked, 1 proven")
    assert "it is a wheel that was made here: edited 2.0, of the installed files, 1 of which had been changed" in told


def test_what_was_packed_is_below_matched_for_whoever_requires_that(trained: Trained, tmp_path: Path) -> None:
    said = trained.lock("--repack", "all", "--require", "matched", out=tmp_path, status=1)

    assert "3 distributions are not matched, which --require asks for" in said
    assert not (tmp_path / "pylock.toml").exists()


def test_what_the_index_serves_otherwise_under_the_same_name_is_packed(trained: Trained, tmp_path: Path) -> None:
    """A wheel that was built again, or that a mirror altered, is not the one that trained the model."""
    other = pack(tmp_path, {"plain/__init__.py": b"altered = 1\n"}, file_name="plain-1.0-py3-none-any.whl")
    serve(trained.index, other)
    try:
        trained.lock("--repack", "all", out=tmp_path, ENVPARITY_CACHE_DIR=str(tmp_path / "cache"))
    finally:
        serve(trained.index, trained.folder / "plain-1.0-py3-none-any.whl")

    plain = locked(tmp_path / "pylock.toml")["plain"]
    with zipfile.ZipFile(tmp_path / plain.wheel.path) as archive:
        assert archive.read("plain/__init__.py") == b""
    assert plain.state == "repacked"


def test_a_name_that_nothing_installed_has_is_a_usage_error(trained: Trained, tmp_path: Path) -> None:
    said = trained.lock("--repack", "privat", out=tmp_path, status=2)

    assert "`privat`" in said
    assert "hint: " in said


def test_files_that_were_changed_since_the_snapshot_are_refused(trained: Trained, tmp_path: Path) -> None:
    place = trained.site / "private.py"
    before = place.read_bytes()
    place.write_bytes(b"secret = 8\n")
    try:
        said = trained.lock("--repack", "all", out=tmp_path, status=1)
    finally:
        place.write_bytes(before)

    assert "`private.py` was changed since the snapshot was taken" in said
    assert "--repack" not in said
