"""Installed distributions, whole and damaged. The numbers are those of the list of faults, group A."""

import base64
import hashlib
import os
import shutil
import sys
from pathlib import Path

import pytest

from envparity.collectors.distributions import distributions
from envparity.collectors.metadata import normalised_name
from envparity.collectors.records import import_names, normalised_record, record_digest, record_rows, unowned
from envparity.collectors.tree import LocalTree
from envparity.collectors.verification import check_files, verify_files

SITE = "/env/lib/python3.11/site-packages"
METADATA = b"Metadata-Version: 2.1\nName: %s\nVersion: %s\n\nA description.\nName: not this one\n"


def metadata(name="numpy", version="1.26.4"):
    return METADATA % (name.encode(), version.encode())


def hashed(data, algorithm="sha256"):
    digest = base64.urlsafe_b64encode(hashlib.new(algorithm, data).digest()).rstrip(b"=")
    return f"{algorithm}={digest.decode()}"


def row(path, data):
    return f"{path},{hashed(data)},{len(data)}\n"


def observed(tree, *folders, **more):
    facts = list(distributions(tree, folders or [SITE], **more))
    assert facts[-1] == {"kind": "section", "section": "distributions"}
    found = [fact for fact in facts if fact["kind"] == "distribution"]
    gaps = {(gap["item"].rsplit("/", 1)[-1], gap["gap"]): gap["reason"] for gap in facts if gap["kind"] == "gap"}
    return found, gaps


def versions(found):
    return [(fact["name"], fact["version"]) for fact in found]


def test_a_wheel_that_pip_installed_is_observed_with_everything_it_left(tree_of):
    files = {
        "METADATA": (
            b"Metadata-Version: 2.1\r\nName: Scikit_Learn\r\nVersion: 1.4.2\r\nRequires-Python: >=3.9\r\n"
            b'Requires-Dist: numpy>=1.19.5\r\nRequires-Dist: pytest; extra == "tests"\r\n\r\nBody\r\n'
        ),
        "INSTALLER": b"pip\n",
        "REQUESTED": b"",
        "WHEEL": (
            b"Wheel-Version: 1.0\nTag: cp311-cp311-manylinux_2_17_x86_64\n"
            b"Tag: cp311-cp311-manylinux2014_x86_64\nBuild: 2\n"
        ),
        "RECORD": b"sklearn/__init__.py,sha256=AAA,10\nscikit_learn-1.4.2.dist-info/RECORD,,\n",
    }
    tree = tree_of({f"{SITE}/scikit_learn-1.4.2.dist-info/{name}": data for name, data in files.items()})
    (fact,), gaps = observed(tree)

    assert gaps == {}
    assert fact == {
        "kind": "distribution",
        "name": "scikit-learn",
        "version": "1.4.2",
        "form": "dist-info",
        "location": f"{SITE}/scikit_learn-1.4.2.dist-info",
        "installer": "pip",
        "requested": True,
        "requires": ["numpy>=1.19.5", 'pytest; extra == "tests"'],
        "requires_python": ">=3.9",
        "wheel_tags": ["cp311-cp311-manylinux2014_x86_64", "cp311-cp311-manylinux_2_17_x86_64"],
        "wheel_build": "2",
        "record_sha256": hashlib.sha256(b"sklearn/__init__.py,sha256=AAA,10\n").hexdigest(),
        "import_names": ["sklearn"],
        "shadowed": False,
    }


def test_a1_a_leftover_beside_a_good_one_is_listed_and_confuses_nothing(tree_of):
    tree = tree_of(
        {
            f"{SITE}/numpy-1.25.0.dist-info/REQUESTED": b"",
            f"{SITE}/numpy-1.26.4.dist-info/METADATA": metadata(),
            f"{SITE}/scipy-1.0.dist-info/REQUESTED": b"",
        }
    )
    found, gaps = observed(tree)

    assert versions(found) == [("numpy", "1.26.4")]
    assert gaps == {
        ("numpy-1.25.0.dist-info", "not-recorded"): "leftover: no metadata in it, and the project has another",
        ("scipy-1.0.dist-info", "unread"): "it has no METADATA",
    }


