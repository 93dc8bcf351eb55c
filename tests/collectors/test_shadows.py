"""Whose file an import finds, and what lies where no import finds it."""

import io
import zipfile

import pytest

from envparity.collectors.distributions import distributions
from envparity.collectors.vendored import pins

EARLY = "/early"
SITE = "/env/lib/python3.11/site-packages"
NUMPY = {
    f"{SITE}/numpy-1.26.4.dist-info/METADATA": b"Name: numpy\nVersion: 1.26.4\n\n",
    f"{SITE}/numpy-1.26.4.dist-info/RECORD": b"numpy/__init__.py,sha256=A,1000\nnumpy/core/x.py,sha256=B,1\n",
    f"{SITE}/numpy/__init__.py": b"",
}


def observed(tree, *folders, **more):
    facts = list(distributions(tree, folders or [EARLY, SITE], **more))
    found = {fact["name"]: fact for fact in facts if fact["kind"] == "distribution" and not fact.get("vendored_in")}
    gaps = [(fact["gap"], fact["item"], fact["reason"]) for fact in facts if fact["kind"] == "gap"]
    return found, gaps, facts


@pytest.mark.parametrize(
    ("planted", "wins"),
    [
        ("numpy.py", "numpy.py"),
        ("numpy/__init__.py", "numpy/__init__.py"),
        ("numpy/__init__.cpython-311-x86_64-linux-gnu.so", "numpy/__init__.cpython-311-x86_64-linux-gnu.so"),
        ("numpy.abi3.so", "numpy.abi3.so"),
        ("numpy/data.txt", None),
        ("numpy.txt", None),
        ("libnumpy.so", None),
    ],
)
def test_a_plain_file_or_folder_earlier_on_the_path_shadows_the_distribution(tree_of, planted, wins):
    """A numpy beside the script is what was imported, whatever version the metadata names."""
    found, gaps, _ = observed(tree_of(dict(NUMPY, **{f"{EARLY}/{planted}": b""})))

    assert found["numpy"]["shadowed"] is (wins is not None)
    reason = f"an import of `numpy` finds {EARLY}/{wins}, and not the one that this distribution brought"
    assert gaps == ([("not-recorded", "numpy", reason)] if wins else [])


def test_what_lies_later_on_the_path_shadows_nothing(tree_of):
    found, gaps, _ = observed(tree_of(dict(NUMPY, **{f"{EARLY}/numpy.py": b""})), SITE, EARLY)

    assert (found["numpy"]["shadowed"], gaps) == (False, [])


def test_a_package_beside_a_module_of_its_name_wins(tree_of):
    """https://docs.python.org/3/reference/import.html: in one folder the package is found first."""
    six = {
        f"{SITE}/six-1.16.0.dist-info/METADATA": b"Name: six\nVersion: 1.16.0\n\n",
        f"{SITE}/six-1.16.0.dist-info/RECORD": b"six.py,sha256=A,1\n",
        f"{SITE}/six.py": b"",
    }

    assert not observed(tree_of(six))[0]["six"]["shadowed"]
    assert observed(tree_of(dict(six, **{f"{SITE}/six/__init__.py": b""})))[0]["six"]["shadowed"]
    assert not observed(tree_of(dict(six, **{f"{SITE}/six/data": b""})))[0]["six"]["shadowed"]


def test_a_distribution_that_loses_one_of_its_modules_still_counts_and_the_loss_is_named(tree_of):
    record = b"numpy/__init__.py,sha256=A,1000\nother.py,sha256=B,1\n"
    tree = tree_of(dict(NUMPY, **{f"{SITE}/numpy-1.26.4.dist-info/RECORD": record, f"{EARLY}/other.py": b""}))
    found, gaps, _ = observed(tree)

    assert not found["numpy"]["shadowed"]
    assert [(item, "`other`" in reason) for _, item, reason in gaps] == [("numpy", True)]


def test_a_namespace_package_is_shared_and_only_the_same_part_of_it_shadows(tree_of):
    files = {
        f"{SITE}/protobuf-5.0.dist-info/METADATA": b"Name: protobuf\nVersion: 5.0\n\n",
        f"{SITE}/protobuf-5.0.dist-info/RECORD": b"google/protobuf/__init__.py,sha256=A,1000\n",
    }
    beside = tree_of(dict(files, **{f"{EARLY}/google/cloud/__init__.py": b""}))
    same = tree_of(dict(files, **{f"{EARLY}/google/protobuf/__init__.py": b""}))
    whole = tree_of(dict(files, **{f"{EARLY}/google/__init__.py": b""}))

    assert observed(beside)[0]["protobuf"]["import_names"] == ["google.protobuf"]
    assert [observed(tree)[0]["protobuf"]["shadowed"] for tree in (beside, same, whole)] == [False, True, True]


