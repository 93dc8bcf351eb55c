"""What needs what: closures over metadata, with the snapshot's markers."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as some
from packaging.requirements import InvalidRequirement, Requirement

from envparity import closure
from envparity.errors import IncompleteError
from envparity.values import Distribution, Python, System

PYTHON = Python(version="3.11.7", implementation="CPython")
SYSTEM = System(os="linux", machine="x86_64")
MARKERS = closure.marker_environment(PYTHON, SYSTEM)


def dist(name: str, *requires: str, requested: bool = False, imports: tuple[str, ...] = ()) -> Distribution:
    return Distribution(name=name, version="1.0", requires=requires, requested=requested, import_names=imports)


def test_markers_speak_of_the_snapshot_not_of_the_builder() -> None:
    """A lock for 3.8 on arm64 that is made on 3.13 on x86_64 must need what 3.8 on arm64 needs."""
    there = closure.marker_environment(Python(version="3.8.18", implementation="cpython"), System(machine="aarch64"))
    installed = [
        dist("app", 'importlib-resources; python_version < "3.9"', 'tomli; platform_machine == "x86_64"'),
        dist("importlib-resources"),
        dist("tomli"),
    ]

    assert there["python_version"] == "3.8"
    assert there["platform_python_implementation"] == "CPython"
    assert closure.required_by(installed, ["app"], there) == {"app", "importlib-resources"}
    assert closure.required_by(installed, ["app"], MARKERS) == {"app", "tomli"}


def test_every_marker_variable_that_packaging_knows_is_given() -> None:
    """A variable that is left out would silently be that of the interpreter that runs this."""
    from packaging.markers import default_environment

    assert set(MARKERS) == set(default_environment())


def test_markers_need_an_exact_interpreter() -> None:
    with pytest.raises(IncompleteError, match="version of the interpreter"):
        closure.marker_environment(Python(specifier=">=3.11"), SYSTEM)


def test_extras_are_followed_where_they_are_asked_for() -> None:
    installed = [
        dist("app", "Uvicorn[standard]>=0.20"),
        dist("uvicorn", "click", 'httptools; extra == "standard"', 'watchfiles; extra == "reload"'),
        dist("click"),
        dist("httptools"),
        dist("watchfiles"),
    ]

    assert closure.required_by(installed, ["app"], MARKERS) == {"app", "uvicorn", "click", "httptools"}
    assert closure.required_by(installed, ["uvicorn"], MARKERS) == {"uvicorn", "click"}
    assert "watchfiles" in closure.required_by(installed, ["uvicorn[reload]"], MARKERS)


def test_an_extra_that_names_another_extra_of_itself_is_followed() -> None:
    """`pip install app[all]` is often written `app[cli,web]; extra == "all"`."""
    installed = [
        dist("app", 'app[cli]; extra == "all"', 'click; extra == "cli"', 'flask; extra == "web"'),
        dist("click"),
        dist("flask"),
    ]

    assert closure.required_by(installed, ["app[all]"], MARKERS) == {"app", "click"}


def test_a_ring_of_requirements_ends() -> None:
    installed = [dist("a", "b"), dist("b", "a")]

    assert closure.required_by(installed, ["a"], MARKERS) == {"a", "b"}


def test_a_requirement_that_todays_grammar_refuses_still_names_what_it_needs() -> None:
    """Metadata from 2016 is still installed; losing its requirement would lose a distribution from the image."""
    installed = [dist("old", "six (>=1.*.*) junk"), dist("six")]

    assert closure.required_by(installed, ["old"], MARKERS) == {"old", "six"}


@pytest.mark.parametrize("marker", ['sys_platform ~= "linux"', '"x" in extras'])
def test_a_marker_that_has_no_answer_keeps_what_it_guards(marker: str) -> None:
    """One distribution too many in an image is seen; one too few fails when it serves."""
    installed = [dist("app", f"six; {marker}"), dist("six")]

    assert closure.required_by(installed, ["app"], MARKERS) == {"app", "six"}


def test_a_shadowed_copy_requires_nothing_and_provides_nothing() -> None:
    first = dist("a", imports=("a",))
    second = Distribution(name="a", version="2.0", requires=("b",), import_names=("a", "old_a"), shadowed=True)

    assert closure.required_by([first, second, dist("b")], ["a"], MARKERS) == {"a"}
    assert closure.provides([first, second]) == {"a": ("a",)}


def test_tooling_is_envparity_and_what_only_it_requires() -> None:
    installed = [
        dist("envparity", "click", "httpx", "packaging"),
        dist("httpx", "httpcore"),
        dist("httpcore"),
        dist("click"),
        dist("packaging"),
        dist("flask", "click", requested=True),
        dist("scikit-learn"),
    ]

    assert closure.tooling(installed, MARKERS) == {"envparity", "httpx", "httpcore", "packaging"}


def test_what_the_user_asked_for_by_name_is_not_tooling_nor_is_what_it_needs() -> None:
    installed = [
        dist("envparity", "httpx", requested=True),
        dist("httpx", "httpcore", requested=True),
        dist("httpcore"),
    ]

    assert closure.tooling(installed, MARKERS) == {"envparity"}


def test_uv_marks_everything_as_requested_so_its_mark_says_nothing() -> None:
    """Else `uv pip install envparity` beside a model would put the whole of envparity's needs into the image."""
    installed = [
        Distribution(name="envparity", version="1.0", installer="uv", requested=True, requires=("httpx",)),
        Distribution(name="httpx", version="1.0", installer="uv", requested=True),
    ]

    assert closure.tooling(installed, MARKERS) == {"envparity", "httpx"}


