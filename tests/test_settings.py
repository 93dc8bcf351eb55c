"""`envparity.yaml`: what it may say, and what its paths mean where a command runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from envparity import settings
from envparity.errors import MalformedError, UsageError


def loaded(folder: Path, text: str) -> settings.Settings:
    path = folder / "envparity.yaml"
    path.write_text(text)
    return settings.load(path)


def test_what_init_writes_is_read_again_as_it_was_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = settings.written({"prod": 'a "b".txt', "staging": "registry:h/n:1"}, "prod", "parity.yaml")
    read = loaded(tmp_path, text)

    assert read.targets == {"prod": 'a "b".txt', "staging": "registry:h/n:1"}
    assert (read.default, read.policy, read.knowledge, read.options) == ("prod", "parity.yaml", (), {})
    empty = loaded(tmp_path, settings.written({}, "", ""))
    assert (empty.targets, empty.default, empty.policy) == ({}, "", "")


def test_paths_are_seen_from_where_the_command_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = tmp_path / "src" / "train"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    read = loaded(
        tmp_path,
        "targets: {a: requirements.txt, b: 'oci:image', c: 'registry:h/n', d: 'python:python3', e: 'venv:.venv',"
        " f: /etc/x.txt, g: 'docker:app:1'}\npolicy: ci/parity.yaml\nknowledge: [rules.yaml]",
    )

    assert dict(read.targets) == {
        "a": "../../requirements.txt",
        "b": "oci:../../image",
        "c": "registry:h/n",
        "d": "python:python3",
        "e": "venv:../../.venv",
        "f": "/etc/x.txt",
        "g": "docker:app:1",
    }
    assert (read.policy, read.knowledge) == ("../../ci/parity.yaml", ("../../rules.yaml",))


@pytest.mark.parametrize(
    ("text", "where", "says"),
    [
        ("target: {prod: a.txt}", "", "target"),
        ("targets: {'a b': x.txt}", "targets", "regex"),
        ("targets: {prod: ''}", "targets", ">= 1"),
        ("default: prod", "default", "none of its targets"),
        ("schema: 2", "schema", "knows 1"),
        ("options: {diff: {fail-on: 3.5}}", "options", "float"),
        ("- a", "", "array"),
        ("targets: {a: &x b, c: *x}", "line 1", "aliases"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, text: str, where: str, says: str) -> None:
    with pytest.raises(MalformedError) as caught:
        loaded(tmp_path, text)

    assert caught.value.where.startswith(where)
    assert says in str(caught.value)


def test_a_name_that_is_a_file_and_a_target_too_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    read = loaded(tmp_path, "targets: {prod: a.txt}")

    assert (read.reference("prod"), read.reference("other")) == ("a.txt", "other")
    (tmp_path / "prod").write_text("")
    with pytest.raises(UsageError, match="a file here too"):
        read.reference("prod")
