"""What may be left out of a conda package: the rules of wheels, in a prefix, and nothing that anything else needs."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import msgspec
import pytest

from envparity.cache import Cache
from envparity.collectors.records import Record, record_rows
from envparity.image import conda
from envparity.image.bytecode import Bytecode
from envparity.image.contents import Supplies
from envparity.image.stripping import KINDS, PLACE
from envparity.oci.entries import Entry
from envparity.values import BroughtDistribution, PlannedLayer, Step
from tests import condas
from tests.image.test_bytecode import OURS, XY
from tests.image.test_conda import made
from tests.values import a_conda_lock
from tests.wheels import content

SITE = "lib/python3.11/site-packages"
DEMO: Mapping[str, bytes] = {
    f"{SITE}/demo/__init__.py": b"from demo import core\n",
    f"{SITE}/demo/core.py": b"from .used.tests import helper\n",
    f"{SITE}/demo/tests/__init__.py": b"",
    f"{SITE}/demo/tests/test_core.py": b"from demo import core\n",
    f"{SITE}/demo/tests/data, more.csv": b"1,2\n",
    f"{SITE}/demo/used/tests/helper.py": b"VALUE = 1\n",
    f"{SITE}/demo/used/tests/test_used.py": b"",
    f"{SITE}/demo/docs/index.rst": b"Words\n",
    f"{SITE}/demo/docs/LICENSE.txt": b"MIT\n",
    "lib/libdemo.a": b"!<arch>\nobjects",
    "lib/debug/libdemo.so.debug": b"\x7fELF and symbols",
    "lib/list.lib": b"a list of something\n",
    "lib/R/library/demo/tests/test_that.py": b"1\n",
    "lib/node_modules/demo/docs/index.js": b"module.exports = 1\n",
    "share/doc/demo/index.html": b"<p>Words</p>\n",
    "share/doc/demo/COPYING": b"GPL\n",
    "share/man/man1/demo.1": b".TH DEMO\n",
}
LEFT = {
    f"{SITE}/demo/tests/__init__.py": "tests",
    f"{SITE}/demo/tests/test_core.py": "tests",
    f"{SITE}/demo/tests/data, more.csv": "tests",
    f"{SITE}/demo/docs/index.rst": "docs",
    "lib/libdemo.a": "static",
    "lib/debug/libdemo.so.debug": "debug",
    "share/doc/demo/index.html": "docs",
    "share/man/man1/demo.1": "docs",
}
INFO = f"{SITE}/demo-1.0.dist-info"


def recorded(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The same, with the metadata of a distribution whose RECORD lists what lies in site-packages, byte code too."""
    modules = [path for path in files if path.startswith(f"{SITE}/")]
    lines = [f'"{path.removeprefix(f"{SITE}/")}",sha256=x,{len(files[path])}\n' for path in modules]
    lines += ["demo/tests/__pycache__/test_core.cpython-311.pyc,,\n", "demo/__pycache__/core.cpython-311.pyc,,\n"]
    lines += ["demo-1.0.dist-info/METADATA,,\n", "demo-1.0.dist-info/RECORD,,\n"]
    return {
        **files,
        f"{INFO}/METADATA": b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n",
        f"{INFO}/RECORD": "".join(lines).encode(),
    }


def entries(package: Path, strip: Collection[str] = (), *, name: str = "demo") -> dict[str, Entry]:
    item = condas.locked(package, name=name)
    found = conda.package_entries(item, package, conda.Spool(), python_xy="3.11", strip=strip)
    sizes = conda.unserved(item, package, python_xy="3.11")
    whole = {entry.path: entry for entry in conda.package_entries(item, package, conda.Spool(), python_xy="3.11")}
    if set(strip) == set(KINDS):
        gone = whole.keys() - {entry.path for entry in found}
        assert sum(sizes.values()) == sum(whole[path].size_bytes for path in gone), "the plan says what the build does"
    return {entry.path: entry for entry in found}


def packed(
    folder: Path, files: Mapping[str, bytes], *, name: str = "demo", points: Sequence[str] | None = None
) -> Path:
    condas.package(folder, name, "1.0", files, entry_points=points)
    return folder / f"{name}-1.0-h1_0.conda"


def gone(package: Path, strip: Collection[str] = KINDS, *, name: str = "demo") -> set[str]:
    return {
        path.removeprefix("opt/env/")
        for path in entries(package, name=name).keys() - entries(package, strip, name=name).keys()
    }


def test_what_anything_else_needs_or_is_of_another_language_stays(tmp_path: Path) -> None:
    """R and Node load what lies in folders that are called `tests` and `docs`; nobody looks into their code."""
    assert gone(packed(tmp_path, DEMO)) == set(LEFT)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_left_out_by_its_name_alone(tmp_path: Path, kind: str) -> None:
    assert gone(packed(tmp_path, DEMO), [kind]) == {place for place, each in LEFT.items() if each == kind}


@pytest.mark.parametrize(
    ("path", "data"),
    [
        (f"{SITE}/demo/more.py", b"from demo.tests import test_core\n"),
        ("bin/demo-test", b"#!/opt/x/bin/python3.11\nfrom demo.tests.test_core import main\n"),
        (f"{SITE}/demo-1.0-py3.11.egg-info/entry_points.txt", b"[console_scripts]\nx = demo.tests.test_core:main\n"),
        (f"{SITE}/demo-1.0.dist-info/entry_points.txt", b"[console_scripts]\nx = demo.tests.test_core:main\n"),
    ],
)
def test_tests_that_a_module_a_script_or_a_list_of_entry_points_names_stay(
    tmp_path: Path, path: str, data: bytes
) -> None:
    assert gone(packed(tmp_path, {**DEMO, path: data}), ["tests"]) == set()


