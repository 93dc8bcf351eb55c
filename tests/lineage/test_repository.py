"""Real repositories, friendly and hostile: what is told of them, and that nothing of theirs runs."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from envparity.lineage.repository import public_remote, repository

GIT = shutil.which("git") or ""
pytestmark = pytest.mark.skipif(not GIT, reason="git is not installed")

OURS = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}


def git(folder: Path, *arguments: str, **variables: str) -> str:
    """git as its user runs it, with a configuration that is the same everywhere."""
    env = {
        **OURS,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
        "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
    }
    words = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "protocol.file.allow=always")
    done = subprocess.run(
        [GIT, *words, *arguments], cwd=folder, env={**env, **variables}, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A clean repository of one commit, with a remote."""
    folder = tmp_path / "code"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / "train.py").write_text("print('train')\n")
    (folder / "weights.bin").write_bytes(bytes(range(256)))
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    git(folder, "remote", "add", "origin", "https://ada:canary@git.example/team/code.git?token=canary")
    return folder


def read(folder: Path, **environ: str) -> tuple[dict[str, Any], dict[str, tuple[str, str]]]:
    """The one fact of a repository, and its gaps by item."""
    code: dict[str, Any] = {}
    gaps: dict[str, tuple[str, str]] = {}
    for fact in repository(folder, {**OURS, **environ}):
        if fact["kind"] == "gap":
            gaps[fact["item"]] = (fact["gap"], fact["reason"])
        else:
            code = dict(fact)
    return code, gaps