def test_a2_of_two_whole_sets_of_metadata_record_tells_which_files_are_there(tree_of):
    code = b"version = '1.26.4'\n"
    tree = tree_of(
        {
            f"{SITE}/numpy/version.py": code,
            f"{SITE}/numpy-1.25.0.dist-info/METADATA": metadata(version="1.25.0"),
            f"{SITE}/numpy-1.25.0.dist-info/RECORD": row("numpy/version.py", b"other").encode(),
            f"{SITE}/numpy-1.26.4.dist-info/METADATA": metadata(),
            f"{SITE}/numpy-1.26.4.dist-info/RECORD": row("numpy/version.py", code).encode(),
        }
    )
    found, gaps = observed(tree)

    assert [(fact["version"], fact["shadowed"]) for fact in found] == [("1.25.0", True), ("1.26.4", False)]
    assert gaps == {}


def test_a2_where_record_does_not_tell_neither_is_believed(tree_of):
    names = ("1.25.0", "1.26.4")
    tree = tree_of({f"{SITE}/numpy-{text}.dist-info/METADATA": metadata(version=text) for text in names})
    found, gaps = observed(tree)

    assert len(found) == 2
    assert list(gaps) == [("numpy", "unread")]


def test_a3_the_earlier_folder_shadows_the_later_one(tree_of):
    later = "/usr/lib/python3/dist-packages"
    tree = tree_of(
        {
            f"{SITE}/numpy-1.26.4.dist-info/METADATA": metadata(),
            f"{later}/numpy-1.24.2.egg-info/PKG-INFO": metadata(version="1.24.2"),
            f"{later}/numpy-1.24.2.egg-info/top_level.txt": b"numpy\n",
        }
    )
    found, _ = observed(tree, SITE, later)

    assert [(fact["version"], fact["form"], fact["shadowed"]) for fact in found] == [
        ("1.26.4", "dist-info", False),
        ("1.24.2", "egg-info", True),
    ]
    assert found[1]["import_names"] == ["numpy"]


def test_a4_to_a7_broken_metadata_is_named_and_the_others_are_still_read(tree_of):
    bad = {
        "latin-1.0": b"Name: latin\nVersion: 1.0\nAuthor: Andr\xe9\n\n",
        "empty-1.0": b"",
        "continued-1.0": b"  a continuation first\nName: continued\nVersion: 1.0\n",
        "bodyonly-1.0": b"\nName: bodyonly\nVersion: 1.0\n",
        "nameless-1.0": b"Version: 1.0\n\n",
        "versionless-1.0": b"Name: versionless\n\n",
        "blank-1.0": b"Name: blank\nVersion:\n\n",
        "liar-1.0": b"Name: liar\nVersion: 9.9\n\n",
        "pytz-2004d": b"Name: pytz\nVersion: 2004d\n\n",
        "beta-2.0.0b1": b"Name: beta\nVersion: 2.0.0-beta1\n\n",
        "twice-1.0": b"Name: twice\nName: thrice\nVersion: 1.0\n\n",
    }
    tree = tree_of({f"{SITE}/{name}.dist-info/METADATA": data for name, data in bad.items()})
    found, gaps = observed(tree)

    assert versions(found) == [
        ("beta", "2.0.0-beta1"),
        ("latin", "1.0"),
        ("liar", "9.9"),
        ("pytz", "2004d"),
        ("twice", "1.0"),
    ]
    assert {(item.split("-")[0], kind): reason for (item, kind), reason in gaps.items()} == {
        ("blank", "unread"): "its metadata has no Version",
        ("bodyonly", "unread"): "its metadata does not start with a header",
        ("continued", "unread"): "its metadata does not start with a header",
        ("empty", "unread"): "its metadata is empty",
        ("latin", "not-recorded"): "its metadata is not UTF-8; read as Latin-1",
        ("liar", "not-recorded"): "its folder's name disagrees with its metadata (liar 9.9), which is used",
        ("nameless", "unread"): "its metadata has no Name",
        ("versionless", "unread"): "its metadata has no Version",
    }