def test_tests_that_an_entry_point_of_the_package_itself_names_stay(tmp_path: Path) -> None:
    """A package for every Python says its entry points in `info/link.json`, and need not have them in a file."""
    files = {"site-packages/demo/tests/test_core.py": b"def main(): pass\n", "site-packages/demo/__init__.py": b""}

    named = packed(tmp_path / "named", files, points=["demo-test = demo.tests.test_core:main"])
    other = packed(tmp_path / "other", files, points=["demo = demo:main"])

    assert (gone(named), gone(other)) == (set(), {f"{SITE}/demo/tests/test_core.py"})


def test_nothing_that_a_link_leads_to_is_left_out_unless_the_link_is_too(tmp_path: Path) -> None:
    package = made(
        tmp_path,
        [
            ("lib/libdemo.a", b"!<arch>\n"),
            ("lib/libdemo-1.a", "libdemo.a"),
            ("lib/libother.a", b"!<arch>\n"),
            ("lib/chosen", "libother.a"),
            ("share/doc/demo/notes.txt", b"Words\n"),
            ("share/doc/more/notes.txt", b"Words\n"),
            ("share/demo", "doc/demo"),
            ("lib/gone.a", "../nowhere.a"),
        ],
    )

    assert gone(package) == {"lib/libdemo.a", "lib/libdemo-1.a", "share/doc/more/notes.txt"}


def test_the_records_list_what_is_there_and_the_sheets_lead_back_to_the_whole(tmp_path: Path) -> None:
    """The digest of the training's RECORD must be reachable, or no snapshot could prove the files that are left."""
    package = packed(tmp_path, recorded(DEMO))
    whole, some = entries(package), entries(package, KINDS)
    kept = content(some[f"opt/env/{INFO}/RECORD"]).decode()
    of_distribution = content(some[f"{PLACE}/demo-1.0.csv"]).decode()
    of_package = content(some[f"{PLACE}/demo-1.0-h1_0.csv"]).decode()
    said = json.loads(content(some["opt/env/conda-meta/demo-1.0-h1_0.json"]))

    assert Record(kept + of_distribution).digest() == Record(content(whole[f"opt/env/{INFO}/RECORD"]).decode()).digest()
    assert "test_core" not in kept
    assert "core.cpython-311.pyc" in kept
    assert {f"{SITE}/{row[0]}" for row in record_rows(of_distribution)} == {
        place for place in LEFT if place.startswith(SITE)
    }
    assert [row[0] for row in record_rows(of_package)] == sorted(place for place in LEFT if not place.startswith(SITE))
    digest = base64.urlsafe_b64encode(hashlib.sha256(b"\x7fELF and symbols").digest()).decode().rstrip("=")
    assert record_rows(of_package)[0] == ("lib/debug/libdemo.so.debug", f"sha256={digest}", "16")
    assert sorted(f"opt/env/{path}" for path in said["files"]) == sorted(
        path for path in some if path.startswith("opt/env/") and "/conda-meta/" not in path
    )


def test_an_interpreter_stays_whole_and_a_package_without_any_of_it_is_what_it_was(tmp_path: Path) -> None:
    plain = packed(tmp_path / "plain", {"lib/libdemo.so": b"x"})
    old, new = entries(plain), entries(plain, KINDS)

    assert [(path, content(entry)) for path, entry in old.items()] == [
        (path, content(entry)) for path, entry in new.items()
    ]
    assert gone(packed(tmp_path, {"lib/libpython3.11.a": b"!<arch>\n"}, name="python"), name="python") == set()


def test_byte_code_in_the_cache_is_of_just_the_modules_that_are_there(tmp_path: Path) -> None:
    """One file of a channel is in many environments: whole, without its tests, or with what pip replaced of it."""
    files = recorded({f"{SITE}/demo/__init__.py": b"x = 1\n", f"{SITE}/demo/tests/test_core.py": b"y = 1\n"})
    package = packed(tmp_path, {path.replace("3.11", XY): data for path, data in files.items()})
    demo = BroughtDistribution(name="demo", version="1.0")
    cache = Cache(tmp_path / "cache")

    def compiled(*, strip: tuple[str, ...] = (), replaced: tuple[BroughtDistribution, ...] = ()) -> set[str]:
        lock = a_conda_lock(
            name="demo", version="1.0", file_name=package.name, url=f"x/{package.name}", replaced=replaced
        )
        (target,) = lock.targets
        found = msgspec.structs.replace(target.interpreter, kind="conda", version=OURS)
        supplies = Supplies(
            lock,
            msgspec.structs.replace(target, interpreter=found),
            b"",
            {target.conda_packages[0].sha256: package},
            strip=strip,
            bytecode=Bytecode(cache, OURS),
        )
        layer = PlannedLayer(step=Step.CONDA, title="", inputs=("", "", target.conda_packages[0].sha256, ""))
        return {
            entry.path.rpartition("/")[2].partition(".")[0] for entry in supplies.entries(layer) if ".pyc" in entry.path
        }

    assert compiled() == {"__init__", "test_core"}
    assert compiled(strip=("tests",)) == {"__init__"}
    assert compiled(replaced=(demo,)) == set()
    assert compiled() == {"__init__", "test_core"}
