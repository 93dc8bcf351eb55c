"""One grammar for every reference: what is clear is read, what is not is an error that lists what it could be."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path

import pytest

from envparity import codec
from envparity.errors import EnvparityError, MalformedError, UnsupportedError, UsageError
from envparity.sources import GRAMMAR, SCHEMES, Options, read, recognise, recognition
from envparity.values import Distribution, Environment, Origin

SAVED = codec.dump_environment(
    Environment(origin=Origin(kind="live", taken_at="2026-01-01T00:00:00Z"), distributions=(Distribution(name="six"),))
)


def names(environment: Environment) -> list[str]:
    return [item.name for item in environment.distributions or ()]


def test_a_saved_environment_keeps_its_own_origin(tmp_path: Path) -> None:
    (tmp_path / "model.env.json").write_bytes(SAVED)

    environment = read("model.env.json", options=Options(base_dir=tmp_path))

    assert environment.origin.taken_at == "2026-01-01T00:00:00Z"
    assert names(environment) == ["six"]


@pytest.mark.parametrize("name", ["anything.json", "snapshot", "requirements-of-prod.env.json"])
def test_a_saved_environment_under_any_name_is_known_by_its_content(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(SAVED)

    assert names(read(name, options=Options(base_dir=tmp_path))) == ["six"]


@pytest.mark.parametrize("name", ["requirements.txt", "prod.txt", "requirements-dev.in", "deps", "constraints.txt"])
def test_text_that_pip_accepts_is_a_requirements_file_under_any_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("numpy==1.26.4\n")

    assert names(read(name, options=Options(base_dir=tmp_path))) == ["numpy"]


def test_a_pylock_is_known_by_its_name_or_its_content(tmp_path: Path) -> None:
    for name in ("pylock.toml", "pylock.prod.toml", "other.toml"):
        (tmp_path / name).write_text('lock-version = "1.0"\ncreated-by = "x"\npackages = []\n')

        assert read(name, options=Options(base_dir=tmp_path)).origin.kind == "pylock"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("PyTorch version: 2.1.0\nIs debug build: False\n", "collect_env"),
        ("Package: libc6\nStatus: install ok installed\nVersion: 2.36\n", "dpkg"),
    ],
)
def test_a_format_that_is_not_read_yet_is_named_with_what_works_instead(
    content: str, told: str, tmp_path: Path
) -> None:
    (tmp_path / "some-name").write_text(content)

    with pytest.raises(UnsupportedError, match="not supported yet") as caught:
        read("some-name", options=Options(base_dir=tmp_path))

    assert caught.value.hint
    assert told in str(caught.value)


def test_a_file_that_is_not_what_its_name_says_is_malformed_and_named_as_what_it_is(tmp_path: Path) -> None:
    """Both shapes stand in public repositories: requirements under a lock's name, a tool's progress under `.json`."""
    (tmp_path / "uv.lock").write_text("numpy==1.26.4\n")
    (tmp_path / "Pipfile.lock").write_text("name: x\ndependencies:\n- numpy\n")
    (tmp_path / "pylock.toml").write_text("numpy==1.26.4\n")
    (tmp_path / "model.env.json").write_text("Resolved 5 packages in 3ms\n")

    for name, told in (("uv.lock", "requirements.txt"), ("Pipfile.lock", "environment file of conda")):
        with pytest.raises(MalformedError) as caught:
            read(name, options=Options(base_dir=tmp_path))
        assert told in str(caught.value) + caught.value.hint
    for name in ("pylock.toml", "model.env.json"):
        with pytest.raises(MalformedError, match=name):
            read(name, options=Options(base_dir=tmp_path))


@pytest.mark.parametrize(
    "name", ["uv.lock", "requirements.txt", "model.env.json", "MLmodel", "environment.yml", "pylock.toml", "some-name"]
)
def test_a_pointer_of_git_lfs_is_called_so_with_what_fetches_the_file(name: str, tmp_path: Path) -> None:
    """Cloned without git-lfs, a repository has three lines of text where its MLmodel should be."""
    lines = "version https://git-lfs.github.com/spec/v1", f"oid sha256:{'a' * 64}", "size 483", ""
    (tmp_path / name).write_text("\n".join(lines))

    with pytest.raises((MalformedError, UnsupportedError), match="looks like a pointer of git-lfs") as caught:
        read(name, options=Options(base_dir=tmp_path))

    assert caught.value.hint == "`git lfs pull` fetches the file"


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("nowhere.txt", "does not exist"),
        ("prod", "does not exist"),
        ("nginx:1.25", "docker:nginx:1.25"),
        ("https://x.example/requirements.txt", "URL"),
        ("python3.11", "python:python3.11"),
        ("/no/such/bin/python3", "python:/no/such/bin/python3"),
        ("venv:", "names nothing"),
        ("", "empty"),
        ("-", "standard input"),
    ],
)
def test_what_cannot_be_read_is_a_usage_error_with_candidates(reference: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(reference)

    assert told in str(caught.value) + caught.value.hint


def test_every_scheme_stands_in_the_grammar_that_errors_print() -> None:
    assert {scheme for scheme in SCHEMES if f"{scheme}:" in GRAMMAR} == set(SCHEMES)


def test_a_folder_is_read_only_if_it_can_be_one_thing(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("numpy\n")
    (tmp_path / "model").mkdir()
    (tmp_path / "model/MLmodel").write_text("flavors: {}\n")

    with pytest.raises(UsageError, match="folder") as caught:
        read(".", options=Options(base_dir=tmp_path))
    assert "requirements.txt" in caught.value.hint
    assert read("model", options=Options(base_dir=tmp_path)).origin.kind == "mlmodel"


def test_a_file_with_a_colon_in_its_name_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "docker:x").write_text("numpy\n")

    assert names(read("docker:x", options=Options(base_dir=tmp_path))) == ["numpy"]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (SAVED, "live"),
        (b"six==1\n", "requirements"),
        (b'lock-version = "1.0"\ncreated-by="x"\npackages=[]\n', "pylock"),
    ],
)
def test_standard_input_is_known_by_its_content(data: bytes, kind: str) -> None:
    assert read("-", options=Options(stdin=io.BytesIO(data))).origin.kind == kind


def test_an_empty_standard_input_is_an_error_not_an_empty_environment() -> None:
    """`producer | envparity diff - prod` with a producer that failed must not find parity."""
    with pytest.raises(UsageError, match="empty"):
        read("-", options=Options(stdin=io.BytesIO(b"\n")))


def test_what_may_not_be_read_is_unreachable(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "requirements.txt")

    with pytest.raises(UsageError, match="regular file"):
        read("requirements.txt", options=Options(base_dir=tmp_path))


def test_recognise_says_what_something_looks_like(tmp_path: Path) -> None:
    (tmp_path / "uv.lock").write_text("nothing telling")

    assert "CycloneDX" in recognise(b'{"bomFormat": "CycloneDX"}')
    assert "uv" in recognise(str(tmp_path / "uv.lock"))
    assert recognise(b"numpy==1.26.4\n") == ""


def test_no_content_can_make_recognition_slow() -> None:
    """The patterns look at foreign bytes: each must be linear."""
    for piece in (
        b"\n",
        b" \n",
        b"#\n",
        b"[[package]]\n",
        b"metadata:\n",
        b"{",
        b'"',
        b"[a",
        b" " * 7,
        b"{\n",
        b"a: \n",
    ):
        recognition.by_content(piece * ((64 << 10) // len(piece)))


def test_every_error_of_a_reader_has_a_hint_or_a_place(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("a b c\n")

    with pytest.raises(EnvparityError) as caught:
        read("requirements.txt", options=Options(base_dir=tmp_path))

    assert re.fullmatch(r"requirements\.txt:1", caught.value.where)
