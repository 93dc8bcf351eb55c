"""Locks of what is no snapshot: a lock of another tool, and an image whose environment was installed in it."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from envparity import lockfile, platforms
from envparity.oci.entries import Entry
from tests.commands import envparity
from tests.e2e.pipeline import Pipeline
from tests.e2e.tampering import layer_with, layers_by_path, tampered
from tests.tools import needs_uv

pytestmark = pytest.mark.xdist_group("lock-sources")  # one worker makes what all of them read

PROJECT = """
[project]
name = "support-tickets"
version = "0.1"
requires-python = ">=3.11"
dependencies = ["httpx==0.27.2", "markupsafe==3.0.2", "tomli; python_version < '3.11'"]

[dependency-groups]
dev = ["iniconfig"]
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real project, locked by uv."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "pyproject.toml").write_text(PROJECT)
    subprocess.run([needs_uv(), "lock", "-q", "--no-config"], cwd=folder, check=True)
    return folder


def test_a_lock_of_uv_becomes_an_image_that_verifies(project: Path) -> None:
    envparity("lock", "uv.lock", "--base", "debian:bookworm", cwd=project)
    envparity("build", "pylock.toml", "--output", "oci:image", cwd=project)
    done = envparity("verify", "oci:image", "--against", "pylock.toml", cwd=project)
    told = json.loads(envparity("diff", "uv.lock", "oci:image", "--format", "json", cwd=project).stdout)

    assert done.stdout.startswith("VERIFIED")
    moved = [item for item in told["findings"] if item["section"] == "distributions" and item["change"] != "unknown"]
    assert moved == []
    lock, _ = lockfile.read(project / "pylock.toml")
    assert {item.state for item in lock.distributions} == {"declared"}
    assert {"httpx", "httpcore", "markupsafe"} <= {item.name for item in lock.distributions}
    assert not {"iniconfig", "tomli", "support-tickets"} & {item.name for item in lock.distributions}


def test_the_same_lock_and_target_give_the_same_bytes(project: Path) -> None:
    envparity("lock", "uv.lock", "-o", "pylock.one.toml", cwd=project)
    envparity("lock", "uv.lock", "--python-version", "3.11", "-o", "pylock.two.toml", cwd=project)

    assert (project / "pylock.one.toml").read_bytes() == (project / "pylock.two.toml").read_bytes()


def test_a_declared_lock_is_no_proof_and_require_says_so(project: Path) -> None:
    done = envparity("lock", "uv.lock", "--require", "matched", "-o", "pylock.no.toml", status=1, cwd=project)

    assert "is declared: a file pins it, and nothing proves that it trained the model" in done.stderr
    assert not (project / "pylock.no.toml").exists()


def test_a_group_is_locked_where_it_is_asked_for(project: Path) -> None:
    envparity("lock", "uv.lock", "--group", "dev", "-o", "pylock.dev.toml", cwd=project)

    lock, _ = lockfile.read(project / "pylock.dev.toml")
    assert "iniconfig" in {item.name for item in lock.distributions}


def test_a_python_that_the_base_does_not_have_is_an_error_that_names_the_bases_that_do(project: Path) -> None:
    wrong = ("lock", "uv.lock", "--python-version", "3.12", "--base", "debian:bookworm")
    done = envparity(*wrong, status=2, cwd=project)
    none = envparity("lock", "uv.lock", "--python-version", "3.14", status=2, cwd=project)

    assert "debian:bookworm has Python 3.11, and `uv.lock` is to be locked for 3.12" in done.stderr
    assert "ubuntu:noble" in done.stderr
    assert "debian:trixie has 3.13" in none.stderr


