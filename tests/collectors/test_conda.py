"""Conda's records, as conda, mamba and pixi write them, read without running anything of theirs."""

import json

import pytest

from envparity.collectors.conda import conda_packages, conda_record
from envparity.collectors.tree import LocalTree

META = "/opt/conda/conda-meta/"


def record(name, **more):
    """A record in the order and with the indentation that conda has (`sort_keys`, two spaces)."""
    fields = {
        "arch": "x86_64",
        "build": "py311h64a7726_0",
        "build_number": 0,
        "channel": "https://conda.anaconda.org/conda-forge/linux-64",
        "depends": ["libblas >=3.9.0,<4.0a0"],
        "files": ["lib/python3.11/site-packages/numpy/__init__.py", 'lib/a "quoted\\" ] name'],
        "fn": name + "-1.26.4-py311h64a7726_0.conda",
        "link": {"source": "/opt/conda/pkgs/" + name, "type": 1},
        "md5": "A" * 32,
        "name": name,
        "paths_data": {"paths": [{"_path": "lib/x", "path_type": "hardlink"}], "paths_version": 1},
        "requested_spec": "None",
        "sha256": "b" * 64,
        "subdir": "linux-64",
        "url": "https://conda.anaconda.org/conda-forge/linux-64/" + name + "-1.26.4-py311h64a7726_0.conda",
        "version": "1.26.4",
    }
    fields.update(more)
    return {key: value for key, value in fields.items() if value is not None}


def written(fields, indent=2):
    return json.dumps(fields, indent=indent, sort_keys=True, separators=(",", ": ")).encode()


def packages(facts):
    return {fact["name"]: fact for fact in facts if fact["kind"] == "conda-package"}


def gaps(facts):
    return [(fact["gap"], fact["item"], fact["reason"]) for fact in facts if fact["kind"] == "gap"]


def test_a_record_says_what_is_installed_and_exactly_which_archive_it_was(tree_of):
    tree = tree_of({META + "numpy-1.26.4-py311h64a7726_0.json": written(record("numpy")), META + "history": b""})

    facts = list(conda_packages(tree, ["/absent", "/opt/conda"]))

    assert facts == [
        {"kind": "section", "section": "conda_packages"},
        {
            "kind": "conda-package",
            "name": "numpy",
            "version": "1.26.4",
            "build": "py311h64a7726_0",
            "channel": "https://conda.anaconda.org/conda-forge",
            "subdir": "linux-64",
            "md5": "a" * 32,
            "sha256": "b" * 64,
            "url": "https://conda.anaconda.org/conda-forge/linux-64/numpy-1.26.4-py311h64a7726_0.conda",
            "pinned": "",
        },
    ]


@pytest.mark.parametrize(
    ("files", "brought"),
    [
        (["lib/python3.11/site-packages/numpy-1.26.4.dist-info/METADATA"], [["numpy", "1.26.4"]]),
        (["site-packages/Foo_Bar-1.0.dist-info/METADATA"], [["foo-bar", "1.0"]]),
        (["lib/python2.7/site-packages/old-1.0-py2.7.egg-info/PKG-INFO"], [["old", "1.0"]]),
        (["lib/python3.8/site-packages/older-1.0-py3.8.egg-info"], [["older", "1.0"]]),
        (["a-1.dist-info/METADATA", "b-2.dist-info/METADATA"], [["a", "1"], ["b", "2"]]),
        (["lib/x-1.dist-info/RECORD", "lib/x-1.dist-info/METADATA.txt"], None),
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_a_record_says_which_distributions_its_files_describe(tree_of, indent, files, brought):
    """Whoever looks for conda's numpy on PyPI finds another build of it, and locks what did not train the model."""
    data = written(record("numpy", files=files), indent)

    (found,) = packages(conda_packages(tree_of({META + "numpy-1.26.4-0.json": data}), ["/opt/conda"])).values()

    assert found.get("distributions") == brought


WANTED = ("name", "version", "build", "channel", "subdir", "url", "md5", "sha256", "requested_spec")


@pytest.mark.parametrize("indent", [None, 1, 2, 4])
@pytest.mark.parametrize(
    "lists",
    [
        {"files": ["a", "b]", "}"], "paths_data": {"paths": [{"_path": "]"}], "paths_version": 1}},
        {"files": [], "paths_data": {}},
        {"files": None, "paths_data": None},
        {"files": ["a"], "paths_data": None},
    ],
)
def test_a_record_says_the_same_without_its_lists_of_files_however_it_is_indented(indent, lists):
    """The lists are cut out as text, so that a large environment is read in no time: nothing else may go with them."""
    fields = record("numpy", **lists)

    read = conda_record(written(fields, indent))

    assert [read[key] for key in WANTED] == [fields[key] for key in WANTED]
    assert len(json.dumps(read)) < 1000


def test_a_record_in_another_order_loses_nothing():
    """rattler puts `link` last; what stood between it and the lists of files would be cut out with them."""
    fields = record("numpy")
    order = [key for key in fields if key not in ("files", "paths_data", "url", "link")]
    shuffled = {key: fields[key] for key in [*order, "files", "paths_data", "url", "link"]}

    read = conda_record(json.dumps(shuffled, indent=2).encode())

    assert [read[key] for key in WANTED] == [fields[key] for key in WANTED]


def test_no_token_of_a_channel_is_read_on(tree_of):
    fields = record(
        "numpy",
        channel="https://conda.anaconda.org/t/tk-canary/private/linux-64",
        url="https://ada:canary@conda.example/t/tk-canary/private/linux-64/numpy-1.26.4-0.conda?token=canary",
    )

    facts = list(conda_packages(tree_of({META + "numpy.json": written(fields)}), ["/opt/conda"]))

    assert "canary" not in json.dumps(facts)
    (package,) = packages(facts).values()
    assert package["channel"] == "https://conda.anaconda.org/t/***/private"
    assert package["url"] == "https://conda.example/t/***/private/linux-64/numpy-1.26.4-0.conda?token=***"


HISTORY = b"""==> 2025-03-01 10:00:00 <==
# cmd: /opt/conda/bin/conda create -c https://conda.anaconda.org/t/tk-canary/x -n m python=3.11 numpy
# conda version: 24.9.2
+conda-forge/linux-64::numpy-1.26.4-py311h64a7726_0
# update specs: ['python=3.11', 'conda-forge::NumPy >=1.26,<2', "scipy[version='>=1.11']", "pandas"]
==> 2025-03-02 10:00:00 <==
# install specs: joblib,threadpoolctl >=3
# remove specs: ["pandas"]
# neutered specs: ['scipy']
"""


def test_what_was_asked_for_is_told_from_what_came_along(tree_of):
    """Only what a person asked for belongs in an environment file; the rest is the solver's."""
    names = ("python", "numpy", "scipy", "pandas", "joblib", "threadpoolctl", "libblas")
    tree = tree_of({**{META + name + ".json": written(record(name)) for name in names}, META + "history": HISTORY})

    facts = list(conda_packages(tree, ["/opt/conda"]))

    requested = {name for name, package in packages(facts).items() if package["requested"]}
    assert requested == {"python", "numpy", "scipy", "joblib", "threadpoolctl"}
    assert "canary" not in json.dumps(facts)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"requested_spec": "numpy=1.26"}, {"numpy": True, "libblas": False}),
        ({"requested_spec": None, "requested_specs": ["numpy"]}, {"numpy": True, "libblas": False}),
        ({"requested_spec": None}, {"numpy": None, "libblas": None}),
    ],
)
def test_a_record_itself_may_say_what_was_asked_for(tree_of, fields, expected):
    """rattler and pixi keep no history; and where nothing at all speaks of it, nobody knows."""
    tree = tree_of(
        {
            META + "numpy.json": written(record("numpy", **fields)),
            META + "libblas.json": written(record("libblas", requested_spec=None)),
        }
    )

    found = packages(conda_packages(tree, ["/opt/conda"]))

    assert {name: package.get("requested") for name, package in found.items()} == expected


