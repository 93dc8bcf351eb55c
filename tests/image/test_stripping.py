"""What may be left out of a wheel: what serves nobody, by names and content, and nothing that anything else imports."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from envparity.collectors.records import Record
from envparity.errors import RefusedError, UsageError
from envparity.image import stripping, zips
from envparity.image.stripping import KINDS, PLACE
from envparity.image.wheels import wheel_entries
from envparity.values import Artifact
from tests.wheels import content, pack

SITE = "opt/env/lib/python3.11/site-packages"
DEMO: Mapping[str, bytes] = {
    "demo/__init__.py": b"from demo import core\n",
    "demo/core.py": b"from .used.tests import helper\n",
    "demo/tests/__init__.py": b"",
    "demo/tests/test_core.py": b"from demo import core\n",
    "demo/tests/data/values.csv": b"1,2\n",
    "demo/conftest.py": b"import pytest\n",
    "demo/used/tests/helper.py": b"from demo.further.test.test_more import VALUE\n",
    "demo/used/tests/test_used.py": b"",
    "demo/further/test/test_more.py": b"VALUE = 1\n",
    "demo/test/client.py": b"# for those who write tests\n",
    "demo/docs/index.rst": b"Words\n",
    "demo/docs/LICENSE.txt": b"MIT\n",
    "demo/modules/docs/__init__.py": b"",
    "demo/lib/libdemo.a": b"!<arch>\nobjects",
    "demo/lib/list.lib": b"a list of something\n",
    "demo/lib/libdemo.so.debug": b"\x7fELF and symbols",
    "demo/lib/1abc.pdb": b"HEADER    A PROTEIN\n",
    "demo-1.0.data/data/share/man/man1/demo.1": b".TH DEMO\n",
    "demo-1.0.dist-info/tests/notes.md": b"",
}
LEFT = {
    "tests": {"demo/tests/__init__.py", "demo/tests/test_core.py", "demo/tests/data/values.csv", "demo/conftest.py"},
    "docs": {"demo/docs/index.rst", "demo-1.0.data/data/share/man/man1/demo.1"},
    "static": {"demo/lib/libdemo.a"},
    "debug": {"demo/lib/libdemo.so.debug"},
}


def of_kinds(wheel: Path) -> dict[str, set[str]]:
    found = stripping.found(zips.members(wheel))
    return {kind: {name for name, each in found.items() if each == kind} for kind in KINDS}


def test_what_anything_else_needs_or_only_looks_the_part_stays(tmp_path: Path) -> None:
    """Tests that a module imports, what these import, packages for testing, licences, proteins, other files `.lib`."""
    assert of_kinds(pack(tmp_path, DEMO)) == LEFT


@pytest.mark.parametrize(
    "line",
    [
        b"import demo.tests.test_core as it",
        b"from demo import (\n    core,\n    tests,\n)",
        b"from . import tests",
        b"from .tests.test_core import *",
        b"    from demo.tests import test_core",
        b"run('demo.tests.test_core')",
    ],
)
def test_tests_that_are_imported_in_any_way_stay(tmp_path: Path, line: bytes) -> None:
    wheel = pack(tmp_path, {**DEMO, "demo/more.py": b"x = 1\n" + line + b"\n"})

    assert of_kinds(wheel)["tests"] == {"demo/conftest.py"}


def test_a_list_of_entry_points_keeps_the_tests_that_it_names(tmp_path: Path) -> None:
    points = b"[console_scripts]\ndemo-test = demo.tests.test_core:main\n"

    assert of_kinds(pack(tmp_path, {**DEMO, "demo-1.0.dist-info/entry_points.txt": points}))["tests"] == {
        "demo/conftest.py"
    }


def test_what_is_left_out_is_neither_there_nor_in_record_and_its_rows_lead_back_to_the_whole(tmp_path: Path) -> None:
    """The digest of the training's RECORD must be reachable, or no snapshot could prove the files that are left."""
    wheel = pack(tmp_path, DEMO)
    whole = {entry.path: entry for entry in wheel_entries(wheel)}
    some = {entry.path: entry for entry in wheel_entries(wheel, strip=KINDS)}
    note = f"{PLACE}/demo-1.0.csv"
    record = f"{SITE}/demo-1.0.dist-info/RECORD"
    kept, left = content(some[record]).decode(), content(some[note]).decode()

    gone = {path for path in whole if path.endswith(tuple(name for names in LEFT.values() for name in names))}
    assert whole.keys() - some.keys() == gone | {"opt/env/share/man/man1/demo.1"}
    assert some.keys() - whole.keys() == {note}
    assert {path.removeprefix(f"{SITE}/") for path in gone} <= {line.split(",")[0] for line in left.splitlines()}
    assert not {line.split(",")[0] for line in left.splitlines()} & {line.split(",")[0] for line in kept.splitlines()}
    assert Record(kept + left).digest() == Record(content(whole[record]).decode()).digest()


def test_a_wheel_without_any_of_it_is_what_it_was(tmp_path: Path) -> None:
    wheel = pack(tmp_path, {"demo/__init__.py": b""})

    plain, stripped = wheel_entries(wheel), wheel_entries(wheel, strip=KINDS)
    assert [(entry.path, content(entry)) for entry in plain] == [(entry.path, content(entry)) for entry in stripped]


def test_what_a_person_asks_for_has_one_order_and_no_other_words() -> None:
    assert stripping.chosen("docs,tests") == stripping.chosen("docs", tests=True) == ("tests", "docs")
    assert stripping.chosen("all") == KINDS
    assert stripping.chosen(None) == ()
    with pytest.raises(UsageError, match="got `test`"):
        stripping.chosen("test")


def test_tests_that_a_model_refers_to_are_not_left_out() -> None:
    model = Artifact(name="m", kind="model", size_bytes=1, sha256="0" * 64, classes=("demo.tests.helpers:Scaler",))

    stripping.require_kept({"m": model}, ("docs",))
    with pytest.raises(RefusedError, match=r"demo\.tests\.helpers"):
        stripping.require_kept({"m": model}, ("tests",))
