"""What is served may ask more than its place has; a host brings what an image cannot."""

from __future__ import annotations

import pytest

from envparity.compare import unmet
from envparity.diff import between
from envparity.errors import UsageError
from envparity.sources import on_host
from envparity.values import (
    Accelerators,
    Basis,
    Cpu,
    Device,
    Distribution,
    Environment,
    Gap,
    GapKind,
    Host,
    Origin,
    Severity,
    System,
)

NEW = Distribution(
    name="numpy",
    version="2.3.1",
    wheel_tags=("cp311-cp311-manylinux_2_27_x86_64", "cp311-cp311-manylinux_2_28_x86_64"),
)
PURE = Distribution(name="requests", version="2.32.3", wheel_tags=("py3-none-any",))
LEGACY = Distribution(name="old", version="1.0", wheel_tags=("cp311-cp311-manylinux2014_x86_64",))
MUSL = System(os="linux", libc="musl", libc_version="1.2.5")


def system(glibc: str) -> System:
    return System(os="linux", machine="x86_64", libc="glibc", libc_version=glibc)


def environment(*distributions: Distribution, **sections) -> Environment:
    return Environment(origin=Origin(kind="image", reference="x"), distributions=distributions, **sections)


@pytest.mark.parametrize(
    ("place", "unfit"),
    [
        (system("2.26"), ["numpy"]),
        (system("2.27"), []),
        (system("2.36"), []),
        (system("2.5"), ["numpy", "old"]),
        (MUSL, ["numpy", "old"]),
        (System(os="linux"), []),
        (None, []),
    ],
)
def test_a_wheel_for_a_newer_c_library_does_not_fit(place: System | None, unfit: list[str]) -> None:
    found = unmet(environment(NEW, PURE, LEGACY, system=place))

    assert [difference.item for difference in found] == unfit


def test_what_only_declares_a_version_is_taken_to_get_the_wheel_that_trained() -> None:
    trained = environment(NEW, system=system("2.36"))
    pinned = Distribution(name="numpy", specifier="==2.3.1", basis=Basis.DECLARED)
    other = Distribution(name="numpy", specifier="==2.2.0", basis=Basis.DECLARED)
    centos = system("2.17")

    assert [one.before for one in unmet(environment(pinned, system=centos), trained)] == ["glibc 2.27"]
    assert unmet(environment(other, system=centos), trained) == ()
    assert unmet(environment(pinned, system=centos)) == ()


def test_a_wheel_that_does_not_load_fails_the_comparison() -> None:
    trained = environment(NEW, system=system("2.36"))
    report = between(trained, environment(NEW, system=system("2.17")))

    found = next(finding for finding in report.findings if finding.difference.section == "needs")
    assert (found.severity, found.fix.startswith("use a base with glibc 2.27 or newer")) == (Severity.HIGH, True)
    assert report.status == 1


@pytest.mark.parametrize(
    ("cuda", "capability", "unfit"),
    [
        ("13.0.48", "7.0", True),
        ("13.0.48", "7.5", False),
        ("12.4.127", "7.0", False),
        ("12.4", "3.7", True),
        ("14.1", "7.0", False),
    ],
)
def test_a_cuda_without_code_for_the_device_does_not_fit(cuda: str, capability: str, unfit: bool) -> None:
    device = Device(vendor="nvidia", name="Tesla V100", capability=capability)
    stack = Accelerators(devices=(device,), runtimes=(("cuda", cuda),))

    found = unmet(environment(accelerators=stack))
    assert [(one.item, one.field) for one in found] == ([("nvidia Tesla V100", "capability")] if unfit else [])


def test_two_versions_of_cuda_are_a_contradiction_and_no_lack() -> None:
    device = Device(vendor="nvidia", name="Tesla V100", capability="7.0")
    both = Accelerators(devices=(device,), runtimes=(("cuda", "12.4"), ("cuda", "13.0")))

    assert unmet(environment(accelerators=both)) == ()


IMAGE = environment(
    Distribution(name="nvidia-cuda-runtime-cu12", version="12.4.127"),
    system=system("2.36"),
    gaps=tuple(Gap(name, GapKind.NOT_RECORDED, "an image cannot carry it") for name in ("cpu", "host", "accelerators")),
)


def node(driver: str) -> Environment:
    return Environment(
        origin=Origin(kind="live", reference="node.env.json"),
        system=system("2.17"),
        cpu=Cpu(model="EPYC", isa_level="x86-64-v3"),
        host=Host(kernel="6.1"),
        accelerators=Accelerators(driver=driver, devices=(Device(vendor="nvidia", name="Tesla T4", capability="7.5"),)),
    )


def test_an_image_on_a_host_has_its_processor_and_driver_and_keeps_its_own_system() -> None:
    placed = on_host(IMAGE, node("550.54.15"))

    assert (placed.cpu, placed.system) == (node("").cpu, IMAGE.system)
    assert placed.accelerators is not None
    assert placed.accelerators.runtimes == (("cuda", "12.4.127"),)
    assert placed.accelerators.contradictions == ()
    assert placed.gaps == ()


def test_a_driver_that_is_too_old_for_what_the_image_holds_is_said() -> None:
    placed = on_host(IMAGE, node("470.57.02"))

    assert placed.accelerators is not None
    (said,) = placed.accelerators.contradictions
    assert "the driver 470.57.02" in said
    report = between(on_host(IMAGE, node("550.54.15")), placed)
    assert any(finding.difference.field == "contradiction" for finding in report.findings)


def test_what_has_no_system_of_its_own_would_be_installed_on_the_host() -> None:
    lock = environment(NEW)

    assert [one.after for one in unmet(on_host(lock, node("")))] == ["glibc 2.17"]


def test_a_host_that_knows_no_hardware_is_refused() -> None:
    with pytest.raises(UsageError, match="it is no host"):
        on_host(IMAGE, environment(NEW))
