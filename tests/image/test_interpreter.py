"""A captured interpreter is read back only in the form that a capture has."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pytest

from envparity.errors import EnvparityError, MalformedError, UnreachableError
from envparity.image.interpreter import interpreter_entries
from envparity.oci.entries import Entry
from envparity.oci.tar import write_layer

PROGRAM = Entry("opt/python/bin/python3.11", "file", 0o755, size_bytes=3, content=b"elf")
LINK = Entry("opt/python/bin/python3", "link", 0o777, target="python3.11")


def artifact(folder: Path, *entries: Entry) -> Path:
    sink = io.BytesIO()
    write_layer(sink, entries)
    path = folder / "cpython-3.11.7-linux-x86_64.tar.gz"
    path.write_bytes(gzip.compress(sink.getvalue(), mtime=0))
    return path


def test_the_members_come_back_without_the_parents_of_the_base(tmp_path: Path) -> None:
    """`/opt` is the base's: a header of ours would replace its own."""
    found = interpreter_entries(artifact(tmp_path, PROGRAM, LINK))

    assert [(entry.path, entry.kind, entry.mode) for entry in found] == [
        ("opt/python", "folder", 0o755),
        ("opt/python/bin", "folder", 0o755),
        ("opt/python/bin/python3", "link", 0o777),
        ("opt/python/bin/python3.11", "file", 0o755),
    ]
    assert found[-1].content == b"elf"


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(Entry("etc/passwd", "file", 0o644, content=b"root::0:0"), id="another place"),
        pytest.param(Entry("opt/pythonic/x", "file", 0o644, content=b""), id="a place with the same beginning"),
        pytest.param(Entry("opt/python/su", "file", 0o4755, content=b""), id="setuid"),
        pytest.param(Entry("opt/python/x", "file", 0o644, uid=10001, content=b""), id="another owner"),
        pytest.param(Entry("opt/python/x", "link", 0o777, target="/etc/shadow"), id="an absolute link"),
        pytest.param(Entry("opt/python/x", "link", 0o777, target="../../etc/shadow"), id="a link that leads out"),
        pytest.param(Entry("opt/python/x", "hardlink", 0o755, target=PROGRAM.path), id="a hard link"),
        pytest.param(Entry("opt/python/x", "folder", 0o777), id="a folder that all may write"),
    ],
)
def test_what_no_capture_writes_is_malformed(tmp_path: Path, entry: Entry) -> None:
    """The lock vouches for these bytes, and a lock may come from anybody."""
    with pytest.raises(MalformedError, match=r"cpython-3\.11\.7"):
        interpreter_entries(artifact(tmp_path, PROGRAM, entry))


def test_an_artifact_without_an_interpreter_is_malformed(tmp_path: Path) -> None:
    with pytest.raises(MalformedError, match="holds no interpreter"):
        interpreter_entries(artifact(tmp_path, Entry("opt/python/lib/os.py", "file", 0o644, content=b"")))


@pytest.mark.parametrize("cut", [0, 5, 60, -10])
def test_a_damaged_artifact_ends_in_one_line(tmp_path: Path, cut: int) -> None:
    path = artifact(tmp_path, PROGRAM, LINK)
    path.write_bytes(path.read_bytes()[:cut])

    with pytest.raises(EnvparityError) as caught:
        interpreter_entries(path)

    assert isinstance(caught.value, MalformedError)


def test_what_is_no_gzip_file_is_malformed(tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_bytes(b"<html>")

    with pytest.raises(MalformedError, match="not a sound gzip file"):
        interpreter_entries(tmp_path / "x.tar.gz")


def test_an_artifact_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="cannot read"):
        interpreter_entries(tmp_path / "gone.tar.gz")
