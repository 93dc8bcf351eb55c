"""Byte code beside the sources of an image: the same bytes by every Python of one version, and what has none."""

from __future__ import annotations

import marshal
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib import resources, util
from pathlib import Path

import pytest

from envparity.cache import Cache
from envparity.collectors.records import record_digest, record_rows
from envparity.errors import UnreachableError
from envparity.image import compiling
from envparity.image.bytecode import Bytecode, Unit, of_wheel, source_of
from envparity.image.wheels import wheel_entries
from envparity.oci.entries import Entry
from tests.wheels import content, pack, real_wheel

OURS = sys.version.split()[0]
XY = ".".join(OURS.split(".")[:2])
TAG = f"cpython-{XY.replace('.', '')}"
SITE = f"opt/env/lib/python{XY}/site-packages"

AWKWARD = '''
"""A docstring with spaces."""
class Outer:
    def method(self):
        class Inner:
            pass
        shared = ("a name", ("another one", None, 1 << 70, 1.5))
        return Inner, "Outer.method.<locals>.Inner", shared, x in {"b", "a", "c"}
    @property
    def big(self): return 123456789012345678901234567890, "a name", 2j, ..., b"bytes", lambda *, é=1: é
'''
"""What two processes were seen to write differently: names that are constants too, shared constants, sets."""


def modules(contents: Mapping[str, str | bytes]) -> list[Entry]:
    data = {path: text.encode() if isinstance(text, str) else text for path, text in contents.items()}
    return [Entry(f"{SITE}/{path}", "file", 0o644, size_bytes=len(each), content=each) for path, each in data.items()]


def compiled_by(python: str | Path, sources: list[tuple[str, str]], before: str = "", **environ: str) -> list[bytes]:
    """What another process makes of sources, in that order; `before` is what it runs first."""
    given = len(sources).to_bytes(4, "little") + b"".join(
        len(text).to_bytes(4, "little") + text for pair in sources for text in (pair[0].encode(), pair[1].encode())
    )
    text = resources.files("envparity.image").joinpath("compiling.py").read_text()
    start = f"{before}import sys; exec(compile(sys.argv[1], 'compiling', 'exec'))"
    command = [str(python), "-s", "-S", "-B", "-W", "ignore", "-c", start, text]
    done = subprocess.run(command, input=given, env=environ, check=True, capture_output=True)
    rest = done.stdout.partition(b"\n")[2]
    answers = []
    while rest:
        size = int.from_bytes(rest[1:5], "little")
        answers.append(rest[:1] + rest[5 : 5 + size])
        rest = rest[5 + size :]
    return answers


def pythons() -> list[str]:
    """One real interpreter of each version that this machine has."""
    homes = [Path.home() / ".pyenv" / "versions", Path("/usr")]
    found = [*homes[0].glob("3.*/bin/python3"), *homes[1].glob("bin/python3.[0-9]*")]
    named = {
        path.resolve().as_posix(): path for path in found if path.name.replace("python3", "").strip(".0123456789") == ""
    }
    return sorted(str(path) for path in named.values() if _version(path) >= (3, 8))