def test_what_requirements_do_not_pin_is_resolved_and_named(tmp_path: Path) -> None:
    """A team's own file: two pins and a range, nothing of what these require. Neither pin moves."""
    (tmp_path / "requirements.txt").write_text("scikit-learn==1.5.2\nnumpy<2.2\njoblib==1.4.2\n")

    done = envparity("lock", "requirements.txt", "--python-version", "3.11", cwd=tmp_path)

    lock, _ = lockfile.read(tmp_path / "pylock.toml")
    found = {item.name: (item.version, item.state) for item in lock.distributions}
    assert found["scikit-learn"] == ("1.5.2", "declared")
    assert found["joblib"] == ("1.4.2", "declared")
    assert {name for name, (_, state) in found.items() if state == "resolved"} == {"numpy", "scipy", "threadpoolctl"}
    assert "resolved: 3 that the source does not pin: numpy 2.1.3, " in done.stderr


def test_pins_that_are_whole_are_not_resolved(project: Path) -> None:
    """What uv exports, without hashes: the same lock as that of the `uv.lock`, without any resolver."""
    uv = [needs_uv(), "export", "-q", "--no-config", "--no-dev", "--no-emit-project", "--no-hashes", "--no-header"]
    exported = subprocess.run(uv, cwd=project, check=True, capture_output=True, text=True).stdout
    (project / "requirements.txt").write_text(exported)
    envparity("lock", "uv.lock", "-o", "pylock.one.toml", cwd=project)
    envparity("lock", "requirements.txt", "-o", "pylock.pins.toml", cwd=project, PATH="/nowhere")

    one, pins = (lockfile.read(project / f"pylock.{name}.toml")[0] for name in ("one", "pins"))
    assert pins.distributions == one.distributions


DATA = Path(__file__).parents[1] / "data" / "lock_sources"
"""Of one project: what PDM, Poetry and Pipenv themselves made, and what they made it of."""


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lock of the `poetry.lock`, and an image of it."""
    folder = tmp_path_factory.mktemp("locked")
    shutil.copytree(DATA, folder, dirs_exist_ok=True)
    envparity("lock", "poetry.lock", "--base", "debian:bookworm", cwd=folder)
    envparity("build", "pylock.toml", "--output", "oci:image", cwd=folder)
    return folder


def test_a_lock_of_poetry_becomes_an_image_that_verifies(locked: Path) -> None:
    done = envparity("verify", "oci:image", "--against", "pylock.toml", cwd=locked)
    runs = envparity("run", "oci:image", "--", "python", "-c", "import httpx, socksio, click; print(1)", cwd=locked)
    told = json.loads(envparity("diff", "poetry.lock", "oci:image", "--format", "json", cwd=locked).stdout)

    assert done.stdout.startswith("VERIFIED")
    assert runs.stdout == "1\n"
    assert [
        item for item in told["findings"] if item["section"] == "distributions" and item["change"] != "unknown"
    ] == []
    names = {item.name for item in lockfile.read(locked / "pylock.toml")[0].distributions}
    assert {"click", "markupsafe", "httpx", "socksio"} <= names, "an extra of a dependency is part of it"
    assert not {"iniconfig", "tomli"} & names


def test_an_image_is_verified_against_the_lock_of_the_other_tool_itself(locked: Path) -> None:
    """The team's own file is the anchor: no word of the image or of our lock counts. The cache has the wheels."""
    done = envparity("verify", "oci:image", "--against", "poetry.lock", "--offline", cwd=locked)

    assert done.stdout.startswith("VERIFIED: oci:image against poetry.lock")
    assert "10 RECORDs, every file of them hashed" in done.stdout
    missing = envparity("verify", "oci:image", "--against", "poetry.lock", "--group", "dev", status=1, cwd=locked)
    assert "iniconfig" in missing.stdout


def test_a_file_that_was_changed_with_its_record_is_found_by_the_hashes_of_the_other_tool(
    locked: Path, tmp_path: Path
) -> None:
    image = locked / "image"
    module = next(path for path in layers_by_path(image) if path.endswith("/click/core.py"))
    record = next(path for path in layers_by_path(image) if path.endswith("/click-8.1.8.dist-info/RECORD"))

    def change(entries: list[Entry]) -> list[Entry]:
        code = b"print('hello')"
        digest = base64.urlsafe_b64encode(hashlib.sha256(code).digest()).rstrip(b"=").decode()
        line = f"click/core.py,sha256={digest},{len(code)}"
        changed = []
        for entry in entries:
            content = entry.content
            if entry.path == module:
                content = code
            elif entry.path == record and isinstance(content, bytes):
                content = re.sub(rb"click/core.py,[^\n]*", line.encode(), content)
            size_bytes = len(content) if isinstance(content, bytes) else 0
            changed.append(dataclasses.replace(entry, content=content, size_bytes=size_bytes))
        return changed

    reference = tampered(image, tmp_path / "image", {layer_with(image, module): change})
    done = envparity("verify", reference, "--against", locked / "poetry.lock", "--offline", status=5)

    assert "click-8.1.8.dist-info/RECORD" in done.stdout