def test_the_copies_inside_setuptools_and_pip_are_facts_and_no_import_finds_them(tree_of):
    tree = tree_of(
        {
            f"{SITE}/setuptools-70.dist-info/METADATA": b"Name: setuptools\nVersion: 70\n\n",
            f"{SITE}/setuptools-70.dist-info/RECORD": (
                b"setuptools/__init__.py,sha256=A,1000\n"
                b"setuptools/_vendor/wheel-0.43.0.dist-info/METADATA,sha256=B,1\n"
                b"setuptools/_vendor/gone-1.dist-info/METADATA,sha256=B,1\n"
                b"setuptools/_vendor/torn-1.dist-info/METADATA,sha256=B,1\n"
            ),
            f"{SITE}/setuptools/_vendor/wheel-0.43.0.dist-info/METADATA": b"Name: wheel\nVersion: 0.43.0\n\n",
            f"{SITE}/setuptools/_vendor/torn-1.dist-info/METADATA": b"",
            f"{SITE}/pip-24.egg-info/PKG-INFO": b"Name: pip\nVersion: 24\n\n",
            f"{SITE}/pip-24.egg-info/top_level.txt": b"pip\n",
            f"{SITE}/pip/_vendor/vendor.txt": b"# pins\nrequests==2.31.0\n    urllib3==1.26.18  # why\n-e nothing\n",
        }
    )
    _, gaps, facts = observed(tree, SITE)
    inside = [fact for fact in facts if fact["kind"] == "distribution" and fact.get("vendored_in")]

    assert [(fact["vendored_in"], fact["name"], fact["version"]) for fact in inside] == [
        ("pip", "requests", "2.31.0"),
        ("pip", "urllib3", "1.26.18"),
        ("setuptools", "wheel", "0.43.0"),
    ]
    assert [(kind, item.rsplit("/", 1)[1]) for kind, item, _ in gaps] == [("unread", "torn-1.dist-info")]


def test_pins_are_names_and_versions_and_nothing_else_is_one():
    assert list(pins("a_B[x]==1.0 ; python_version<'4'\n==2\nc>=1\nd== \n\n")) == [("a-b", "1.0")]


def zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in members.items():
            archive.writestr("EGG-INFO/" + name.replace("__", "."), text)
    return buffer.getvalue()


def test_a_zipped_egg_is_opened_as_far_as_its_metadata(tree_of):
    egg = f"{SITE}/Old-1.0-py3.11.egg"
    data = zipped(**{"PKG-INFO": "Name: Old\nVersion: 1.0.post2\n", "top_level.txt": "old\nnot-a-name\n"})
    found, gaps, _ = observed(tree_of({egg: data}), SITE, egg)

    assert (found["old"]["version"], found["old"]["form"]) == ("1.0.post2", "egg")
    assert found["old"]["import_names"] == ["old"]
    assert (found["old"]["shadowed"], gaps) == (False, [])


@pytest.mark.parametrize(
    "data",
    [b"", b"PK", zipped(other=""), zipped(**{"PKG-INFO": "x"})[:-10]],
    ids=["empty", "two bytes", "without metadata", "cut"],  # its bytes hold the time
)
def test_an_egg_that_cannot_be_opened_is_what_its_name_says(tree_of, data):
    found, gaps, _ = observed(tree_of({f"{SITE}/Old-1.0-py3.11.egg": data}), SITE)

    assert found["old"]["version"] == "1.0"
    assert found["old"]["shadowed"]
    assert gaps == [("not-recorded", "old", "no entry of the path names it: an import cannot find it")]


EDITABLE = {
    f"{SITE}/x-1.dist-info/METADATA": b"Name: x\nVersion: 1\n\n",
    f"{SITE}/x-1.dist-info/direct_url.json": b'{"url": "file:///src/x", "dir_info": {"editable": true}}',
}


