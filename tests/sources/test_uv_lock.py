"""What uv locks is read as uv itself would export it: for every platform, extra and group."""

from __future__ import annotations

import itertools
import subprocess
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from envparity import markers
from envparity.errors import MalformedError, UsageError
from envparity.sources import Options, read, target
from envparity.values import Basis
from tests.sources.reading import found, read_text, reasons, rows
from tests.sources.samples import UV
from tests.tools import needs_uv

PROJECT = """\
[project]
name = "ours"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["tqdm>=4"]
[project.optional-dependencies]
fast = ["numpy"]
[dependency-groups]
dev = ["tool"]
[tool.uv]
package = true
"""


def test_each_package_has_the_condition_under_which_uv_installs_it() -> None:
    assert rows(read_text("uv.lock", UV)) == [
        ("colorama", "0.4.6", "'dev' in dependency_groups or sys_platform == 'win32'"),
        ("numpy", "1.26.4", "'fast' in extras"),
        ("ours", "0.1.0", ""),
        ("tool", "2.0", "'dev' in dependency_groups"),
        ("tqdm", "4.66.4", ""),
        ("widgets", "8.1.2", "'dev' in dependency_groups"),
    ]


def test_the_project_itself_a_repository_and_hashes() -> None:
    environment = read_text("uv.lock", UV)

    assert (found(environment, "ours").editable, found(environment, "ours").direct_url) == (True, ".")
    assert found(environment, "tool").direct_url == f"git+https://git.example/tool.git@{'1' * 40}"
    assert found(environment, "colorama").hashes == (f"sha256:{'a' * 64}", f"sha256:{'b' * 64}")
    assert {item.basis for item in environment.distributions or ()} == {Basis.LOCKED}
    assert environment.python is not None
    assert environment.python.specifier == ">=3.11"
    assert not environment.open


def test_a_project_that_is_not_installed_is_no_distribution() -> None:
    text = UV.replace('{ editable = "." }', '{ virtual = "." }')

    assert "ours" not in {name for name, _, _ in rows(read_text("uv.lock", text))}


@pytest.mark.parametrize(
    ("stated", "names"),
    [
        ({"platform": "linux/amd64"}, "colorama numpy ours tool tqdm widgets"),
        ({"platform": "linux/amd64", "groups": ("main",)}, "ours tqdm"),
        ({"platform": "windows/amd64", "groups": ("main",)}, "colorama ours tqdm"),
        ({"platform": "linux/amd64", "extras": ("fast",)}, "numpy ours tqdm"),
        ({"groups": ("dev",)}, "colorama ours tool tqdm widgets"),
    ],
)
def test_a_stated_target_selects(stated: dict[str, str], names: str) -> None:
    assert " ".join(name for name, _, _ in rows(read_text("uv.lock", UV, **stated))) == names


def test_what_a_target_decides_stays_decided_and_nothing_else() -> None:
    """The platform alone says nothing of the group: the condition stays."""
    environment = read_text("uv.lock", UV, platform="windows/amd64")

    assert found(environment, "colorama").marker == ""
    assert found(environment, "tool").marker == "'dev' in dependency_groups"


@pytest.mark.parametrize(("flag", "kind"), [("extras", "extra"), ("groups", "group")])
def test_an_extra_or_group_that_is_not_there_is_refused_with_those_that_are(flag: str, kind: str) -> None:
    with pytest.raises(UsageError, match=f"no {kind} `nope`; it has: (fast|dev)"):
        read_text("uv.lock", UV, **{flag: ("nope",)})


