"""Conda packages that lie about themselves, lead out of the prefix, or never end: each is refused by name."""

from __future__ import annotations

import bz2
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import zstandard

from envparity.errors import MalformedError, RefusedError, UnsupportedError
from envparity.image import conda
from envparity.oci.entries import Entry
from envparity.values import LockedCondaPackage
from tests import condas
from tests.values import SOME_SHA256

Members = list[tuple[str, bytes | str | None]]
"""Path and content of each; a text is where a link leads, nothing is a named pipe."""

INDEX: dict[str, Any] = {"name": "demo", "version": "1.0", "build": "h1_0", "depends": []}
STEM = "demo-1.0-h1_0"


def tar(members: Members) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
            else:
                member.type = tarfile.SYMTYPE if content is not None else tarfile.FIFOTYPE
                member.linkname = content or ""
                archive.addfile(member)
    return out.getvalue()


def made(
    folder: Path,
    members: Members,
    *,
    rows: list[dict[str, Any]] | None = None,
    index: Mapping[str, Any] = INDEX,
    link: Mapping[str, Any] | None = None,
    info: Members | None = None,
    name: str = f"{STEM}.conda",
) -> Path:
    """A package with these members, and rows of `paths.json` for them unless others are named."""
    kinds = {name: "softlink" if isinstance(content, str) else "hardlink" for name, content in members}
    rows = [{"_path": name, "path_type": kind} for name, kind in kinds.items()] if rows is None else rows
    said: Members = [
        ("info/index.json", json.dumps(index).encode()),
        ("info/paths.json", json.dumps({"paths": rows, "paths_version": 1}).encode()),
        *([("info/link.json", json.dumps(link).encode())] if link else []),
        *(info or []),
    ]
    path = folder / name
    if name.endswith(".tar.bz2"):
        path.write_bytes(bz2.compress(tar([*said, *members])))
        return path
    stem = name.removesuffix(".conda")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", '{"conda_pkg_format_version": 2}')
        archive.writestr(f"pkg-{stem}.tar.zst", zstandard.compress(tar(members)))
        archive.writestr(f"info-{stem}.tar.zst", zstandard.compress(tar(said)))
    return path


def entries(package: Path, *, prefix: str = "opt/env", noarch: str = "") -> list[Entry]:
    item = condas.locked(package, noarch=noarch)
    spool = conda.Spool(always_allowed_bytes=1 << 20)
    return conda.package_entries(item, package, spool, prefix=prefix, python_xy="3.11")


def test_a_sound_package_is_what_it_lists(tmp_path: Path) -> None:
    """The counterexample of everything below: the same helper, and nothing wrong."""
    found = entries(made(tmp_path, [("lib/a.txt", b"a"), ("lib/b.txt", "a.txt")]))

    assert [(entry.path, entry.kind) for entry in found] == [
        ("opt/env/conda-meta/demo-1.0-h1_0.json", "file"),
        ("opt/env/lib/a.txt", "file"),
        ("opt/env/lib/b.txt", "link"),
    ]


ESCAPES = ("../../../etc/passwd", "/etc/passwd", "lib/../../../etc/x", "conda-meta/history", "info/x", "./lib/x", "")


@pytest.mark.parametrize("path", ESCAPES)
@pytest.mark.parametrize("ending", [".conda", ".tar.bz2"])
def test_a_path_that_leads_out_of_the_prefix_is_refused(tmp_path: Path, path: str, ending: str) -> None:
    """CVE-2007-4559, and the records of conda itself, in which a package would speak for another."""
    rows = [{"_path": path, "path_type": "hardlink"}]

    with pytest.raises(MalformedError):
        entries(made(tmp_path, [("lib/a.txt", b"a")], rows=rows, name=f"{STEM}{ending}"))


def test_a_member_that_leads_out_is_refused_whether_it_is_listed_or_not(tmp_path: Path) -> None:
    with pytest.raises(MalformedError, match="leads out"):
        entries(made(tmp_path, [("../../../etc/passwd", b"root")], rows=[]))


@pytest.mark.parametrize("target", ["/etc", "../../../../etc", "lib"])
def test_nothing_is_written_through_a_link(tmp_path: Path, target: str) -> None:
    """CVE-2021-29136: an engine follows the link, and the file lands where it leads."""
    with pytest.raises(MalformedError, match=r"would write `opt/env/share/passwd` through the link `opt/env/share`"):
        entries(made(tmp_path, [("share", target), ("share/passwd", b"root")]))