def test_an_editable_installation_by_path_provides_the_packages_of_its_folder(tree_of):
    files = {
        f"{SITE}/x-1.dist-info/RECORD": b"_x.pth,sha256=A,1\n",
        f"{SITE}/_x.pth": b"/src/x\n",
        "/src/x/xlib/__init__.py": b"",
        "/src/x/docs/index.md": b"",
    }
    found, _, _ = observed(tree_of(dict(EDITABLE, **files)), SITE)

    assert (found["x"]["import_names"], found["x"]["editable"], "startup" in found["x"]) == (["xlib"], True, False)


def test_an_editable_installation_by_finder_provides_what_it_maps_and_runs_code_at_start(tree_of):
    files = {
        f"{SITE}/x-1.dist-info/RECORD": b"__editable__.x-1.pth,sha256=A,1\n__editable___x_1_finder.py,sha256=B,1\n",
        f"{SITE}/__editable__.x-1.pth": b"import __editable___x_1_finder; __editable___x_1_finder.install()",
        f"{SITE}/__editable___x_1_finder.py": b"MAPPING: dict[str, str] = {'xlib': '/src/x/xlib', 'xtra': '/y'}\n",
    }
    found, _, facts = observed(tree_of(dict(EDITABLE, **files)), SITE)

    assert (found["x"]["import_names"], found["x"]["startup"]) == (["xlib", "xtra"], True)
    assert [fact for fact in facts if fact["kind"] == "python"] == []


def test_groups_of_entry_points_that_others_load_are_named_and_scripts_are_not(tree_of):
    files = {
        f"{SITE}/x-1.dist-info/METADATA": b"Name: x\nVersion: 1\n\n",
        f"{SITE}/x-1.dist-info/entry_points.txt": b"[console_scripts]\nx=x:y\n[pytest11]\nx = x\n\n[mlflow.request]\n",
    }

    assert observed(tree_of(files), SITE)[0]["x"]["plugins"] == ["mlflow.request", "pytest11"]


def test_code_at_start_is_of_the_distribution_that_brought_it_or_of_nobody(tree_of):
    files = {
        f"{SITE}/x-1.dist-info/METADATA": b"Name: x\nVersion: 1\n\n",
        f"{SITE}/x-1.dist-info/RECORD": b"x.pth,sha256=A,1\n",
        f"{SITE}/x.pth": b"import x\n",
        f"{SITE}/plain.pth": b"/src\n",
        f"{SITE}/planted.pth": b"import os; os.remove('x')\n",
        f"{SITE}/sitecustomize.py": b"",
        f"{SITE}/_virtualenv.pth": b"import _virtualenv",
    }
    found, _, facts = observed(tree_of(files), SITE)

    assert found["x"]["startup"] is True
    assert [fact["planted"] for fact in facts if fact["kind"] == "python"] == [["planted.pth", "sitecustomize.py"]]


def test_files_that_were_added_are_those_of_nobody_else(tree_of):
    files = dict(
        NUMPY,
        **{
            f"{SITE}/numpy/core/x.py": b"",
            f"{SITE}/numpy/core/planted.py": b"",
            f"{SITE}/numpy/__pycache__/x.cpython-311.pyc": b"",
            f"{SITE}/numpy-1.26.4.dist-info/REQUESTED": b"",
            f"{SITE}/stray/native.so": b"\x7fELF",
            f"{SITE}/stray.py": b"",
            f"{SITE}/_virtualenv.py": b"",
        },
    )
    found, gaps, facts = observed(tree_of(files), SITE, verify=True)

    assert found["numpy"]["added"] == ["numpy/core/planted.py"]
    assert [(fact["name"], fact["owner"], fact["path"]) for fact in facts if fact["kind"] == "native-library"] == [
        ("native.so", "", f"{SITE}/stray/native.so")
    ]
    assert ("not-recorded", SITE, "2 files that no distribution owns: stray.py, stray/native.so") in gaps


def test_of_hundreds_of_distributions_none_hides_another(tree_of):
    files = {f"{SITE}/p{number}-1.dist-info/METADATA": b"Name: p%d\nVersion: 1\n\n" % number for number in range(300)}
    files[f"{SITE}/p7-1.dist-info/METADATA"] = b""
    found, gaps, _ = observed(tree_of(files), SITE)

    assert len(found) == 299
    assert [item for _, item, _ in gaps] == [f"{SITE}/p7-1.dist-info"]