def test_what_is_pinned_is_told_with_its_package(tree_of):
    pinned = b"# kept back\nnumpy 1.26.*\nconda-forge::scipy>=1.11,<1.12\n\nabsent =1\n"
    names = ("numpy", "scipy", "libblas")
    tree = tree_of({**{META + name + ".json": written(record(name)) for name in names}, META + "pinned": pinned})

    found = packages(conda_packages(tree, ["/opt/conda"]))

    assert {name: package["pinned"] for name, package in found.items()} == {
        "numpy": "1.26.*",
        "scipy": ">=1.11,<1.12",
        "libblas": "",
    }


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is no record"),
        (b'{"name": "numpy"', "it is no record"),
        (b"[]", "a JSON object is due"),
        (b'{"name": "numpy"}', "no version"),
        (b'{"name": 1, "version": "2"}', "no name"),
        (b"\xff\xfe{}", "it is no record"),
        (b"[" * 200000, "it is nested too deep"),
        (None, "No such file"),
    ],
)
def test_one_broken_record_is_named_and_hides_no_other(tree_of, data, reason):
    tree = tree_of({META + "a-bad.json": data, META + "numpy.json": written(record("numpy"))})

    facts = list(conda_packages(tree, ["/opt/conda"]))

    ((kind, item, why),) = gaps(facts)
    assert (kind, item) == ("unread", META + "a-bad.json")
    assert reason in why
    assert list(packages(facts)) == ["numpy"]


def test_a_digest_that_is_none_is_left_out(tree_of):
    fields = record("numpy", md5="nothing", sha256="b" * 63 + "g")

    (package,) = packages(conda_packages(tree_of({META + "n.json": written(fields)}), ["/opt/conda"])).values()

    assert (package["md5"], package["sha256"]) == ("", None)


def test_a_place_that_is_no_conda_environment_has_a_gap(tree_of):
    (gap,) = conda_packages(tree_of({"/usr/bin/python3": b"", META[:-1]: b"a file"}), ["/usr", "/opt/conda"])

    assert (gap["gap"], gap["reason"]) == ("not-recorded", "it is no conda environment")


def test_an_environment_without_a_package_is_one_all_the_same(tree_of):
    assert list(conda_packages(tree_of({META + "history": b""}), ["/opt/conda"])) == [
        {"kind": "section", "section": "conda_packages"}
    ]


def test_a_list_of_pins_of_absurd_size_is_unread_and_hides_nothing(tmp_path):
    meta = tmp_path / "conda-meta"
    meta.mkdir()
    (meta / "numpy.json").write_bytes(written(record("numpy")))
    with (meta / "pinned").open("wb") as file:
        file.truncate(17 << 20)

    facts = list(conda_packages(LocalTree(), [str(tmp_path)]))

    ((kind, item, reason),) = gaps(facts)
    assert (kind, item) == ("unread", str(meta / "pinned"))
    assert "larger than" in reason
    assert list(packages(facts)) == ["numpy"]
