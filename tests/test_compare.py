"""Two Environments -> the facts on which they differ."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from envparity.compare import compare, compared, effective
from envparity.values import (
    Artifact,
    Basis,
    Change,
    Cpu,
    Difference,
    Distribution,
    Environment,
    Gap,
    GapKind,
    Host,
    NativeLibrary,
    Origin,
    OsPackage,
    Python,
    Settings,
    System,
    Variable,
)

LINUX = System(os="linux", machine="x86_64", id="debian", version_id="12", libc="glibc", libc_version="2.36")
CPYTHON = Python(version="3.11.7", implementation="cpython")


def environment(**sections: Any) -> Environment:
    return Environment(origin=Origin(kind="test"), **sections)


def installed(name: str, version: str, **more: Any) -> Distribution:
    return Distribution(name=name, version=version, **more)


def declared(name: str, specifier: str = "", **more: Any) -> Distribution:
    return Distribution(name=name, basis=Basis.DECLARED, specifier=specifier, **more)


def requirements(*lines: Distribution) -> Environment:
    return environment(distributions=lines, open=True)


def unread(section: str, reason: str, item: str = "") -> Gap:
    return Gap(section=section, kind=GapKind.UNREAD, reason=reason, item=item)


def one(before: Environment, after: Environment) -> Difference:
    (difference,) = compare(before, after)
    return difference


def test_a_library_we_could_not_look_for_is_unknown_not_removed() -> None:
    """A reader who sees "removed" will go and re-install it; we must not send them there on a guess."""
    before = environment(distributions=(installed("numpy", "1.26.4"),))
    after = environment(gaps=(unread("distributions", "site-packages is not readable"),))

    difference = one(before, after)

    assert difference.change is Change.UNKNOWN
    assert difference.note == "site-packages is not readable"
    assert difference.before
    assert not difference.after


def test_two_sides_that_both_lack_a_section_have_no_difference_there() -> None:
    assert compare(environment(), environment()) == ()


@pytest.mark.parametrize("item", ["numpy", "site-packages/numpy-1.26.4.dist-info/METADATA", "", "/opt/site-packages"])
def test_a_library_whose_files_could_not_be_read_is_unknown_not_removed(item: str) -> None:
    before = environment(distributions=(installed("numpy", "1.26.4"), installed("joblib", "1.4.2")))
    after = environment(distributions=(installed("joblib", "1.4.2"),), gaps=(unread("distributions", "damaged", item),))

    assert one(before, after).change is Change.UNKNOWN


def test_a_gap_of_one_library_does_not_excuse_another() -> None:
    before = environment(distributions=(installed("numpy", "1.26.4"),))
    after = environment(distributions=(), gaps=(unread("distributions", "damaged", "scipy"),))

    assert one(before, after).change is Change.REMOVED


def test_an_equal_version_with_unread_parts_is_not_equal() -> None:
    before = environment(distributions=(installed("numpy", "1.26.4"),))
    after = environment(
        distributions=(installed("numpy", "1.26.4"),), gaps=(unread("distributions", "RECORD is damaged", "numpy"),)
    )

    assert one(before, after).change is Change.UNKNOWN


def test_a_version_that_is_known_to_differ_stays_a_difference_beside_a_gap() -> None:
    before = environment(distributions=(installed("numpy", "1.26.4"),))
    after = environment(distributions=(installed("numpy", "2.0"),), gaps=(unread("distributions", "damaged", "numpy"),))

    assert one(before, after).change is Change.CHANGED


def test_what_a_requirements_file_does_not_name_is_unknown() -> None:
    before = environment(distributions=(installed("numpy", "1.26.4"), installed("scipy", "1.11.4")))
    after = requirements(declared("numpy", "==1.26.4"))

    difference = one(before, after)

    assert (difference.item, difference.change) == ("scipy", Change.UNKNOWN)


@pytest.mark.parametrize(
    ("specifier", "change"),
    [
        (">=1.26", Change.SATISFIED),
        ("~=1.26.0", Change.SATISFIED),
        (">=2", Change.CHANGED),
        ("==1.5.2", Change.CHANGED),
        ("", Change.UNKNOWN),
        ("not a specifier", Change.UNKNOWN),
    ],
)
def test_a_range_is_checked_against_the_version(specifier: str, change: Change) -> None:
    before = environment(distributions=(installed("numpy", "1.26.4"),))

    assert one(before, requirements(declared("numpy", specifier))).change is change


def test_a_pin_to_the_installed_version_is_no_difference() -> None:
    before = environment(distributions=(installed("numpy", "1.26.4"),))

    assert compare(before, requirements(declared("numpy", "==1.26.4"))) == ()
    assert compare(before, requirements(declared("numpy", "=== 1.26.4"))) == ()


def test_a_pin_accepts_a_local_build_and_is_not_equal_to_it() -> None:
    before = environment(distributions=(installed("torch", "2.1.0+cu121"),))

    assert one(before, requirements(declared("torch", "==2.1.0"))).change is Change.SATISFIED
    assert one(before, environment(distributions=(installed("torch", "2.1.0"),))).change is Change.CHANGED


def test_a_line_for_another_platform_does_not_count() -> None:
    before = environment(python=CPYTHON, system=LINUX, distributions=(installed("numpy", "1.26.4"),))
    after = requirements(
        declared("numpy", "==1.26.4", marker='python_version >= "3.9"'),
        declared("numpy", "==1.20", marker='python_version < "3.9"'),
        declared("pywin32", "==306", marker='sys_platform == "win32"'),
        declared("scipy", "==1.11.4", marker='extra == "full"'),
    )

    assert [item for item in compare(before, after) if item.section == "distributions"] == []


def test_a_condition_that_cannot_be_decided_is_unknown() -> None:
    """The machine that compares is neither of the two, so its own platform must not decide."""
    before = environment(distributions=(installed("numpy", "1.26.4"),))
    after = requirements(declared("numpy", "==1.20", marker='sys_platform == "linux"'))

    difference = one(before, after)

    assert difference.change is Change.UNKNOWN
    assert 'sys_platform == "linux"' in difference.note


def test_one_version_in_two_spellings_is_one_version() -> None:
    assert (
        compare(
            environment(distributions=(installed("Zope.Interface", "6.0"),)),
            environment(distributions=(installed("zope-interface", "6.0.0"),)),
        )
        == ()
    )


def test_letters_that_only_look_alike_are_another_library() -> None:
    differences = compare(
        environment(distributions=(installed("scipy", "1.0"),)),
        environment(distributions=(installed("sсipy", "1.0"),)),
    )

    assert {item.change for item in differences} == {Change.ADDED, Change.REMOVED}


@pytest.mark.parametrize("odd", ["2004d", "0.1dev-r1", "unknown"])
def test_a_version_of_no_standard_is_compared_as_text(odd: str) -> None:
    before = environment(distributions=(installed("pytz", odd),))

    assert compare(before, before) == ()
    difference = one(before, environment(distributions=(installed("pytz", "2024.1"),)))
    assert difference.change is Change.CHANGED
    assert "not a PEP 440 version" in difference.note


def test_the_same_version_of_another_wheel_is_a_difference() -> None:
    before = environment(distributions=(installed("numpy", "1.26.4", record_sha256="a" * 64),))
    after = environment(distributions=(installed("numpy", "1.26.4", record_sha256="b" * 64),))

    difference = one(before, after)

    assert (difference.field, difference.change) == ("wheel", Change.CHANGED)
    assert "a" * 12 in difference.before


def test_a_wheel_that_one_side_cannot_identify_is_unknown() -> None:
    before = environment(distributions=(installed("numpy", "1.26.4", record_sha256="a" * 64),))
    after = environment(distributions=(installed("numpy", "1.26.4"),))

    assert one(before, after).change is Change.UNKNOWN


def test_files_changed_after_installation_are_found_though_one_side_did_not_look() -> None:
    before = environment(distributions=(installed("numpy", "1.26.4"),))
    after = environment(distributions=(installed("numpy", "1.26.4", modified=("numpy/core.so",), missing=()),))

    found = {item.field: item for item in compare(before, after)}

    assert found["modified"].change is Change.CHANGED
    assert found["modified"].after == "numpy/core.so"
    assert found["missing"].change is Change.UNKNOWN


def test_an_editable_installation_is_not_the_installed_release() -> None:
    before = environment(distributions=(installed("mine", "1.0"),))
    after = environment(distributions=(installed("mine", "1.0", editable=True),))

    assert one(before, after).field == "editable"


def test_where_who_and_when_are_never_differences() -> None:
    before = environment(
        python=Python(version="3.11.7", prefix="/a", stdlib="/a/lib", path=("/a",), provenance="pyenv"),
        host=Host(kernel="6.1", cores=2, memory_bytes=1),
        distributions=(installed("numpy", "1.26.4", installer="pip", requested=True, location="/a"),),
    )
    after = Environment(
        origin=Origin(kind="oci", reference="oci:image", taken_at="2026-11-23T00:00:00Z"),
        python=Python(version="3.11.7", prefix="/b", stdlib="/b/lib", path=("/b",), provenance="debian"),
        host=Host(kernel="5.4", cores=64, memory_bytes=2),
        distributions=(installed("numpy", "1.26.4", installer="uv", requested=False, location="/b"),),
    )

    assert compare(before, after) == ()


def test_tooling_and_shadowed_copies_are_left_out() -> None:
    before = environment(distributions=(installed("numpy", "1.26.4"), installed("numpy", "1.0", shadowed=True)))
    after = environment(distributions=(installed("numpy", "1.26.4"), installed("click", "8.1", tooling=True)))

    assert compare(before, after) == ()


def test_two_copies_that_both_count_are_never_the_last_one_only() -> None:
    before = environment(distributions=(installed("numpy", "1.26.4"), installed("numpy", "2.0")))

    assert effective(before)["numpy"].version == "1.26.4 and 2.0"
    assert one(before, environment(distributions=(installed("numpy", "2.0"),))).before == "1.26.4 and 2.0"


def test_instructions_of_the_processor_differ_by_family() -> None:
    before = environment(cpu=Cpu(isa_level="x86-64-v4", flags=("avx2", "avx512f", "avx512bw", "avx512_vnni", "sse2")))
    after = environment(cpu=Cpu(isa_level="x86-64-v3", flags=("avx2", "sse2", "rtm")))

    found = {item.field: item for item in compare(before, after)}

    assert set(found) == {"isa_level", "avx512", "vnni"}
    assert found["avx512"].before == "avx512bw avx512f"
    assert found["vnni"].change is Change.REMOVED


def test_a_processor_without_recorded_flags_is_unknown_once() -> None:
    before = environment(cpu=Cpu(flags=("avx2", "avx512f")))

    assert one(before, environment(cpu=Cpu(vendor=""))).field == "flags"


def test_os_packages_are_told_apart_by_architecture_where_there_are_two() -> None:
    before = environment(
        os_packages=(
            OsPackage(name="libc6", version="2.36-9", architecture="amd64"),
            OsPackage(name="libc6", version="2.36-9", architecture="i386"),
        )
    )
    after = environment(os_packages=(OsPackage(name="libc6", version="2.36-9", architecture="amd64"),))

    difference = one(before, after)

    assert (difference.item, difference.change) == ("libc6:i386", Change.REMOVED)


def test_a_variable_whose_value_was_not_recorded_is_unknown() -> None:
    before = environment(settings=Settings(variables=(Variable("OMP_NUM_THREADS", "2"),)))
    after = environment(settings=Settings(names_only=("OMP_NUM_THREADS",)))

    assert one(before, after).change is Change.UNKNOWN
    assert one(before, environment(settings=Settings())).change is Change.REMOVED
    emptied = environment(settings=Settings(variables=(Variable("OMP_NUM_THREADS", ""),)))
    assert one(before, emptied).after == "(empty)"


def test_another_model_file_of_the_same_name_is_a_difference() -> None:
    def with_model(digest: str) -> Environment:
        return environment(artifacts=(Artifact(kind="model", name="m.joblib", size_bytes=1, sha256=digest * 64),))

    difference = one(with_model("a"), with_model("b"))

    assert (difference.item, difference.field, difference.change) == ("m.joblib", "model", Change.CHANGED)


def test_a_declared_python_is_checked_against_the_installed_one() -> None:
    before = environment(python=Python(version="3.11.7"))

    assert one(before, environment(python=Python(specifier=">=3.11"))).change is Change.SATISFIED
    assert one(before, environment(python=Python(specifier=">=3.12"))).change is Change.CHANGED


def test_what_was_compared_is_counted_without_what_is_unknown() -> None:
    before = environment(python=CPYTHON, distributions=(installed("numpy", "1.26.4"), installed("scipy", "1.0")))
    after = requirements(declared("numpy", "==1.26.4"))

    assert compared(before, after) == 1
    assert compared(environment(), before) == 0
    assert compared(environment(distributions=()), environment(distributions=())) == 0


def test_a_native_file_of_one_and_the_same_wheel_is_not_asked_for_its_version() -> None:
    """An image is not read byte by byte; what RECORD names needs no second look, and another wheel does."""
    known = NativeLibrary(
        name="libopenblas.so", role="blas", product="openblas", build_id="ab", owner_kind="wheel", owner="scipy"
    )
    silent = msgspec.structs.replace(known, build_id="")
    one, other = (Distribution(name="scipy", version="1.17.1", record_sha256=digit * 64) for digit in "01")

    def sides(installed: Distribution) -> tuple[Environment, Environment]:
        before = environment(distributions=(one,), native_libraries=(known,))
        return before, environment(distributions=(installed,), native_libraries=(silent,))

    assert compare(*sides(one)) == ()
    assert {item.section for item in compare(*sides(other))} == {"distributions", "native_libraries"}