def test_the_same_selection_as_uv_makes_itself(tmp_path: Path) -> None:
    """uv is the judge of what its own lock means."""
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "uv.lock").write_text(UV.replace("https://hunter2@git", "https://git"))
    places = itertools.product(("linux/amd64", "windows/amd64"), ("3.11.4", "3.13.1"))
    choices = [((), ()), (("fast",), ()), ((), ("dev",)), (("fast",), ("dev",))]
    for (platform, version), (extras, groups) in itertools.product(places, choices):
        flags = [f"--extra={extra}" for extra in extras] + [f"--group={group}" for group in groups]
        command = [needs_uv(), "export", "--frozen", "--offline", "--no-config", "--no-default-groups", "--no-hashes"]
        done = subprocess.run(
            [*command, "--no-emit-project", "--no-header", "--no-annotate", "-q", *flags],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        system, machine = target.system_and_machine(platform)
        known = markers.of_place(version=version, implementation="cpython", system=system, machine=machine)
        requirements = map(Requirement, done.stdout.splitlines())
        theirs = {item.name for item in requirements if markers.holds(str(item.marker or ""), known) is not False}

        options = Options(base_dir=tmp_path, platform=platform, python_version=version, extras=extras, groups=groups)
        ours = {item.name for item in read("uv.lock", options=options).distributions or ()} - {"ours"}

        assert ours == theirs


WORKSPACE = """\
version = 1
requires-python = ">=3.12"

[manifest]
members = ["side", "top"]

[[package]]
name = "extra-tool"
version = "1.0"
source = { registry = "https://pypi.org/simple" }
wheels = [{ url = "https://files.example/extra_tool-1.0-py3-none-any.whl" }]

[[package]]
name = "side"
version = "0.1"
source = { editable = "packages/side" }
dependencies = [{ name = "extra-tool" }]

[[package]]
name = "top"
version = "0.1"
source = { editable = "." }
"""


def test_what_only_another_member_of_a_workspace_needs_is_conditional() -> None:
    assert rows(read_text("uv.lock", WORKSPACE)) == [
        ("extra-tool", "1.0", "'side' in dependency_groups"),
        ("side", "0.1", "'side' in dependency_groups"),
        ("top", "0.1", ""),
    ]
    with pytest.raises(MalformedError, match="`side`, a member of the workspace"):
        read_text("uv.lock", WORKSPACE.replace('name = "side"', 'name = "aside"', 1))


CONFLICT = """\
version = 1
requires-python = ">=3.12"

[[package]]
name = "project"
version = "0.1.0"
source = { virtual = "." }

[package.optional-dependencies]
cpu = [{ name = "torch", version = "2.5.1+cpu" }]
gpu = [{ name = "torch", version = "2.5.1+cu124", marker = "extra == 'extra-7-project-gpu'" }]

[[package]]
name = "torch"
version = "2.5.1+cpu"
source = { registry = "https://download.pytorch.org/whl/cpu" }
wheels = [{ url = "https://files.example/a.whl" }]

[[package]]
name = "torch"
version = "2.5.1+cu124"
source = { registry = "https://download.pytorch.org/whl/cu124" }
wheels = [{ url = "https://files.example/b.whl" }]
"""


def test_extras_that_exclude_each_other_give_one_version_each() -> None:
    def versions(**stated: tuple[str, ...]) -> list[str]:
        return [item.version for item in read_text("uv.lock", CONFLICT, **stated).distributions or ()]

    assert versions() == ["2.5.1+cpu", "2.5.1+cu124"]
    assert versions(extras=("cpu",)) == ["2.5.1+cpu"]
    assert versions(extras=("gpu",)) == ["2.5.1+cu124"]
    assert versions(groups=("main",)) == []


def test_the_lock_of_a_script_has_no_project() -> None:
    text = 'version = 1\nrequires-python = ">=3.12"\n\n[manifest]\nrequirements = [{ name = "six" }]\n\n'
    text += '[[package]]\nname = "six"\nversion = "1.16.0"\nsource = { registry = "x" }\nwheels = [{ url = "u" }]\n'

    assert rows(read_text("train.py.lock", text)) == [("six", "1.16.0", "")]
    assert read_text("train.py.lock", 'version = 1\nrequires-python = ">=3.12"\n').distributions == ()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('    { name = "widgets" },', '    { name = "gadgets" },', "`gadgets` is required"),
        ("[package.metadata]\n", "[[package.metadata]]\n", "metadata"),
        ("marker = \"sys_platform == 'win32'\"", 'marker = "sys_platform === "', "condition"),
        ('source = { editable = "." }', 'source = { path = "../x" }', "the project itself"),
    ],
)
def test_what_does_not_fit_together_is_refused(old: str, new: str, told: str) -> None:
    assert old in UV

    with pytest.raises(MalformedError, match=told):
        read_text("uv.lock", UV.replace(old, new))


def test_an_extra_that_was_cut_off_is_unread() -> None:
    environment = read_text("uv.lock", UV[: UV.index("[package.optional-dependencies]\nnotebook")])

    assert not environment.complete
    assert "notebook" in reasons(environment, "distributions")["tqdm"]


def test_the_conditions_of_a_graph_in_which_everybody_requires_everybody_are_bounded() -> None:
    """A hostile lock with 60 packages has more ways through it than anybody can write down."""
    names = [f"p{number:02}" for number in range(60)]
    needs = ", ".join(
        f'{{ name = "{name}", marker = "python_version != \'3.{number}\'" }}' for number, name in enumerate(names)
    )
    entries = [
        f'[[package]]\nname = "{name}"\nversion = "1"\nwheels = [{{ url = "u" }}]\n'
        f'source = {{ {"registry" if number else "editable"} = "." }}\ndependencies = [{needs}]\n'
        for number, name in enumerate(names)
    ]

    environment = read_text("uv.lock", "version = 1\n" + "\n".join(entries))

    assert len(environment.distributions or ()) == 60
    assert max(len(item.marker) for item in environment.distributions or ()) < 10_000


def test_of_two_versions_the_one_of_the_stated_python_is_chosen_however_many_ways_lead_to_them() -> None:
    """uv says twice for which Pythons a version is: on the way to it, and in the package itself."""
    parents = [f"p{number:02}" for number in range(40)]
    ways = ", ".join(f'{{ name = "{name}", marker = "platform_release != \'{name}\'" }}' for name in parents)
    forks = {"1.0": "python_full_version < '3.12'", "2.0": "python_full_version >= '3.12'"}
    other = {"1.0": "python_version < '3.12'", "2.0": "python_version >= '3.12'"}  # the same in other words
    needs = [
        ", ".join(
            f'{{ name = "numpy", version = "{version}", source = {{ registry = "." }}, marker = "{marker}" }}'
            for version, marker in words.items()
        )
        for words in (forks, other)
    ]
    entry = '[[package]]\nname = "{}"\nversion = "{}"\nsource = {{ {} = "." }}\n{}wheels = [{{ url = "u" }}]\n'
    text = "version = 1\n" + entry.format("project", "1", "editable", f"dependencies = [{ways}]\n")
    for number, name in enumerate(parents):
        text += entry.format(name, "1", "registry", f"dependencies = [{needs[number % 2]}]\n")
    for version, marker in forks.items():
        text += entry.format("numpy", version, "registry", f'resolution-markers = ["{marker}"]\n')

    for python, version in (("3.11", "1.0"), ("3.12.1", "2.0")):
        environment = read_text("uv.lock", text, python_version=python)
        assert [item.version for item in environment.distributions or () if item.name == "numpy"] == [version]