def test_a8_long_metadata_is_read_up_to_its_end_of_headers_and_to_a_limit(tree_of):
    many = b"".join(b"Requires-Dist: p%d\n" % number for number in range(100_000))
    tree = tree_of(
        {
            f"{SITE}/many-1.dist-info/METADATA": b"Name: many\nVersion: 1\n" + many + b"\n" + b"x" * (5 << 20),
            f"{SITE}/endless-1.dist-info/METADATA": b"Name: endless\nVersion: 1\nSummary: " + b"x" * (9 << 20),
        }
    )
    (fact,), gaps = observed(tree)

    assert len(fact["requires"]) == 100_000
    assert gaps == {("endless-1.dist-info", "unread"): "its headers are longer than 8388608 bytes"}


def test_a9_every_older_form_is_found_and_typed(tree_of):
    tree = tree_of(
        {
            f"{SITE}/PyYAML-6.0.egg-info": metadata("PyYAML", "6.0"),
            f"{SITE}/six-1.16.0.egg-info/PKG-INFO": metadata("six", "1.16.0"),
            f"{SITE}/six-1.16.0.egg-info/requires.txt": (
                b"a>=1\n\n[test]\nb\n\n[:python_version<'3']\nc\n\n[x:os_name=='nt']\nd\n"
            ),
            f"{SITE}/old.egg-info/METADATA": metadata("old", "2"),
            f"{SITE}/zipped-1.2-py3.11.egg": b"PK",
            f"{SITE}/folder-1.3-py3.11.egg/EGG-INFO/PKG-INFO": metadata("folder", "1.3"),
            f"{SITE}/dev.egg-link": b"/src/dev\n.\n",
            f"{SITE}/gone.egg-link": b"/src/gone\n.\n",
            "/src/dev/dev.egg-info/PKG-INFO": metadata("dev", "0.1"),
        }
    )
    found, gaps = observed(tree)
    forms = {fact["name"]: (fact["version"], fact["form"], fact.get("editable", False)) for fact in found}

    assert forms == {
        "dev": ("0.1", "egg-info", True),
        "folder": ("1.3", "egg", False),
        "old": ("2", "egg-info", False),
        "pyyaml": ("6.0", "egg-info", False),
        "six": ("1.16.0", "egg-info", False),
        "zipped": ("1.2", "egg", False),
    }
    assert next(fact for fact in found if fact["name"] == "six")["requires"] == [
        "a>=1",
        'b ; extra == "test"',
        "c ; python_version<'3'",
        "d ; (os_name=='nt') and extra == \"x\"",
    ]
    out_of_reach = "no entry of the path names it: an import cannot find it"
    assert gaps == {
        ("folder", "not-recorded"): out_of_reach,
        ("gone.egg-link", "unread"): "it links to a folder without metadata",
        ("zipped", "not-recorded"): out_of_reach,
    }


def test_a10_without_record_the_files_cannot_be_verified(tree_of):
    tree = tree_of({f"{SITE}/numpy-1.26.4.dist-info/METADATA": metadata()})
    (fact,), gaps = observed(tree, verify=True)

    assert fact["record_sha256"] is None
    assert "modified" not in fact
    assert gaps == {("numpy-1.26.4.dist-info", "not-recorded"): "it has no RECORD: its files cannot be verified"}


def test_a11_to_a14_what_record_says_is_checked_and_nothing_outside_is_opened(tmp_path):
    site = tmp_path / "lib" / "python3.11" / "site-packages"
    site.mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    secret = tmp_path.parent / "secret"
    secret.write_bytes(b"same")
    for path in ("good.py", "changed.py", "strong.py", "weak.py", "bare.py", "a, b.py"):
        (site / path).write_bytes(b"same")
    (site / "changed.py").write_bytes(b"edit")
    (tmp_path / "bin" / "tool").write_bytes(b"same")
    os.mkfifo(site / "fifo.py")
    (site / "loop.py").symlink_to("loop.py")
    (site / "leak.py").symlink_to(secret)
    text = "".join(
        [
            row("good.py", b"same"),
            row("changed.py", b"same"),
            f"strong.py,{hashed(b'same', 'sha512')},4\n",
            f"weak.py,{hashed(b'same', 'md5')},4\n",
            "bare.py,,\n",
            row('"a, b.py"', b"same"),
            row("gone.py", b"same"),
            row("fifo.py", b"same"),
            row("loop.py", b"same"),
            row("leak.py", b"same"),
            row("../../../bin/tool", b"same"),
            row("../../../../secret", b"same"),
            row("/etc/passwd", b"same"),
            row("good.pyc", b"other"),
            "x-1.dist-info/RECORD,,\r\n",
        ]
    )
    result = check_files(LocalTree(), str(site), record_rows(text), "x-1.dist-info")

    assert result == {
        "modified": ["changed.py", "fifo.py"],
        "missing": ["gone.py", "loop.py"],
        "outside": ["../../../../secret", "/etc/passwd"],
        "linked": ["leak.py"],
        "unhashed": ["weak.py", "bare.py"],
        "unread": [],
    }


