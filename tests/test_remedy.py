"""The smallest change that clears a verdict is one that clears it, and none of its parts can be left out."""

from __future__ import annotations

from hypothesis import given, settings
from msgspec.structs import replace

from envparity.diff import between
from envparity.errors import IncompleteError
from envparity.report.outcome import remedy
from envparity.values import Change, Distribution, Environment, Finding, Origin, Severity, System
from tests.strategies import environments

LINUX = System(os="linux", machine="x86_64", libc="glibc", libc_version="2.17")


def environment(system: System | None = None, **versions: str) -> Environment:
    items = tuple(Distribution(name=name.replace("_", "-"), version=version) for name, version in versions.items())
    return Environment(origin=Origin(kind="venv", reference="x"), distributions=items, system=system)


BEFORE = environment(scikit_learn="1.4.2", numpy="1.26.4", tqdm="4.66.1", joblib="1.4.2")


def test_only_what_fails_is_pinned_to_what_the_model_had() -> None:
    after = environment(scikit_learn="1.5.2", numpy="1.26.4", tqdm="4.67.0", joblib="1.4.2")
    report = between(BEFORE, after)

    assert (report.status, report.pins, report.left) == (1, ("scikit-learn==1.4.2",), 0)


def test_what_is_gone_is_installed_and_what_passes_needs_nothing() -> None:
    gone = environment(scikit_learn="1.4.2", tqdm="4.66.1", joblib="1.4.2")

    assert between(BEFORE, gone).pins == ("numpy==1.26.4",)
    assert between(BEFORE, BEFORE).pins == ()


def test_what_no_pin_clears_is_counted() -> None:
    wheel = Distribution(name="numpy", version="1.26.4", wheel_tags=("cp311-cp311-manylinux_2_28_x86_64",))
    before = replace(BEFORE, distributions=(wheel,), system=replace(LINUX, libc_version="2.36"))
    report = between(before, replace(before, system=LINUX))

    assert (report.status, report.pins, report.left) == (1, (), 1)


def failures(report, fail_on: Severity) -> list[Finding]:
    return [
        one for one in report.findings if one.severity.at_least(fail_on) and one.difference.change is not Change.UNKNOWN
    ]


@settings(max_examples=60)
@given(environments(), environments())
def test_with_its_pins_nothing_fails_but_what_it_counts(a: Environment, b: Environment) -> None:
    try:
        report = between(a, b, fail_on=Severity.MEDIUM)
    except IncompleteError:
        return
    assert report.left <= len(failures(report, Severity.MEDIUM))
    if report.pins:
        assert report.left < len(failures(report, Severity.MEDIUM)), "a pin that clears nothing"


def test_it_is_said_as_a_person_would() -> None:
    whole = between(BEFORE, BEFORE)
    said = {
        ("numpy==1.26.4",): "To pass, serve with numpy==1.26.4.",
        ("without torch",): "To pass, serve without torch.",
        ("without torch", "zlib==1"): "To pass, serve with zlib==1, without torch.",
    }

    assert {pins: remedy(replace(whole, pins=pins)) for pins in said} == said