def test_nothing_is_written_through_a_link_of_another_package(tmp_path: Path) -> None:
    linking = entries(made(tmp_path, [("share", "/etc")]))
    writing = entries(made(tmp_path, [("share/deep/passwd", b"root")]))

    with pytest.raises(MalformedError, match=r"`two` would write .* through the link `opt/env/share` of `one`"):
        conda.refuse_through_links([("one", linking), ("two", writing)])


@pytest.mark.parametrize("ending", [".conda", ".tar.bz2"])
def test_a_file_that_stands_there_twice_is_refused(tmp_path: Path, ending: str) -> None:
    """One tool would take the first, another the last."""
    rows = [{"_path": "lib/a.txt", "path_type": "hardlink"}]
    with pytest.raises(MalformedError, match=r"holds `lib/a\.txt` twice"):
        entries(made(tmp_path, [("lib/a.txt", b"a"), ("lib/a.txt", b"b")], rows=rows, name=f"{STEM}{ending}"))


def test_a_path_that_is_listed_twice_is_refused(tmp_path: Path) -> None:
    rows = [{"_path": "lib/a.txt", "path_type": kind} for kind in ("hardlink", "softlink")]
    with pytest.raises(MalformedError, match="twice"):
        entries(made(tmp_path, [("lib/a.txt", b"a")], rows=rows))


def test_two_places_that_become_one_are_refused(tmp_path: Path) -> None:
    """Of a package for every Python, `site-packages` is moved; a file may lie there already."""
    members: Members = [("site-packages/a.py", b"1"), ("lib/python3.11/site-packages/a.py", b"2")]
    with pytest.raises(MalformedError, match="twice"):
        entries(made(tmp_path, members), noarch="python")


def test_one_part_of_a_package_that_stands_there_twice_is_refused(tmp_path: Path) -> None:
    package = made(tmp_path, [("lib/a.txt", b"a")])
    with zipfile.ZipFile(package, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr(f"pkg-{STEM}.tar.zst", zstandard.compress(tar([("lib/a.txt", b"other")])))

    with pytest.raises(MalformedError, match="more than one `pkg-"):
        entries(package)


@pytest.mark.parametrize("ending", [".conda", ".tar.bz2"])
def test_what_unpacks_to_many_times_its_size_is_refused_early(tmp_path: Path, ending: str) -> None:
    """CVE-2019-9674: eight megabytes of zeros out of a few hundred bytes."""
    with pytest.raises(MalformedError, match="unpacks to more than 200 times its size") as caught:
        entries(made(tmp_path, [("lib/a.bin", bytes(8 << 20))], name=f"{STEM}{ending}"))

    assert STEM in str(caught.value)


def test_a_device_or_pipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MalformedError, match="device or a pipe"):
        entries(made(tmp_path, [("lib/pipe", None)]))


@pytest.mark.parametrize("key", ["name", "version", "build"])
def test_a_package_that_says_that_it_is_another_is_refused(tmp_path: Path, key: str) -> None:
    """A channel that serves one package under the name of another: the lock would speak of what is not there."""
    package = made(tmp_path, [("lib/a.txt", b"a")], index={**INDEX, key: "other"})

    with pytest.raises(MalformedError, match=r"says of itself that it is `.*other"):
        entries(package)
    with pytest.raises(MalformedError, match="says of itself"):
        conda.native_needs(package, package.name)


@pytest.mark.parametrize("text", [b"[]", b"{", b'{"name": 1}', pytest.param(b"[" * 50_000, id="deep")])
@pytest.mark.parametrize("name", ["index.json", "paths.json", "link.json"])
def test_a_document_of_a_package_that_cannot_be_read_is_named(tmp_path: Path, name: str, text: bytes) -> None:
    said: Members = [("info/index.json", json.dumps(INDEX).encode()), ("info/paths.json", b'{"paths": []}')]
    said = [item for item in said if item[0] != f"info/{name}"] + [(f"info/{name}", text)]
    package = tmp_path / f"{STEM}.tar.bz2"
    package.write_bytes(bz2.compress(tar(said)))
    if (name, text) == ("link.json", b'{"name": 1}'):
        return  # keys that are not known say nothing

    with pytest.raises(MalformedError, match=rf"`info/{name}` of `demo"):
        entries(package)


def test_a_package_that_says_nothing_of_itself_is_refused(tmp_path: Path) -> None:
    package = tmp_path / f"{STEM}.tar.bz2"
    package.write_bytes(bz2.compress(tar([("lib/a.txt", b"a")])))

    with pytest.raises(MalformedError, match=r"has no `info/index\.json`"):
        entries(package)