def test_a13_a_file_that_was_edited_after_it_was_installed_is_found(tree_of):
    files = {
        f"{SITE}/x-1.dist-info/METADATA": metadata("x", "1"),
        f"{SITE}/x-1.dist-info/RECORD": (row("x.py", b"x = 1\n") + row("y.py", b"y\n")).encode(),
        f"{SITE}/x.py": b"x = 2\n",
    }
    (fact,), _ = observed(tree_of(files), verify=True)

    assert (fact["modified"], fact["missing"]) == (["x.py"], ["y.py"])
    assert verify_files(tree_of(files), SITE, "x-1.dist-info") == (["x.py"], ["y.py"])


def test_a_file_that_became_a_link_out_of_the_environment_counts_as_modified(tree_of):
    files = {
        f"{SITE}/x-1.dist-info/RECORD": row("x.py", b"x = 1\n").encode(),
        f"{SITE}/x.py": "/tmp/x.py",
        "/tmp/x.py": b"x = 1\n",
    }

    assert verify_files(tree_of(files), SITE, "x-1.dist-info") == (["x.py"], [])


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (b'{"url": "https://user:secret@host/x.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}}',
         "git+https://host/x.git@abc"),
        (b'{"url": "https://host/x.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}, "subdirectory": "a/b"}',
         "git+https://host/x.git@abc#subdirectory=a/b"),
        (b'{"url": "https://host/x.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}, "subdirectory": 3}',
         "git+https://host/x.git@abc"),
        (b'{"url": "https://host/x.whl", "archive_info": {"hash": "sha256=00"}}', "https://host/x.whl#sha256=00"),
        (b'{"url": "https://host/x.whl", "archive_info": {"hashes": {"sha256": "00"}}}', "https://host/x.whl#sha256=00"),
        (b'{"url": "https://host/x.whl", "archive_info": {"hash": "nonsense"}}', "https://host/x.whl"),
        (b'{"url": "https://host/x.whl", "archive_info": {"hash": 3, "hashes": []}}', "https://host/x.whl"),
        (b'{"url": "https://${TOKEN}@host/x.whl"}', "https://${TOKEN}@host/x.whl"),
    ],
)  # fmt: skip
def test_a15_where_it_came_from_is_one_text_without_credentials(tree_of, document, text):
    tree = tree_of(
        {f"{SITE}/x-1.dist-info/METADATA": metadata("x", "1"), f"{SITE}/x-1.dist-info/direct_url.json": document}
    )
    (fact,), gaps = observed(tree)

    assert (fact["direct_url"], fact["editable"], gaps) == (text, False, {})


@pytest.mark.parametrize("document", [b"{", b"[]", b'{"url": 3}', b"[" * 100_000])
def test_a15_a_broken_direct_url_is_listed_and_the_distribution_kept(tree_of, document):
    tree = tree_of(
        {f"{SITE}/x-1.dist-info/METADATA": metadata("x", "1"), f"{SITE}/x-1.dist-info/direct_url.json": document}
    )
    found, gaps = observed(tree)

    assert versions(found) == [("x", "1")]
    assert list(gaps) == [("direct_url.json", "unread")]


def test_an_editable_installation_says_what_it_would_import(tree_of):
    folder = f"{SITE}/x-1.dist-info"
    tree = tree_of(
        {
            f"{folder}/METADATA": metadata("x", "1"),
            f"{folder}/RECORD": b"__editable___x_1_finder.py,,\n",
            f"{folder}/top_level.txt": b"x\n",
            f"{folder}/direct_url.json": b'{"url": "file:///src/x", "dir_info": {"editable": true}}',
        }
    )
    (fact,), _ = observed(tree)

    assert (fact["editable"], fact["direct_url"], fact["import_names"]) == (True, "file:///src/x", ["x"])


