"""Two Environments -> the facts on which they differ."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from envparity.compare import compare, compared, effective
from envparity.values import (
    Accelerators,
    Artifact,
    Basis,
    Change,
    CondaPackage,
    Cpu,
    Device,
    Difference,
    Distribution,
    Environment,
    Gap,
    GapKind,
    Host,
    Module,
    NativeLibrary,
    Numerics,
    Origin,
    OsPackage,
    Python,
    Settings,
    SourceCode,
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


def test_a_copy_that_no_import_finds_is_no_difference() -> None:
    before = environment(distributions=(installed("requests", "2.31.0"),))
    after = environment(
        distributions=(
            installed("requests", "2.31.0"),
            installed("requests", "2.28.2", vendored_in="pip"),
            installed("requests", "2.20.0", shadowed=True),
        )
    )

    assert compare(before, after) == ()


def test_code_that_nobody_brought_and_that_runs_at_every_start_is_a_difference() -> None:
    """litellm_init.pth, 2026: the versions of both sides were the same."""
    clean = Python(version="3.11.7", implementation="cpython", path=("/a",), startup=("/a/distutils-precedence.pth",))
    planted = Python(version="3.11.7", implementation="cpython", path=("/b",), planted=("evil.pth",))

    (difference,) = compare(environment(python=clean), environment(python=planted))

    assert (difference.field, difference.item, difference.change) == ("planted", "evil.pth", Change.ADDED)
    assert compare(environment(python=CPYTHON), environment(python=planted)) == ()


def test_files_that_were_added_after_installation_are_found() -> None:
    looked = {"modified": (), "missing": ()}
    before = environment(distributions=(installed("numpy", "1.26.4", **looked, added=()),))
    after = environment(distributions=(installed("numpy", "1.26.4", **looked, added=("numpy/more.py",)),))

    difference = one(before, after)

    assert (difference.field, difference.before, difference.after) == ("added", "none", "numpy/more.py")


A100 = Device(vendor="nvidia", name="NVIDIA A100-SXM4-80GB", capability="8.0", memory_bytes=80 << 30)
ON_A100 = Accelerators(driver="550.54.15", driver_cuda="12.4", devices=(A100,), runtimes=(("cudnn", "9.1.0.70"),))


def stacks(left: Accelerators, right: Accelerators, *gaps: Gap) -> dict[tuple[str, str], tuple[Change, str, str]]:
    """What differs between two accelerator stacks, where the right side has these gaps."""
    found = compare(environment(accelerators=left), environment(accelerators=right, gaps=gaps))
    return {(item.item, item.field): (item.change, item.before, item.after) for item in found}


def test_a_machine_without_an_accelerator_has_none_and_that_is_known() -> None:
    """Its driver is not unknown: somebody looked, and there is none."""
    assert stacks(ON_A100, Accelerators()) == {
        ("accelerators", "driver"): (Change.REMOVED, "550.54.15", ""),
        ("accelerators", "driver_cuda"): (Change.REMOVED, "12.4", ""),
        ("cudnn", "version"): (Change.REMOVED, "9.1.0.70", ""),
        ("NVIDIA A100-SXM4-80GB", "capability"): (Change.REMOVED, "8.0", ""),
    }


def test_an_image_does_not_know_its_driver_and_devices_and_lacks_only_its_libraries() -> None:
    gaps = (Gap("accelerators", GapKind.NOT_RECORDED, "the host brings it", item) for item in ("driver", "devices"))

    assert stacks(ON_A100, Accelerators(), *gaps) == {
        ("accelerators", "driver"): (Change.UNKNOWN, "550.54.15", ""),
        ("accelerators", "driver_cuda"): (Change.UNKNOWN, "12.4", ""),
        ("cudnn", "version"): (Change.REMOVED, "9.1.0.70", ""),
        ("NVIDIA A100-SXM4-80GB", "capability"): (Change.UNKNOWN, "8.0", ""),
    }


def test_a_capability_that_one_side_could_not_ask_for_is_unknown() -> None:
    named = Accelerators(devices=(Device(vendor="nvidia", name=A100.name),))
    gap = Gap("accelerators", GapKind.UNREAD, "nvidia-smi did not answer within 10 seconds", "devices")

    (difference,) = compare(
        environment(accelerators=Accelerators(devices=(A100,))), environment(accelerators=named, gaps=(gap,))
    )

    assert (difference.field, difference.change, difference.note) == ("capability", Change.UNKNOWN, gap.reason)


def test_another_number_of_cards_and_other_slices_are_differences() -> None:
    """Another number of multiprocessors, or of ranks to sum over, is another order of sums."""
    two = Device(vendor="nvidia", name=A100.name, capability="8.0", count=2)
    cut = Device(vendor="nvidia", name=A100.name, capability="8.0", mig="4 of 19968 MiB")

    assert stacks(Accelerators(devices=(A100,)), Accelerators(devices=(two,))) == {
        (A100.name, "count"): (Change.CHANGED, "1", "2")
    }
    assert stacks(Accelerators(devices=(A100,)), Accelerators(devices=(cut,))) == {
        (A100.name, "mig"): (Change.CHANGED, "whole", "4 of 19968 MiB")
    }


def test_a_contradiction_that_arrives_is_a_difference() -> None:
    """A diff that only lists versions would not say that the new wheels cannot start on this driver."""
    sentence = "the driver 535.54.03 is older than 580, the oldest that torch 2.13.0+cu130 starts with"

    assert stacks(Accelerators(), Accelerators(contradictions=(sentence,))) == {
        ("accelerators", "contradiction"): (Change.ADDED, "", sentence)
    }


def test_the_same_accelerators_do_not_differ() -> None:
    assert stacks(ON_A100, ON_A100) == {}
    assert compared(environment(accelerators=ON_A100), environment(accelerators=ON_A100)) == 5


def test_a_library_that_something_else_answers_for_is_a_known_difference() -> None:
    """The version is the same on both sides, and one imports the `numpy.py` of the folder that it was started in."""
    numpy = installed("numpy", "1.26.4", import_names=("numpy",))
    reason = "an import of `numpy` finds /work/numpy.py, and not the one that this distribution brought"
    told = Gap("distributions", GapKind.NOT_RECORDED, reason, "numpy")
    from_outside = environment(
        distributions=(installed("numpy", "1.26.4", import_names=("numpy",), shadowed=True),), gaps=(told,)
    )
    from_inside = environment(
        distributions=(installed("numpy", "1.26.4", import_names=("numpy",), loaded=False),),
        modules=(Module(name="numpy", file="/work/numpy.py"),),
    )

    for shadowed in (from_outside, from_inside):
        difference = one(environment(distributions=(numpy,)), shadowed)

        assert (difference.item, difference.field, difference.change) == ("numpy", "shadowed", Change.CHANGED)


def test_a_namespace_without_an_owner_shadows_nothing() -> None:
    google = installed("protobuf", "5.0", import_names=("google.protobuf", "google"), loaded=False)
    after = environment(distributions=(google,), modules=(Module(name="google"),))

    assert compare(environment(distributions=(google,)), after) == ()


def test_what_was_not_loaded_on_one_side_has_no_switches_there() -> None:
    before = environment(numerics=Numerics(switches=(Variable("sklearn.assume_finite", "False"),)))

    difference = one(before, environment(numerics=Numerics()))

    assert difference.change is Change.UNKNOWN


def test_a_switch_that_another_version_does_not_have_is_unknown_for_that_reason() -> None:
    switch = Variable("onnxruntime.get_device", "CPU")
    lacks = Gap("numerics", GapKind.NOT_RECORDED, "onnxruntime 9.0 does not have it", switch.name)

    difference = one(
        environment(numerics=Numerics(switches=(switch,))), environment(numerics=Numerics(), gaps=(lacks,))
    )

    assert (difference.change, difference.note) == (Change.UNKNOWN, lacks.reason)


def test_seeds_are_no_difference() -> None:
    """A server draws from generators of its own; and torch seeds itself anew in every process that nobody seeded."""
    before, after = (
        environment(numerics=Numerics(seeds=(Variable("torch.initial_seed", seed),))) for seed in ("1", "2")
    )

    assert compare(before, after) == ()


def test_a_clean_and_a_dirty_repository_differ() -> None:
    clean = SourceCode(commit="a" * 40, dirty=False)
    dirty = SourceCode(commit="a" * 40, dirty=True, diff_sha256="b" * 64)

    difference = one(environment(source_code=clean), environment(source_code=dirty))

    assert (difference.field, difference.change) == ("diff_sha256", Change.CHANGED)


def test_conda_packages_of_one_version_and_build_may_be_other_bytes() -> None:
    one_channel, another = (
        CondaPackage(name="numpy", version="1.26.4", build="py311_0", sha256=digit * 64) for digit in "ab"
    )

    difference = one(environment(conda_packages=(one_channel,)), environment(conda_packages=(another,)))

    assert difference.field == "sha256"
    unbuilt = CondaPackage(name="numpy", version="1.26.4")
    assert one(environment(conda_packages=(one_channel,)), environment(conda_packages=(unbuilt,))).change is (
        Change.UNKNOWN
    )


def test_one_library_under_two_names_is_one_difference_in_its_name_and_not_one_gone_and_one_new() -> None:
    before = environment(distributions=(installed("opencv-python-headless", "4.10.0.84"),))
    after = environment(distributions=(installed("opencv_contrib_python", "4.10.0.84"),))

    (found,) = compare(before, after)

    assert (found.item, found.field, found.change) == ("opencv-python", "name", Change.CHANGED)
    assert (found.before, found.after) == ("opencv-python-headless", "opencv-contrib-python")


def test_another_version_under_another_name_is_another_version_too() -> None:
    before = environment(distributions=(installed("tensorflow-gpu", "2.10.0"),))
    after = environment(distributions=(installed("tensorflow", "2.16.1"),))

    assert [(one.item, one.field, one.before, one.after) for one in compare(before, after)] == [
        ("tensorflow", "name", "tensorflow-gpu", "tensorflow"),
        ("tensorflow", "version", "2.10.0", "2.16.1"),
    ]


def test_where_both_names_are_on_one_side_each_stands_for_itself() -> None:
    both = environment(distributions=(installed("opencv-python", "4.10"), installed("opencv-python-headless", "4.10")))
    one = environment(distributions=(installed("opencv-python-headless", "4.10"),))

    assert [(found.item, found.change) for found in compare(both, one)] == [("opencv-python", Change.REMOVED)]


CONDA_ONLY = Gap(
    section="distributions", kind=GapKind.NOT_RECORDED, reason="which distributions they bring is not written"
)


@pytest.mark.parametrize(
    ("package", "told"),
    [
        (CondaPackage(name="numpy", basis=Basis.DECLARED, specifier="==1.26.*"), "is ==1.26.*; whether it brings"),
        (CondaPackage(name="NumPy", basis=Basis.LOCKED, version="1.26.4", build="py311_0"), "is 1.26.4; whether"),
        (CondaPackage(name="numpy", basis=Basis.DECLARED, specifier="==1.24.*"), "which distributions they bring"),
        (CondaPackage(name="numpy", basis=Basis.DECLARED), "which distributions they bring"),
        (CondaPackage(name="numpy-base", basis=Basis.LOCKED, version="1.26.4"), "which distributions they bring"),
        (CondaPackage(name="numpy", basis=Basis.LOCKED, version="1.26.4", virtual=True), "which distributions"),
    ],
)
@pytest.mark.parametrize("order", ["conda first", "conda last"])
def test_a_pin_of_conda_that_contradicts_is_told_and_stays_unknown(
    package: CondaPackage, told: str, order: str
) -> None:
    """`numpy=1.26` in an environment.yml and numpy 1.24 installed: "known on one side" alone hides the cause."""
    conda = environment(distributions=(), conda_packages=(package,), gaps=(CONDA_ONLY,), open=True)
    pip = environment(distributions=(installed("numpy", "1.24.0"),))
    sides = (conda, pip) if order == "conda first" else (pip, conda)

    (difference,) = (fact for fact in compare(*sides) if fact.section == "distributions")

    assert difference.change is Change.UNKNOWN
    assert told in difference.note
    assert "1.24.0" in (difference.before, difference.after)
