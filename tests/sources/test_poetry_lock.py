"""Locks of Poetry 1.x and 2.x, with what each of them says of groups, extras and conditions."""

from __future__ import annotations

import pytest
from packaging.specifiers import SpecifierSet

from envparity.errors import MalformedError
from envparity.sources.poetry_lock import python_range
from tests.sources.reading import found, read_text, reasons, rows
from tests.sources.samples import POETRY, A

OLD = f"""\
[[package]]
category = "main"
description = "File locks"
name = "filelock"
optional = false
python-versions = ">=3.6"
version = "3.0.12"

[[package]]
category = "dev"
description = "Backport"
marker = "python_version < \\"3.8\\""
name = "importlib-metadata"
optional = false
python-versions = ">=2.7"
version = "1.7.0"

[[package]]
category = "main"
description = "Speed"
name = "ujson"
optional = true
python-versions = "*"
version = "4.0.0"

[extras]
fast = ["ujson"]

[metadata]
content-hash = "{A}"
lock-version = "1.0"
python-versions = "^3.6"

[metadata.files]
filelock = [
    {{file = "filelock-3.0.12-py3-none-any.whl", hash = "sha256:{A}"}},
]
importlib-metadata = []
ujson = []
"""


def entries() -> list[str]:
    """The packages of the old lock, each as it stands there."""
    return [f"[[package]]{text}" for text in OLD.partition("[extras]")[0].split("[[package]]")[1:]]


def test_groups_and_conditions_of_poetry_2() -> None:
    assert rows(read_text("poetry.lock", POETRY)) == [
        (
            "colorama",
            "0.4.6",
            'platform_system == "Windows" or (sys_platform == "win32" and \'dev\' in dependency_groups)',
        ),
        ("numpy", "1.26.4", "'fast' in extras"),
        ("our-fork", "1.0", "'dev' in dependency_groups"),
    ]


@pytest.mark.parametrize(
    ("stated", "names"),
    [
        ({"groups": ("main",), "platform": "linux/amd64"}, []),
        ({"groups": ("main",), "platform": "windows/amd64"}, ["colorama"]),
        ({"groups": ("dev",), "platform": "linux/amd64"}, ["our-fork"]),
        ({"extras": ("fast",), "platform": "linux/amd64"}, ["numpy"]),
    ],
)
def test_a_stated_target_selects(stated: dict[str, str], names: list[str]) -> None:
    assert [name for name, _, _ in rows(read_text("poetry.lock", POETRY, **stated))] == names


def test_a_repository_is_named_without_its_credentials() -> None:
    fork = found(read_text("poetry.lock", POETRY), "our-fork")

    assert fork.direct_url == f"git+https://git.example/fork.git@{'1' * 40}"
    assert (fork.editable, fork.hashes) == (True, ())


def test_a_lock_of_poetry_1_0_has_categories_markers_and_its_hashes_at_the_end() -> None:
    environment = read_text("poetry.lock", OLD)

    assert rows(environment) == [
        ("filelock", "3.0.12", ""),
        ("importlib-metadata", "1.7.0", "python_version < \"3.8\" and 'dev' in dependency_groups"),
        ("ujson", "4.0.0", "'fast' in extras"),
    ]
    assert found(environment, "filelock").hashes == (f"sha256:{A}",)


def test_a_lock_that_does_not_know_its_groups_says_so() -> None:
    """Poetry 1.2 to 1.8 wrote neither groups nor categories."""
    text = POETRY.replace('groups = ["main", "dev"]\n', "").replace('groups = ["main"]\n', "")
    text = text.replace('groups = ["dev"]\n', "")

    assert "pyproject.toml" in reasons(read_text("poetry.lock", text), "distributions")["groups of the lock"]


def test_two_versions_of_which_the_lock_does_not_say_which_are_both_undecided() -> None:
    entry, *_ = entries()
    environment = read_text("poetry.lock", OLD.replace(entry, entry + entry.replace("3.0.12", "3.9.0")))

    both = [(version, bool(marker)) for name, version, marker in rows(environment) if name == "filelock"]
    assert both == [("3.0.12", True), ("3.9.0", True)]
    assert "3.0.12 and as 3.9.0" in reasons(environment, "distributions")["filelock"]


def test_one_package_under_two_spellings_is_one() -> None:
    """A lock that was edited by an older Poetry has both; the files are the same."""
    _, entry, _ = entries()
    text = OLD.replace(entry, entry + entry.replace("importlib-metadata", "importlib_metadata"))

    assert [name for name, _, _ in rows(read_text("poetry.lock", text))].count("importlib-metadata") == 1


def test_a_lock_without_its_end_is_cut_short() -> None:
    with pytest.raises(MalformedError, match=r"ends too early: its table \[metadata\] is missing"):
        read_text("poetry.lock", POETRY[: POETRY.index("[extras]")])


@pytest.mark.parametrize(
    ("text", "takes", "refuses"),
    [
        ("^3.8", ["3.8", "3.12"], ["3.7", "4.0"]),
        ("^0.2.3", ["0.2.3", "0.2.9"], ["0.3.0", "0.2.2"]),
        ("^0.0.3", ["0.0.3"], ["0.0.4"]),
        ("^1", ["1.9"], ["2.0"]),
        ("~3.8", ["3.8.9"], ["3.9", "3.7"]),
        ("~1", ["1.9"], ["2.0"]),
        (">=3.7.1, <4", ["3.7.1"], ["4.0", "3.7.0"]),
        (">=3.7.1 <4", ["3.7.1"], ["4.0", "3.7.0"]),
        ("1.5.*", ["1.5.9"], ["1.6"]),
        ("2.0", ["2.0"], ["2.1"]),
    ],
)
def test_a_constraint_of_poetry_means_the_same_in_the_words_of_pep_440(
    text: str, takes: list[str], refuses: list[str]
) -> None:
    """https://python-poetry.org/docs/dependency-specification/#version-constraints has these examples."""
    specifiers = SpecifierSet(python_range(text))

    assert all(version in specifiers for version in takes)
    assert not any(version in specifiers for version in refuses)


@pytest.mark.parametrize("text", ["*", "", ">=2 || <1", "somewhat new"])
def test_what_pep_440_cannot_say_is_not_said(text: str) -> None:
    assert python_range(text) == ""
