"""What an image finds on the host that it is for: processor, driver, device."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from envparity.errors import RefusedError
from envparity.image.on_host import check_host, library_notes, openmp_notes
from envparity.sources import on_host
from envparity.sources.pylock import environment_of_lock
from envparity.values import (
    Accelerators,
    Cpu,
    Device,
    Environment,
    LeftOut,
    Lock,
    LockedDistribution,
    LockedWheel,
    NativeLibrary,
    Origin,
    System,
)
from tests.image.test_preflight import lock as plain_lock

V2 = ("popcnt", "sse4_1", "sse4_2", "ssse3")
V3 = (*V2, "avx2", "bmi1", "bmi2", "fma", "movbe")


def lock(*wheels: str, platform: str = "linux/amd64") -> Lock:
    return replace(plain_lock(platform=platform), distributions=tuple(map(distribution, wheels)))


def distribution(wheel: str) -> LockedDistribution:
    name, version = wheel.split("-")[:2]
    files = (LockedWheel(name=wheel, url=f"https://host/{wheel}", size_bytes=1, sha256="a" * 64),)
    return LockedDistribution(name=name.replace("_", "-"), version=version, wheels=files, state="matched")


def host(*flags: str, machine: str = "x86_64", level: str = "", stack: Accelerators | None = None) -> Environment:
    return Environment(
        origin=Origin(kind="live", reference="node.env.json"),
        system=System(machine=machine),
        cpu=Cpu(flags=flags, isa_level=level),
        accelerators=stack or Accelerators(),
    )


TRAINED = Environment(origin=Origin(kind="content"), cpu=Cpu(isa_level="x86-64-v4"))


def told(locked: Lock, node: Environment, trained: Environment = TRAINED) -> list[str]:
    (target,) = locked.targets
    return check_host(locked, target, on_host(environment_of_lock(locked, target.platform), node), node, trained)


def refused(locked: Lock, node: Environment) -> tuple[str, ...]:
    with pytest.raises(RefusedError, match=r"would not run on the host `node\.env\.json`") as caught:
        told(locked, node)
    assert "envparity diff --host" in caught.value.hint
    return caught.value.details


NUMPY = "numpy-2.4.6-cp311-cp311-manylinux_2_28_x86_64.whl"
POLARS = "polars_runtime_32-2.1.0-cp310-abi3-manylinux_2_17_x86_64.whl"
CUDA_12 = "nvidia_cuda_runtime_cu12-12.8.90-py3-none-manylinux_2_17_x86_64.whl"


def test_a_processor_without_what_the_wheels_use_is_refused_with_the_way_out() -> None:
    """On the host the process ends with SIGILL at the import, and no log says why."""
    (first, second) = refused(lock(NUMPY, POLARS), host("sse2"))

    assert first == "numpy 2.4.6: needs popcnt, sse4_1, sse4_2, ssse3, which the processor lacks; lock an older numpy"
    assert second.startswith("polars-runtime-32 2.1.0: needs avx2")
    assert refused(lock(NUMPY, POLARS), host(*V2)) == (second,)
    assert told(lock(NUMPY, POLARS), host(*V3)) == []


def test_what_is_not_known_of_a_processor_refuses_nothing() -> None:
    compat = "polars_runtime_compat-2.1.0-cp310-abi3-manylinux_2_17_x86_64.whl"

    assert told(lock(NUMPY), host()) == []
    assert told(lock("numpy-2.3.5-cp311-cp311-manylinux_2_28_x86_64.whl"), host("sse2")) == []
    assert told(lock(POLARS, compat), host("sse2")) == []


def test_an_image_for_another_processor_is_refused() -> None:
    (line,) = refused(lock(NUMPY, platform="linux/amd64"), host(machine="aarch64"))

    assert line == "the image is for linux/amd64, and the host is aarch64: lock for it too, with `--platform`"


def test_a_driver_older_than_the_wheels_cuda_is_refused_and_none_is_told() -> None:
    """torch then says that there is no GPU, and the model runs on the processor, fifty times as slowly."""
    old = Accelerators(driver="470.82.01", driver_cuda="11.4")
    (line,) = refused(lock(CUDA_12), host(stack=old))

    assert line.startswith(
        "nvidia-cuda-runtime-cu12 12.8.90: needs an NVIDIA driver of 525.60.13 or newer, and the host"
    )
    assert told(lock(CUDA_12), host(stack=Accelerators(driver="560.35.03"))) == []
    assert told(lock(CUDA_12), host(stack=replace(old, runtimes=(("cuda-compat", "560.35.03"),)))) == []
    (note,) = told(lock(CUDA_12), host())
    assert "has no NVIDIA driver" in note


def test_a_device_that_the_wheels_cuda_makes_no_code_for_is_refused() -> None:
    stack = Accelerators(driver="560.35.03", devices=(Device(vendor="nvidia", name="Tesla K80", capability="3.7"),))
    (line,) = refused(lock(CUDA_12), host(stack=stack))

    assert "Tesla K80: has compute capability 3.7, and needs 5.0 for CUDA 12" in line


def test_another_level_of_processor_than_the_training_s_is_told_and_not_refused() -> None:
    (note,) = told(lock(NUMPY), host(*V3, level="x86-64-v3"))

    assert "x86-64-v4, and the host has x86-64-v3" in note
    assert told(lock(NUMPY), host(*V3, level="x86-64-v4")) == []


def test_a_library_that_no_known_package_brings_is_told_and_that_of_a_driver_is_not() -> None:
    (target,) = lock(NUMPY).targets
    odd = LeftOut(
        kind="library", name="libodd.so.9", reason="no package of debian:bookworm that envparity knows brings it"
    )
    driver = LeftOut(
        kind="library", name="libcuda.so.1", reason="the driver of the machine that runs the image brings it"
    )
    (note,) = library_notes(replace(target, left_out=(odd, driver)))

    assert note.startswith("missing in the image: `libodd.so.9`; what needs it does not load")
    assert "`--add-os`" in note
    assert list(library_notes(replace(target, left_out=(driver,)))) == []


def test_two_openmp_runtimes_of_what_is_locked_are_told_and_two_copies_of_one_are_not() -> None:
    """scikit-learn and XGBoost each bring libgomp and work together; Intel's beside it hangs."""

    def of(product: str, owner: str) -> NativeLibrary:
        return NativeLibrary(name=f"{product}.so", role="openmp", product=product, owner=owner, owner_kind="wheel")

    locked = lock("numpy-1-py3-none-any.whl", "torch-2-py3-none-any.whl", "mkl-1-py3-none-any.whl")
    one, same, other, gone = of("libgomp", "numpy"), of("libgomp", "torch"), of("libiomp", "mkl"), of("libomp", "gone")

    assert list(openmp_notes(replace(TRAINED, native_libraries=(one, same, gone)), locked)) == []
    (note,) = openmp_notes(replace(TRAINED, native_libraries=(one, same, other)), locked)
    assert "2 OpenMP runtimes" in note
    assert "libgomp of numpy, torch; libiomp of mkl" in note