def test_a_listed_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MalformedError, match=r"lists `lib/gone\.txt`, and does not hold it"):
        entries(made(tmp_path, [], rows=[{"_path": "lib/gone.txt", "path_type": "hardlink"}]))


def test_a_prefix_that_is_longer_than_the_one_it_takes_the_place_of_is_refused(tmp_path: Path) -> None:
    """In a binary there is no more room than the build left; what stands behind would be written over."""
    rows = [{"_path": "lib/a.so", "path_type": "hardlink", "prefix_placeholder": "/opt/b", "file_mode": "binary"}]
    found = entries(made(tmp_path, [("lib/a.so", b"\x7fELF /opt/b/lib\0rest")], rows=rows))
    (library,) = (entry for entry in found if entry.path.endswith("a.so"))
    assert callable(library.content)

    with pytest.raises(MalformedError, match="has room for a prefix of 6 bytes, and it gets 8"):
        library.content()


ENTRY_POINTS = (
    *("../evil = demo:main", ".. = demo:main", ". = demo:main", "/bin/sh = demo:main", "a/b = demo:main"),
    *("demo = demo:main\nimport os", "demo = os; import x:main", "demo", "demo = demo", "= demo:main", "demo = demo:"),
)


@pytest.mark.parametrize("text", ENTRY_POINTS)
def test_an_entry_point_that_is_no_name_and_function_is_refused(tmp_path: Path, text: str) -> None:
    """GHSA-4gg8-gxpx-9rph: a script is written by its name, and its module becomes code."""
    link = {"noarch": {"type": "python", "entry_points": [text]}, "package_metadata_version": 1}
    with pytest.raises(MalformedError, match="entry point"):
        entries(made(tmp_path, [("site-packages/demo.py", b"")], link=link))


def test_an_entry_point_in_the_place_of_a_file_of_its_package_is_refused(tmp_path: Path) -> None:
    link = {"noarch": {"type": "python", "entry_points": ["demo = demo:main"]}, "package_metadata_version": 1}
    with pytest.raises(MalformedError, match="`bin/demo` twice"):
        entries(made(tmp_path, [("python-scripts/demo", b"")], link=link))


def test_modules_for_every_python_need_one(tmp_path: Path) -> None:
    condas.package(tmp_path, "demo", "1.0", {"site-packages/demo.py": b""}, entry_points=[])
    package = tmp_path / f"{STEM}.conda"
    item = LockedCondaPackage(
        name="demo", version="1.0", build="h1_0", channel="x", subdir="noarch", file_name=package.name, url="x",
        size_bytes=1, sha256=SOME_SHA256, state="proven",
    )  # fmt: skip

    with pytest.raises(UnsupportedError, match="is for any Python, and none is locked"):
        conda.package_entries(item, package, conda.Spool())


@pytest.mark.parametrize("ending", [".conda", ".tar.bz2"])
def test_a_package_that_was_cut_anywhere_is_an_error(tmp_path: Path, ending: str) -> None:
    data = made(tmp_path, [("lib/a.txt", b"a" * 5000), ("lib/b.txt", b"b")], name=f"{STEM}{ending}").read_bytes()
    for twentieth in range(20):
        (tmp_path / f"{STEM}{ending}").write_bytes(data[: len(data) * twentieth // 20])
        with pytest.raises((MalformedError, RefusedError)):
            entries(tmp_path / f"{STEM}{ending}")


def test_the_distributions_that_a_package_brings_are_those_whose_metadata_it_holds(tmp_path: Path) -> None:
    site = "site-packages"
    members: Members = [
        (f"{site}/My_Demo-1.0.dist-info/METADATA", b"Metadata-Version: 2.1\nName: My.Demo\nVersion: 1.0\n\nText"),
        (f"{site}/My_Demo-1.0.dist-info/RECORD", b"demo/__init__.py,,\ndemo_extra.py,,\n"),
        (f"{site}/old-2.0.egg-info/PKG-INFO", b"Metadata-Version: 1.0\nName: old\nVersion: 2.0\n"),
        (f"{site}/old/__init__.py", b""),
        (f"{site}/deep/x-1.dist-info/METADATA", b"Name: x\nVersion: 1\n"),
        (f"{site}/nameless-1.dist-info/METADATA", b"Metadata-Version: 2.1\n"),
    ]
    found = conda.brought(made(tmp_path, members), f"{STEM}.conda")

    assert [(item.name, item.version) for item in found] == [("my-demo", "1.0"), ("old", "2.0")]
    assert found[0].import_names == ("demo", "demo_extra")
    assert "old" in found[1].import_names