def _version(python: Path) -> tuple[int, int]:
    told = subprocess.run(
        [python, "-I", "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True
    )
    numbers = told.stdout.split()
    return (int(numbers[0]), int(numbers[1])) if told.returncode == 0 else (0, 0)


def test_a_source_has_the_same_byte_code_whatever_a_process_compiled_before() -> None:
    """Interned strings and counts of references are what a process has, and marshal writes both."""
    path = "/opt/env/x.py"
    others = [(f"/opt/{name}.py", f"{AWKWARD}\n{name} = 'Outer.method.<locals>.Inner', 'a name'") for name in "abc"]
    for python in pythons():
        alone = compiled_by(python, [(path, AWKWARD)], PYTHONHASHSEED="0")
        later = compiled_by(python, [*others, (path, AWKWARD)], PYTHONHASHSEED="0")

        assert alone == later[-1:], python


def test_a_source_has_the_same_byte_code_whatever_strings_a_process_holds() -> None:
    """What another module of the process has interned stands for the string of a source, also within a shared tuple."""
    shared = (
        f"{AWKWARD}\ndef one(): return ('a b', ('c d', 1.5))\ndef two(): return ('a b', ('c d', 1.5)), {{'a b', 'e f'}}"
    )
    texts = [
        "a b",
        "c d",
        "e f",
        "another one",
        "Outer.method.<locals>.Inner",
        "/opt/env/x.py",
        "A docstring with spaces.",
    ]
    holding = "import sys\nKEPT = [sys.intern('-'.join(each.split('-'))) for each in " + repr(texts) + "]\n"
    for python in pythons():
        alone = compiled_by(python, [("/opt/env/x.py", shared)], PYTHONHASHSEED="0")
        others = compiled_by(python, [("/opt/env/x.py", shared)], before=holding, PYTHONHASHSEED="0")

        assert alone == others, python


def test_byte_code_of_a_set_without_an_order_is_left_out_where_marshal_does_not_sort() -> None:
    """Before 3.11 the place of None in a set follows from an address, which is another one in each process."""
    for python in pythons():
        sorts = _version(Path(python)) >= (3, 11)
        (answer,) = compiled_by(python, [("/x.py", "x in {None, 'a', 'b'}")], PYTHONHASHSEED="0")

        assert answer[:1] == (b"+" if sorts else b"-"), python


def test_it_is_what_python_itself_imports_and_never_holds_against_the_source(tmp_path: Path) -> None:
    """PEP 552: an unchecked one runs although the source was touched; so it must be there for every source or none."""
    place = tmp_path / "demo.py"
    place.write_text("import sys\nVALUE = (__file__, sys._getframe().f_code.co_filename)\ndef f(): 'text'\n")
    data = compiling.compiled(place.read_bytes(), "/opt/env/demo.py")
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / f"demo.{TAG}.pyc").write_bytes(data)
    place.write_text("VALUE = 'the source ran'\n")

    told = subprocess.run(
        [sys.executable, "-S", "-c", "import demo; print(demo.VALUE, demo.f.__doc__, demo.__cached__)"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    ).stdout

    assert "the source ran" not in told
    assert told.split()[-2:] == ["text", str(tmp_path / "__pycache__" / f"demo.{TAG}.pyc")]
    assert data[4:8] == b"\1\0\0\0"
    assert data[:4] == util.MAGIC_NUMBER
    assert marshal.loads(data[16:]).co_filename == "/opt/env/demo.py"


def test_a_wheel_gets_byte_code_that_its_record_names_and_that_proves_nothing_else(tmp_path: Path) -> None:
    """RECORD names it as pip does, without a hash: its digest is still the one that the snapshot knows."""
    wheel = real_wheel("joblib", "1.4.2")
    entries = wheel_entries(wheel, python_xy=XY)
    bytecode = Bytecode(Cache(tmp_path), OURS)
    (made,) = bytecode.added([of_wheel(entries)])

    (before, after) = (
        content(next(each for each in those if each.path.endswith(".dist-info/RECORD"))).decode()
        for those in (entries, made)
    )
    added = {each.path for each in made} - {each.path for each in entries}
    assert record_digest(before) == record_digest(after)
    assert {path: (digest, size) for path, digest, size in record_rows(after) if path.endswith(".pyc")} == {
        path.removeprefix(f"{SITE}/"): ("", "") for path in added
    }
    sources = {each.path for each in entries if each.path.endswith(".py")}
    assert {source_of(path) for path in added} == sources - bytecode.left.keys()
    assert all(each.size_bytes == len(content(each)) for each in made)


def test_the_record_of_what_a_wheel_carries_in_its_own_folders_stays_as_it_is(tmp_path: Path) -> None:
    """setuptools and bleach carry other distributions whole: what these say of themselves is a file of the wheel."""
    inner = b"inner/__init__.py,,\ninner-1.0.dist-info/RECORD,,\n"
    place = "demo/_vendor/inner-1.0.dist-info/RECORD"
    wheel = pack(tmp_path, {"demo/__init__.py": b"", "demo/_vendor/inner/__init__.py": b"a = 1\n", place: inner})

    (held,) = Bytecode(Cache(tmp_path / "cache"), OURS).added([of_wheel(wheel_entries(wheel, python_xy=XY))])

    texts = {entry.path: content(entry) for entry in held if entry.path.endswith("/RECORD")}
    assert texts.pop(f"{SITE}/{place}") == inner
    (own,) = texts.values()
    assert f"demo/_vendor/inner/__pycache__/__init__.{TAG}.pyc,," in own.decode()


def test_what_was_compiled_is_kept_and_what_was_damaged_is_compiled_again(tmp_path: Path) -> None:
    units = [of_wheel(wheel_entries(pack(tmp_path, {"demo/__init__.py": b"VALUE = 1\n"}), python_xy=XY))]
    cache = Cache(tmp_path / "cache")
    (first,) = Bytecode(cache, OURS).added(units)
    whole = {each.path: content(each) for each in first}

    (again,) = Bytecode(cache, OURS).added(units)
    assert {each.path: content(each) for each in again} == whole
    for place in (tmp_path / "cache" / "blobs").rglob("*"):
        if place.is_file():
            place.write_bytes(b"x" * place.stat().st_size)
    (mended,) = Bytecode(cache, OURS).added(units)
    assert {each.path: content(each) for each in mended} == whole


def test_what_is_no_python_is_left_as_it_is_and_named(tmp_path: Path) -> None:
    """Templates and tests of the parser are shipped as `.py`; pip leaves them too."""
    sources = modules(
        {"a/good.py": "x = 1\n", "a/old.py": "print 'python 2'\n", "a/nul.py": b"x = '\0'\n", "a/enc.py": b"\xff"}
    )
    bytecode = Bytecode(Cache(tmp_path), OURS)
    (made,) = bytecode.added([Unit(sources)])

    assert [each.path for each in made if each.path.endswith(".pyc")] == [f"{SITE}/a/__pycache__/good.{TAG}.pyc"]
    assert bytecode.left.keys() == {f"{SITE}/a/{name}.py" for name in ("old", "nul", "enc")}


def test_only_what_the_image_s_python_imports_has_byte_code(tmp_path: Path) -> None:
    paths = [f"{SITE}/a.py", f"usr/lib/python{XY}/b.py", f"opt/python/lib/python{XY}/c.py", "opt/app/d.py"]
    others = ["usr/share/gdb/e.py", "opt/env/bin/f.py", "usr/lib/python2.7/g.py"]
    entries = [Entry(path, "file", 0o644, size_bytes=1, content=b"1") for path in [*paths, *others]]

    (made,) = Bytecode(Cache(tmp_path), OURS).added([Unit(entries)])

    assert sorted(source_of(each.path) for each in made[len(entries) :]) == sorted(paths)


def test_byte_code_that_a_base_ships_gives_way_to_ours(tmp_path: Path) -> None:
    """One path of a layer is one file; and what another made of the source is nothing that the lock says."""
    theirs = Entry(f"{SITE}/__pycache__/a.{TAG}.pyc", "file", 0o644, size_bytes=1, content=b"?")

    (made,) = Bytecode(Cache(tmp_path), OURS).added([Unit([*modules({"a.py": "x = 1\n"}), theirs])])

    (found,) = (each for each in made if each.path == theirs.path)
    assert content(found) != b"?"


def test_a_python_of_the_very_version_on_the_path_compiles(tmp_path: Path) -> None:
    """A Python in which envparity runs need not be that of the image; what is on the PATH is the user's own."""
    folder = tmp_path / "bin"
    folder.mkdir()
    other = next((each for each in pythons() if _version(Path(each)) != sys.version_info[:2]), None)
    if other is None:
        pytest.skip("there is no second Python here")
    xy = "{}.{}".format(*_version(Path(other)))
    version = subprocess.run([other, "-c", "import sys; print(sys.version.split()[0])"], capture_output=True, text=True)
    (folder / f"python{xy}").symlink_to(other)
    source = Entry(f"opt/env/lib/python{xy}/site-packages/a.py", "file", 0o644, size_bytes=5, content=b"x = 1")

    (made,) = Bytecode(Cache(tmp_path / "c"), version.stdout.strip(), path=["", "bin", str(folder)]).added(
        [Unit([source])]
    )

    assert [each.path.rpartition("/")[2] for each in made] == ["a.py", f"a.cpython-{xy.replace('.', '')}.pyc"]


def test_what_a_version_manager_puts_on_the_path_is_asked_once_what_it_starts(tmp_path: Path) -> None:
    """pyenv's scripts take half a second to find a Python, for each of a hundred batches of sources."""
    other = next((each for each in pythons() if _version(Path(each)) != sys.version_info[:2]), None)
    if other is None:
        pytest.skip("there is no second Python here")
    asks = [other, "-c", "import sys; print(sys.version.split()[0])"]
    version = subprocess.run(asks, capture_output=True, text=True, check=True).stdout.strip()
    xy = version.rpartition(".")[0]
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / f"python{xy}"
    script.write_text(f'#!/bin/sh\necho started >> {tmp_path}/log\nexec {other} "$@"\n')
    script.chmod(0o755)
    source = Entry(f"opt/env/lib/python{xy}/site-packages/a.py", "file", 0o644, size_bytes=5, content=b"x = 1")

    (made,) = Bytecode(Cache(tmp_path / "c"), version, path=[str(tmp_path / "bin")]).added([Unit([source])])

    assert len(made) == 2
    assert (tmp_path / "log").read_text() == "started\n"


def test_without_any_python_for_it_the_way_out_is_named(tmp_path: Path) -> None:
    """Left out in silence, an image would start three times as slowly and nobody would know why."""
    source = Entry("opt/env/lib/python3.99/site-packages/a.py", "file", 0o644, size_bytes=5, content=b"x = 1")
    with pytest.raises(UnreachableError, match=r"no Python 3\.99 is here") as caught:
        Bytecode(Cache(tmp_path), "3.99.1", architecture="arm64").added([Unit([source])])

    assert caught.value.status == 3
    assert "install Python 3.99.1" in caught.value.hint
    assert "--bytecode none" in caught.value.hint


def test_a_module_where_we_are_started_is_not_imported_by_the_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`envparity build` is started in a folder of other people's code, which must not run in it."""
    (tmp_path / "importlib").mkdir()
    (tmp_path / "importlib" / "__init__.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    shutil.copy(tmp_path / "importlib" / "__init__.py", tmp_path / "marshal.py")
    monkeypatch.chdir(tmp_path)

    Bytecode(Cache(tmp_path / "cache"), OURS).added([Unit(modules({"a.py": "x = 1\n"}))])

    assert not (tmp_path / "ran").exists()
    assert list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("a/__pycache__/b.cpython-311.pyc", "a/b.py"),
        ("a/__pycache__/b.c.cpython-311.pyc", "a/b.c.py"),
        ("__pycache__/b.cpython-311.pyc", "b.py"),
        ("a/b.pyc", "a/b.pyc"),
        ("a/b.py", "a/b.py"),
    ],
)
def test_the_source_of_byte_code_is_told_by_its_path(path: str, source: str) -> None:
    assert source_of(path) == source