def test_an_editable_installation_is_not_shadowed_by_its_own_source(tree_of):
    """Who trains in the folder of the project has it on the path twice, by the script and by its installation."""
    folder = f"{SITE}/x-1.dist-info"
    files = {
        f"{folder}/METADATA": metadata("x", "1"),
        f"{folder}/RECORD": b"__editable___x_1_finder.py,,\n",
        f"{folder}/top_level.txt": b"x\n",
        f"{folder}/direct_url.json": b'{"url": "file:///my%20src/x", "dir_info": {"editable": true}}',
    }

    def shadowed(first):
        tree = tree_of({**files, f"{first}/x/__init__.py": b""})
        (fact,) = (fact for fact in distributions(tree, [first, SITE]) if fact["kind"] == "distribution")
        return fact["shadowed"]

    assert not shadowed("/my src/x")
    assert not shadowed("/my src/x/src")
    assert shadowed("/my src/xy")


def test_a18_site_packages_without_any_metadata_is_incomplete_to_inspect(tree_of):
    """Who slims an image by removing dist-info must not read "500 packages missing"."""
    slim = tree_of({f"{SITE}/numpy/__init__.py": b"", f"{SITE}/six.py": b"", f"{SITE}/_virtualenv.py": b""})
    fresh = tree_of({f"{SITE}/_virtualenv.py": b"", f"{SITE}/_virtualenv.pth": b""})

    (reason,) = observed(slim)[1].values()
    assert reason == "no package metadata found beside 2 top-level packages (numpy, six): it is incomplete to inspect"
    assert observed(fresh) == ([], {})


def test_a19_a_folder_that_cannot_be_read_is_unread(tree_of):
    class Locked(tree_of):
        def entries(self, path):
            raise PermissionError(13, "Permission denied", path)

    assert observed(Locked({f"{SITE}/x.py": b""}))[1] == {("site-packages", "unread"): "Permission denied"}


def test_a20_names_are_normalised_and_look_alikes_are_never_merged():
    assert normalised_name("Zope.Interface__Extra-.x") == "zope-interface-extra-x"
    assert normalised_name("\N{KELVIN SIGN}eras") != normalised_name("keras")


def test_a_broken_record_is_unread_and_the_distribution_kept(tree_of):
    record = b'"' + b"x" * 200_000
    tree = tree_of({f"{SITE}/x-1.dist-info/METADATA": metadata("x", "1"), f"{SITE}/x-1.dist-info/RECORD": record})
    found, gaps = observed(tree)

    assert (versions(found), list(gaps)) == ([("x", "1")], [("RECORD", "unread")])


INSTALLED = """\
../../../bin/tool,sha256=S,1
x/__init__.py,sha256=A,2
x/__pycache__/__init__.cpython-311.pyc,,
x/native.so,sha256=B,3
"x/a, b.py",sha256=C,4
x-1.dist-info/INSTALLER,sha256=I,4
x-1.dist-info/METADATA,sha256=M,5
x-1.dist-info/RECORD,,
x-1.dist-info/REQUESTED,sha256=R,0
x-1.dist-info/direct_url.json,sha256=D,9
x-1.dist-info/uv_cache.json,sha256=U,9
"""
SHIPPED = """\
x-1.data/platlib/x/native.so,sha256=B,3\r
x-1.data/scripts/tool,sha256=T,1\r
x-1.dist-info/METADATA,sha256=M,5\r
x-1.dist-info/RECORD,,\r
"x/a, b.py",sha256=C,4\r
x/__init__.py,sha256=A,2\r
"""


