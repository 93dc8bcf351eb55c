"""Locks of PDM: one distribution an entry, its extras and groups together."""

from __future__ import annotations

from tests.sources.reading import found, read_text, reasons, rows
from tests.sources.samples import PDM, A


def test_the_entries_of_one_package_are_one_distribution() -> None:
    environment = read_text("pdm.lock", PDM)

    assert rows(environment) == [
        ("fsspec", "2024.6.1", ""),
        ("idna", "3.7", "python_version < \"3.13\" and 'fast' in dependency_groups"),
    ]
    assert found(environment, "fsspec").extras == ("http",)
    assert environment.python is not None
    assert environment.python.specifier == ">=3.9"


def test_a_group_selects() -> None:
    assert [name for name, _, _ in rows(read_text("pdm.lock", PDM, groups=("default",)))] == ["fsspec"]
    assert [name for name, _, _ in rows(read_text("pdm.lock", PDM, groups=("fast",)))] == ["fsspec", "idna"]


def test_a_lock_of_an_older_pdm_has_its_files_at_the_end() -> None:
    text = f"""\
[[package]]
name = "six"
version = "1.16.0"
requires_python = ">=2.7"
summary = "Both"

[metadata]
lock_version = "3.1"
content_hash = "sha256:{A}"

[metadata.files]
"six 1.16.0" = [
    {{file = "six-1.16.0.tar.gz", hash = "sha256:{A}"}},
]
"""
    environment = read_text("pdm.lock", text)

    assert found(environment, "six").hashes == (f"sha256:{A}",)
    assert environment.complete


def test_what_was_cut_off_is_unread() -> None:
    environment = read_text("pdm.lock", PDM[: PDM.index('[[package]]\nname = "idna"')])

    assert "`fsspec` requires it" in reasons(environment, "distributions")["idna"]
    assert not environment.complete