def test_a_file_without_hashes_proves_nothing_of_an_image(locked: Path) -> None:
    (locked / "plain.txt").write_text("click==8.1.8\n")
    done = envparity("verify", "oci:image", "--against", "plain.txt", status=2, cwd=locked)

    assert "`plain.txt` is neither a snapshot nor a lock with the sha256 of its files" in done.stderr


def test_a_lock_of_pipenv_gives_the_same_distributions_as_that_of_poetry(locked: Path) -> None:
    """One project, locked by two tools on one day: the same wheels, so the same image."""
    envparity("lock", "Pipfile.lock", "-o", "pylock.pipenv.toml", cwd=locked)

    pipenv, poetry = (lockfile.read(locked / name)[0] for name in ("pylock.pipenv.toml", "pylock.toml"))
    assert pipenv.distributions == poetry.distributions
    assert pipenv.targets == poetry.targets


def test_a_lock_of_pdm_becomes_the_image_of_that_of_poetry_and_runs(locked: Path) -> None:
    """The same project, locked by PDM: the same wheels; and PDM's own file proves the image."""
    envparity("lock", "pdm/pdm.lock", "--base", "debian:bookworm", "-o", "pylock.pdm.toml", cwd=locked)
    envparity("build", "pylock.pdm.toml", "--output", "oci:pdm-image", cwd=locked)
    done = envparity("verify", "oci:pdm-image", "--against", "pdm/pdm.lock", "--offline", cwd=locked)
    runs = envparity("run", "oci:pdm-image", "--", "python", "-c", "import httpx, socksio, click; print(1)", cwd=locked)

    pdm, poetry = (lockfile.read(locked / name)[0] for name in ("pylock.pdm.toml", "pylock.toml"))
    assert (pdm.distributions, pdm.targets) == (poetry.distributions, poetry.targets)
    assert done.stdout.startswith("VERIFIED: oci:pdm-image against pdm/pdm.lock")
    assert runs.stdout == "1\n", runs.stderr


def test_one_lock_for_two_platforms_holds_what_a_lock_for_each_would(locked: Path) -> None:
    both = ("--platform", "linux/amd64", "--platform", "linux/arm64")
    envparity("lock", "poetry.lock", *both, "-o", "pylock.both.toml", cwd=locked)
    whole, _ = lockfile.read(locked / "pylock.both.toml")
    one, _ = lockfile.read(locked / "pylock.toml")

    mine, other = (platforms.selected(whole, f"linux/{name}") for name in ("amd64", "arm64"))
    assert (mine.distributions, mine.targets) == (one.distributions, one.targets)
    assert {item.state for item in other.distributions} == {"declared"}
    (markup,) = (item.wheel.name for item in other.distributions if item.name == "markupsafe")
    assert markup.endswith("aarch64.whl")


def test_an_image_leads_to_a_lock_of_what_is_in_it(little: Pipeline, tmp_path: Path) -> None:
    """The interpreter is captured out of the image, and its wheels are proven by the RECORD files that lie there."""
    envparity("lock", f"oci:{little.image}", "--prove", "-o", tmp_path / "pylock.toml")

    found, before = lockfile.read(tmp_path / "pylock.toml")[0], lockfile.read(little.lock)[0]
    assert [item.wheel for item in found.distributions] == [item.wheel for item in before.distributions]
    assert {item.state for item in found.distributions} == {"proven"}
    assert found.targets[0].interpreter == before.targets[0].interpreter