def test_a_plugin_that_requires_envparity_does_not_make_its_requirements_part_of_the_model() -> None:
    installed = [dist("envparity", "httpx"), dist("envparity-acme", "envparity"), dist("httpx")]

    assert closure.tooling(installed, MARKERS) == {"envparity", "httpx"}


def test_without_envparity_nothing_is_tooling() -> None:
    assert closure.tooling([dist("click")], MARKERS) == frozenset()


def test_a_module_is_found_under_its_longest_known_prefix() -> None:
    installed = [
        dist("scikit-learn", imports=("sklearn",)),
        dist("google-cloud-storage", imports=("google.cloud.storage",)),
        dist("protobuf", imports=("google.protobuf", "google")),
        dist("other", imports=("google",)),
    ]

    found = closure.providers_of(
        ["sklearn.linear_model._logistic", "google.cloud.storage.blob", "google.x", "sklearnex"], installed
    )

    assert found == {
        "sklearn.linear_model._logistic": ("scikit-learn",),
        "google.cloud.storage.blob": ("google-cloud-storage",),
        "google.x": ("other", "protobuf"),
        "sklearnex": (),
    }


def test_what_a_distribution_requires_itself_are_those_that_are_there() -> None:
    """An extra counts for its distribution where another one asks for it; a circle is no trouble."""
    installed = [
        dist("app", "uvicorn[standard]", "absent", 'tomli; python_version < "3.9"', "app[all]"),
        dist("uvicorn", "click", 'httptools; extra == "standard"', 'watchfiles; extra == "reload"'),
        dist("click", "uvicorn"),
        dist("httptools"),
        dist("tomli"),
        dist("watchfiles"),
    ]

    assert closure.direct(installed, MARKERS) == {
        "app": ("uvicorn",),
        "click": ("uvicorn",),
        "httptools": (),
        "tomli": (),
        "uvicorn": ("click", "httptools"),
        "watchfiles": (),
    }


def test_a_copy_that_no_import_finds_requires_nothing_of_the_others() -> None:
    shadowed = Distribution(name="app", version="0.9", requires=("tomli",), shadowed=True)

    assert closure.direct([dist("app", "click"), shadowed, dist("click"), dist("tomli")], MARKERS)["app"] == ("click",)


WHITE = some.sampled_from(["", " "])
SPECIFIERS = some.sampled_from(
    [">=1.0", "==1.*", "~=1", "~=1.0", "<2", "!= 1.5", "===1", ">=1.*", "<1.0rc1", ">1,", ""]
)
CONDITIONS = some.sampled_from(
    [
        *("", ";", "; extra == 'x'", ';extra=="X_y"', "; extra == ''", "; python_version < '4'", "; 'x' == extra"),
        *("; python_version < '3' and extra == 'x'", "; extra == 'x' or extra == 'y'", "; nothing", "; os_name"),
        *("; extra != 'x'", "; platform_release >= '1'"),
    ]
)
REQUIREMENTS = some.tuples(
    some.sampled_from(["demo", "DEMO", " demo", "demo[x]", "demo[x,Y_z]", "demo @ https://x/d.whl"]),
    *(WHITE, some.lists(SPECIFIERS, max_size=2).map(",".join), WHITE, CONDITIONS),
).map("".join)


@given(REQUIREMENTS | some.tuples(REQUIREMENTS, some.text(max_size=3)).map("".join))
@example("demo (>=1.0,<2) ; extra == 'x'")
@example("demo (>=1.0")
def test_requirements_mean_what_the_standards_own_reader_says(text: str) -> None:
    """Most are read by a pattern of ours: what that takes for something else would be left out of an image."""
    try:
        whole = Requirement(text)
    except InvalidRequirement:
        whole = None
    extras = whole.extras if whole is not None else set()
    installed = [dist("app", text), dist("demo", 'one; extra == "x"', 'two; extra == "y-z"')]
    installed += [dist("one"), dist("two")]

    for extra in ("", "x", "y", "X-y"):
        asked = f"app[{extra}]" if extra else "app"
        marker = whole.marker if whole is not None else None
        holds = marker is None or _holds(marker, extra) or _holds(marker, "")
        found = closure.required_by(installed, [asked], MARKERS)
        if whole is not None:
            assert ("demo" in found) == holds, (text, extra)
            assert ("one" in found) == (holds and "x" in extras), (text, extra)
            assert ("two" in found) == (holds and "Y_z" in extras), (text, extra)


def _holds(marker: object, extra: str) -> bool:
    from packaging.markers import Marker, UndefinedComparison, UndefinedEnvironmentName

    assert isinstance(marker, Marker)
    try:
        return marker.evaluate({**MARKERS, "extra": extra})
    except (UndefinedComparison, UndefinedEnvironmentName):
        return True
