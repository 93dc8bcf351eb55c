"""What the readers of locks share: a repository is named as pip takes it, with the commit that was locked."""

from __future__ import annotations

import pytest

from envparity.sources.documents import places_of, repository
from tests.sources.reading import found, read_text

COMMIT = "1" * 40


@pytest.mark.parametrize(
    ("place", "commit", "folder", "named"),
    [
        ("https://git.example/x.git", COMMIT, "", f"git+https://git.example/x.git@{COMMIT}"),
        (
            f"https://git.example/x?subdirectory=a%2Fb&rev=v2#{COMMIT}",
            "",
            "",
            f"git+https://git.example/x@{COMMIT}#subdirectory=a/b",
        ),
        ("https://git.example/x?tag=v2", "", "", "git+https://git.example/x@v2"),
        ("git@git.example:team/x.git", COMMIT, "py", f"git+ssh://git@git.example/team/x.git@{COMMIT}#subdirectory=py"),
        ("ssh://git@git.example:22/x.git", COMMIT, "", f"git+ssh://git@git.example:22/x.git@{COMMIT}"),
        ("git+https://git.example/x.git", COMMIT, "", f"git+https://git.example/x.git@{COMMIT}"),
        ("/srv/my repo", COMMIT, "", f"git+file:///srv/my%20repo@{COMMIT}"),
        ("file:///srv/x", COMMIT, "", f"git+file:///srv/x@{COMMIT}"),
        ("../x", COMMIT, "", "../x"),
    ],
)
def test_a_repository_is_named_as_pip_takes_it(place: str, commit: str, folder: str, named: str) -> None:
    assert repository("git", place, commit, folder) == named


def test_a_table_without_a_repository_names_its_address_or_folder() -> None:
    assert places_of({"git": "", "url": "", "path": "./x"}) == "./x"
    assert places_of({"hg": "https://hg.example/x", "commit": "abc"}) == "hg+https://hg.example/x@abc"
    assert places_of({}) == ""


def test_pdm_and_pipenv_keep_the_commit_too() -> None:
    pdm = f"""
[metadata]
groups = ["default"]
lock_version = "4.5.0"
content_hash = "sha256:{"a" * 64}"

[[package]]
name = "fork"
version = "1.0"
git = "https://git.example/fork.git"
ref = "main"
revision = "{COMMIT}"
subdirectory = "py"
groups = ["default"]
"""
    pipenv = f"""{{"_meta": {{"hash": {{"sha256": "{"a" * 64}"}}, "pipfile-spec": 6, "requires": {{}}, "sources": []}},
      "default": {{"fork": {{"git": "https://git.example/fork.git", "ref": "{COMMIT}", "subdirectory": "py"}}}},
      "develop": {{}}}}"""
    wanted = f"git+https://git.example/fork.git@{COMMIT}#subdirectory=py"

    assert found(read_text("pdm.lock", pdm), "fork").direct_url == wanted
    assert found(read_text("Pipfile.lock", pipenv), "fork").direct_url == wanted