def test_the_record_of_a_wheel_and_the_one_that_an_installer_made_of_it_have_one_normal_form():
    assert normalised_record(INSTALLED) == normalised_record(SHIPPED)
    assert normalised_record(SHIPPED) == (
        b'"x/a, b.py",sha256=C,4\nx-1.dist-info/METADATA,sha256=M,5\nx/__init__.py,sha256=A,2\nx/native.so,sha256=B,3\n'
    )
    assert record_digest(INSTALLED) == record_digest(SHIPPED)
    assert record_digest(INSTALLED) != record_digest(SHIPPED.replace("=A,", "=Z,"))


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["numpy/__init__.py", "numpy/core/__init__.py", "numpy.libs/libx.so"], ["numpy"]),
        (["six.py"], ["six"]),
        (["_cffi_backend.cpython-311-x86_64-linux-gnu.so", "cffi/__init__.py"], ["_cffi_backend", "cffi"]),
        (["google/protobuf/__init__.py", "google/_upb/_message.abi3.so"], ["google._upb._message", "google.protobuf"]),
        (["nvidia/cublas/__init__.py", "nvidia/cublas/lib/libcublas.so"], ["nvidia.cublas"]),
        (["bin/libx.so", "share/data.txt", "../../../bin/x.py", "x-1.dist-info/y.py", "not-a-name.py"], []),
        (["mypy/__init__.cpython-311-x86_64-linux-gnu.so", "mypy/build.py"], ["mypy"]),
    ],
)
def test_import_names_are_the_top_level_or_one_deeper_under_a_namespace(paths, names):
    assert import_names([(path, "", "1000") for path in paths]) == names


def test_an_init_of_no_content_that_many_distributions_share_gives_both_levels():
    rows = [("nvidia/__init__.py", "", "0"), ("nvidia/cudnn/__init__.py", "", "0")]

    assert import_names(rows) == ["nvidia", "nvidia.cudnn"]


def test_files_that_no_record_owns_are_listed(tree_of):
    tree = tree_of(
        {
            f"{SITE}/x/__init__.py": b"",
            f"{SITE}/x/planted.py": b"",
            f"{SITE}/x/__pycache__/__init__.cpython-311.pyc": b"",
            f"{SITE}/planted.pth": b"",
            f"{SITE}/link": "/etc",
            f"{SITE}/x-1.dist-info/RECORD": b"",
            "/etc/passwd": b"",
        }
    )

    assert sorted(unowned(tree, SITE, ["x/__init__.py,,\nx-1.dist-info/RECORD,,\n"])) == [
        "link",
        "planted.pth",
        "x/planted.py",
    ]


def test_a_real_installation_is_whole_until_one_byte_of_it_changes(tmp_path):
    """What an installer really wrote: the small library that pytest itself brings along."""
    (found,) = [path for path in sys.path for path in Path(path).glob("iniconfig-*.dist-info/RECORD")]
    site = found.parent.parent
    copy = tmp_path / "lib" / "python3" / "site-packages"
    for name in ("iniconfig", found.parent.name):
        shutil.copytree(str(site / name), str(copy / name))

    (fact,), gaps = observed(LocalTree(), str(copy), verify=True)
    assert (fact["modified"], fact["missing"], fact["import_names"], gaps) == ([], [], ["iniconfig"], {})
    with (copy / "iniconfig" / "__init__.py").open("ab") as file:
        file.write(b"#")
    assert verify_files(LocalTree(), str(copy), found.parent.name) == (["iniconfig/__init__.py"], [])


@pytest.mark.parametrize(
    ("headers", "licence"),
    [
        ("License-Expression: MIT OR Apache-2.0\nLicense: other", "MIT OR Apache-2.0"),
        ("License: BSD-3-Clause\nClassifier: License :: OSI Approved :: BSD License", "BSD-3-Clause"),
        ("License: BSD\nClassifier: License :: OSI Approved :: MIT License", "BSD"),
        ("License: MIT-like, see the file\nClassifier: License :: OSI Approved :: MIT License", "MIT License"),
        ("License: Copyright (c) 2005\n        All rights\nClassifier: License :: OSI Approved :: B", "B"),
        ("Classifier: License :: Public Domain\nClassifier: License :: OSI Approved :: A", "A; Public Domain"),
        ("License: UNKNOWN\nClassifier: Topic :: License :: X", ""),
        ("License: see the file", "see the file"),
        ("License-File: LICENSE\nKeywords: License", ""),
    ],
)
def test_the_licence_is_what_metadata_says_most_exactly(tree_of, headers, licence):
    """A whole text in the field `License` is no name, and a classifier names a family only."""
    text = f"Metadata-Version: 2.4\nName: demo\nVersion: 1.0\n{headers}\n\nLicense: not this\n".encode()
    found, _ = observed(tree_of({f"{SITE}/demo-1.0.dist-info/METADATA": text}))

    assert found[0].get("licence", "") == licence