def everything(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_clean_repository_is_its_commit(place: Path) -> None:
    code, gaps = read(place)

    assert code == {
        "kind": "source-code",
        "commit": git(place, "rev-parse", "HEAD").strip(),
        "branch": "main",
        "remote": "https://git.example/team/code.git?token=***",
        "untracked": 0,
        "dirty": False,
    }
    assert gaps == {}


def test_what_was_changed_is_told_by_the_digest_of_git_diff_itself(place: Path) -> None:
    (place / "train.py").write_text("print('other')\n")
    (place / "weights.bin").write_bytes(b"\0" + bytes(range(255)))
    (place / "staged.py").write_text("1\n")
    git(place, "add", "staged.py")
    (place / "notes.txt").write_text("")
    (place / "ünïcode\nname").write_text("")
    plain = git(place, "diff", "HEAD", "--binary", "--full-index", "--no-indent-heuristic")

    code, gaps = read(place)

    assert code["dirty"] is True
    assert code["diff_sha256"] == hashlib.sha256(plain.encode()).hexdigest()
    assert code["untracked"] == 2
    assert gaps == {}


def test_the_digest_of_a_difference_does_not_depend_on_how_somebody_likes_to_see_it(place: Path) -> None:
    (place / "train.py").rename(place / "renamed.py")
    git(place, "add", "-A")
    before, _ = read(place)
    for key, value in {
        "diff.noprefix": "true",
        "diff.context": "0",
        "diff.renames": "copies",
        "diff.algorithm": "patience",
        "diff.relative": "true",
        "color.ui": "always",
        "core.abbrev": "5",
        "diff.submodule": "log",
        "diff.interHunkContext": "9",
    }.items():
        git(place, "config", key, value)

    after, _ = read(place)

    assert before["diff_sha256"] == after["diff_sha256"]


def test_a_folder_inside_a_repository_belongs_to_it(place: Path) -> None:
    (place / "a" / "b").mkdir(parents=True)

    assert read(place / "a" / "b")[0]["commit"] == read(place)[0]["commit"]


def test_a_detached_head_has_no_branch(place: Path) -> None:
    git(place, "checkout", "-q", "--detach")

    code, _ = read(place)

    assert (code["branch"], code["dirty"], len(code["commit"])) == ("", False, 40)


def test_a_repository_without_a_commit_says_so(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "trunk")
    (tmp_path / "train.py").write_text("")

    code, gaps = read(tmp_path)

    assert (code["commit"], code["branch"], code["untracked"]) == ("", "trunk", 1)
    assert "dirty" not in code
    assert gaps == {"commit": ("not-recorded", "the repository has no commit yet")}


def test_a_linked_work_tree_is_read_like_any(place: Path, tmp_path: Path) -> None:
    git(place, "worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))

    code, _ = read(tmp_path / "side")

    assert (code["branch"], code["dirty"]) == ("side", False)


def test_of_a_submodule_the_commit_counts_and_what_is_inside_has_a_gap(place: Path, tmp_path: Path) -> None:
    library = tmp_path / "library"
    shutil.copytree(place, library)
    git(place, "submodule", "add", "-q", str(library), "library")
    git(place, "commit", "-q", "-m", "with a library")
    (place / "library" / "train.py").write_text("changed\n")

    code, gaps = read(place)

    assert code["dirty"] is False
    assert gaps["submodules"][0] == "not-recorded"

    git(place / "library", "commit", "-q", "-a", "-m", "second")
    code, gaps = read(place)
    assert code["dirty"] is True


def test_where_there_is_no_repository_it_is_not_recorded(tmp_path: Path) -> None:
    assert read(tmp_path) == ({}, {"": ("not-recorded", "the code lies in no git repository")})


def test_where_there_is_no_git_it_is_not_recorded(place: Path) -> None:
    """A git in the folder itself, found through a relative PATH, is not the user's."""
    (place / "git").write_text("#!/bin/sh\ntouch ran\n")
    (place / "git").chmod(0o755)

    for path in ("", ".", "/nonexistent:."):
        assert read(place, PATH=path) == ({}, {"": ("not-recorded", "git is not installed")})
    assert not (place / "ran").exists()


def test_a_repository_whose_owner_git_does_not_trust_is_not_recorded_unless_its_user_trusts_it(
    place: Path, tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may give a folder away")
    os.chown(place, 12345, 12345)
    home = tmp_path / "home"
    home.mkdir()

    code, gaps = read(place, HOME=str(home))
    assert code == {}
    assert gaps[""][0] == "not-recorded"
    assert "safe.directory" in gaps[""][1]

    git(home, "config", "--global", "--add", "safe.directory", str(place), HOME=str(home))
    code, gaps = read(place, HOME=str(home))
    assert (code["branch"], gaps) == ("main", {})


@pytest.mark.parametrize("damage", ["index", "HEAD", "config"])
def test_a_damaged_repository_is_unread_and_says_what_git_said(place: Path, damage: str) -> None:
    (place / ".git" / damage).write_bytes(b"\0\0[[ damaged")

    code, gaps = read(place)

    assert code == {}
    assert gaps[""][0] == "unread"
    assert gaps[""][1].startswith("git ended with status")


MARK = "touch {marker}"


def _fsmonitor(place: Path, command: str) -> None:
    git(place, "config", "core.fsmonitor", command)


def _external_diff(place: Path, command: str) -> None:
    git(place, "config", "diff.external", command)


def _textconv(place: Path, command: str) -> None:
    (place / ".gitattributes").write_text("*.py diff=evil\n")
    git(place, "config", "diff.evil.textconv", f"{command}; cat")


def _driver(place: Path, command: str) -> None:
    (place / ".gitattributes").write_text("*.py diff=evil\n")
    git(place, "config", "diff.evil.command", command)


def _clean_filter(place: Path, command: str) -> None:
    (place / ".gitattributes").write_text("*.py filter=evil\n")
    git(place, "config", "filter.evil.clean", f"{command}; cat")


def _filter_with_a_hostile_name(place: Path, command: str) -> None:
    """A name with an equals sign would end a `-c name=value` too early."""
    (place / ".git" / "info" / "attributes").write_text("*.py filter=e\n")
    text = f'[filter "e"]\n\tclean = "{command}; cat"\n\trequired\n[filter "e=f.clean"]\n\tclean = "{command}"\n'
    with (place / ".git" / "config").open("a") as file:
        file.write(text)


def _filter_process(place: Path, command: str) -> None:
    (place / ".gitattributes").write_text("*.py filter=evil\n")
    git(place, "config", "filter.evil.process", command)
    git(place, "config", "filter.evil.required", "true")


def _included(place: Path, command: str) -> None:
    (place / ".git" / "more").write_text(f'[core]\n\tfsmonitor = "{command}"\n')
    git(place, "config", "include.path", "more")


def _hook(place: Path, command: str) -> None:
    hook = place / ".git" / "hooks" / "post-index-change"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\n{command}\n")
    hook.chmod(0o755)


def _promisor(place: Path, command: str) -> None:
    """A partial clone fetches what is missing, by whatever program its remote names."""
    for key, value in {
        "core.repositoryFormatVersion": "1",
        "extensions.partialClone": "evil",
        "remote.evil.promisor": "true",
        "remote.evil.url": f"ext::sh -c {command.replace(' ', '% ')}",
        "protocol.ext.allow": "always",
    }.items():
        git(place, "config", key, value)
    blob = git(place, "rev-parse", "HEAD:train.py").strip()
    (place / ".git" / "objects" / blob[:2] / blob[2:]).unlink()


HOSTILE = [
    _fsmonitor,
    _external_diff,
    _textconv,
    _driver,
    _clean_filter,
    _filter_with_a_hostile_name,
    _filter_process,
    _included,
    _hook,
    _promisor,
]


@pytest.mark.parametrize("arm", HOSTILE, ids=lambda arm: arm.__name__.strip("_"))
def test_no_program_that_a_repository_names_is_run(arm: Any, place: Path, tmp_path: Path) -> None:
    """The control run proves that the trap works: plain git, as everybody types it, springs it."""
    marker = tmp_path / "ran"
    arm(place, MARK.format(marker=marker))
    (place / "train.py").write_text("changed\n")
    os.utime(place / "weights.bin")
    before = everything(place)

    read(place)

    assert not marker.exists()
    assert everything(place) == before, "reading changed the repository"

    for words in (("status",), ("diff", "HEAD")):
        subprocess.run([GIT, *words], cwd=place, env=OURS, capture_output=True, check=False)
    assert marker.exists(), "the trap does not work, so that it proves nothing"


def test_a_submodule_s_own_configuration_is_not_obeyed_either(place: Path, tmp_path: Path) -> None:
    library = tmp_path / "library"
    shutil.copytree(place, library)
    git(place, "submodule", "add", "-q", str(library), "library")
    git(place, "commit", "-q", "-m", "with a library")
    marker = tmp_path / "ran"
    git(place / "library", "config", "core.fsmonitor", MARK.format(marker=marker))

    read(place)
    assert not marker.exists()

    subprocess.run([GIT, "status"], cwd=place, env=OURS, capture_output=True, check=False)
    assert marker.exists()


def test_whether_a_filtered_file_was_changed_is_not_known(place: Path) -> None:
    """git-lfs is such a filter: without it, a file that nobody touched looks changed."""
    (place / ".gitattributes").write_text("*.bin filter=lfs\n")
    git(place, "add", ".gitattributes")
    git(place, "commit", "-q", "-m", "lfs")
    (place / "weights.bin").write_bytes(b"not what git stores")

    code, gaps = read(place)
    assert code["dirty"] is None
    assert "lfs" in gaps["diff_sha256"][1]

    (place / "train.py").write_text("changed\n")
    code, _ = read(place)
    assert code["dirty"] is True
    plain = git(place, "diff", "HEAD", "--binary", "--full-index", "--", "train.py")
    assert code["diff_sha256"] == hashlib.sha256(plain.encode()).hexdigest()


def test_how_a_user_wants_lines_to_end_and_what_to_ignore_counts(place: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "ignored").write_text("*.log\n")
    git(home, "config", "--global", "core.excludesFile", str(home / "ignored"), HOME=str(home))
    git(home, "config", "--global", "core.autocrlf", "true", HOME=str(home))
    (place / "x.log").write_text("")
    (place / "train.py").unlink()
    git(place, "checkout", "-q", "train.py", HOME=str(home))
    assert (place / "train.py").read_bytes().endswith(b"\r\n")
    os.utime(place / "train.py", (1, 1))

    code, _ = read(place, HOME=str(home))

    assert (code["dirty"], code["untracked"]) == (False, 0)
    assert read(place)[0]["dirty"] is True


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("git@github.com:team/code.git", "git@github.com:team/code.git"),
        ("https://ada:canary@git.example/code.git", "https://git.example/code.git"),
        ("https://canary@git.example/code.git", "https://git.example/code.git"),
        ("ssh://git@git.example:22/code.git", "ssh://git@git.example:22/code.git"),
        ("ext::sh -c 'curl -u ada:canary https://x'", "ext::***"),
        ("ada:canary@git.example:code.git", "***"),
        ("/srv/git/code.git", "/srv/git/code.git"),
        ("", ""),
    ],
)
def test_an_address_of_git_keeps_no_credential(address: str, public: str) -> None:
    assert public_remote(address) == public


def test_the_remote_of_the_branch_comes_before_origin(place: Path) -> None:
    git(place, "remote", "add", "fork", "git@git.example:ada/code.git")
    assert read(place)[0]["remote"].startswith("https://git.example/")

    git(place, "config", "branch.main.remote", "fork")
    assert read(place)[0]["remote"] == "git@git.example:ada/code.git"

    git(place, "config", "--remove-section", "branch.main")
    git(place, "remote", "remove", "origin")
    assert read(place)[0]["remote"] == "git@git.example:ada/code.git"
