"""What packages say of GPU libraries: their versions, the driver that they need, and where two of them disagree."""

from __future__ import annotations

from typing import Any

import pytest

from envparity.sources.gpu_libraries import with_gpu_libraries
from envparity.values import Accelerators, CondaPackage, Distribution, Environment, Origin, OsPackage

# The wheels of two environments in one collect-env report: pip's own, and conda's.
CUDA_13 = {
    "nvidia-cublas": "13.1.1.3",
    "nvidia-cuda-runtime": "13.0.96",
    "nvidia-cudnn-cu13": "9.20.0.48",
    "nvidia-nccl-cu13": "2.29.7",
    "torch": "2.13.0+cu130",
}
CUDA_12 = {
    "nvidia-cublas-cu12": "12.4.5.8",
    "nvidia-cuda-runtime-cu12": "12.4.127",
    "nvidia-cudnn-cu12": "9.1.0.70",
    "nvidia-nccl-cu12": "2.21.5",
    "torch": "2.5.1+cu124",
}


def seen(
    *distributions: dict[str, str],
    conda: tuple[CondaPackage, ...] = (),
    os: dict[str, str] | None = None,
    **stack: Any,
) -> Accelerators:
    """The accelerators of an environment with these packages, after what was found of driver and files."""
    environment = Environment(
        origin=Origin(kind="test"),
        accelerators=Accelerators(**stack),
        distributions=tuple(
            Distribution(name=name, version=version) for group in distributions for name, version in group.items()
        ),
        conda_packages=conda,
        os_packages=tuple(OsPackage(name=name, version=version) for name, version in (os or {}).items()),
    )
    completed = with_gpu_libraries(environment).accelerators
    assert completed is not None
    return completed


def test_the_wheels_of_nvidia_say_which_library_they_hold() -> None:
    stack = seen(CUDA_12)

    assert stack.runtimes == (("cublas", "12.4.5.8"), ("cuda", "12.4.127"), ("cudnn", "9.1.0.70"), ("nccl", "2.21.5"))
    assert (stack.driver_floor, stack.floor_by) == ("525.60.13", "nvidia-cuda-runtime-cu12 12.4.127")
    assert stack.contradictions == ()


def test_the_wheels_of_cuda_13_have_no_ending_and_need_a_newer_driver() -> None:
    stack = seen(CUDA_13, driver="580.105.08", driver_cuda="13.0")

    assert dict(stack.runtimes) == {"cublas": "13.1.1.3", "cuda": "13.0.96", "cudnn": "9.20.0.48", "nccl": "2.29.7"}
    assert (stack.driver_floor, stack.floor_by) == ("580", "nvidia-cuda-runtime 13.0.96")
    assert stack.contradictions == ()


@pytest.mark.parametrize(
    ("name", "version", "floor"),
    [
        ("torch", "1.13.1+cu117", "450.80.02"),
        ("torch", "1.8.1+cu102", "440.33"),
        ("torch", "1.7.1+cu92", "396.26"),
        ("torch", "2.8.0a0+gitabc.cu128", "525.60.13"),
        ("jaxlib", "0.4.9+cuda12.cudnn88", "525.60.13"),
        ("jax-cuda12-plugin", "0.4.35", "525.60.13"),
        ("cupy-cuda11x", "13.3.0", "450.80.02"),
        ("cupy-cuda102", "12.0.0", "440.33"),
        ("cudf-cu12", "24.10.1", "525.60.13"),
        ("cuda-toolkit", "13.0.2", "580"),
        ("torch", "2.5.1+cpu", ""),
        ("torch", "2.5.1", ""),
        ("torch", "2.5.1+rocm6.2", ""),
        ("focus-curve", "1.0+cute1", ""),
        ("cuda-python", "99.0", ""),
    ],
)
def test_the_driver_that_a_distribution_needs_is_read_from_its_name_or_version(
    name: str, version: str, floor: str
) -> None:
    stack = seen({name: version})

    assert (stack.driver_floor, stack.floor_by) == (floor, f"{name} {version}" if floor else "")


def test_of_several_the_newest_cuda_decides() -> None:
    stack = seen({"nvidia-cuda-runtime-cu11": "11.8.89", "torch": "2.13.0+cu130"})

    assert (stack.driver_floor, stack.floor_by) == ("580", "torch 2.13.0+cu130")


def test_a_version_that_says_less_of_the_same_library_is_not_a_second_one() -> None:
    """`torch+cu124` and `nvidia-cuda-runtime-cu12 12.4.127` speak of one runtime."""
    assert ("cuda", "12.4") not in seen(CUDA_12).runtimes
    assert seen({"torch": "2.1.0+cu118"}).runtimes == (("cuda", "11.8"),)
    assert seen({"torch": "2.5.1+rocm6.2"}, runtimes=(("rocm", "6.2.4"),)).runtimes == (("rocm", "6.2.4"),)


def test_two_builds_of_pytorch_are_a_contradiction_that_names_both() -> None:
    """A real collect-env report: pip says 2.13.0+cu130 and conda 2.5.1+cu124, and nobody knows which one trained."""
    stack = seen(CUDA_13, CUDA_12, driver="580.105.08")

    assert stack.contradictions == (
        "PyTorch is made for CUDA 12.4 (torch 2.5.1+cu124 by pip) and for CUDA 13.0 (torch 2.13.0+cu130 by pip)",
        "the packages of Python are of several major versions of CUDA: 12 (nvidia-cublas-cu12 12.4.5.8, "
        "nvidia-cuda-runtime-cu12 12.4.127, nvidia-cudnn-cu12 9.1.0.70 and 2 more) and "
        "13 (nvidia-cuda-runtime 13.0.96, nvidia-cudnn-cu13 9.20.0.48, nvidia-nccl-cu13 2.29.7 and 1 more)",
    )


def test_conda_says_its_cuda_in_builds_and_packages() -> None:
    """The builds of the channel `pytorch`, and those of conda-forge, as collect-env reports them."""
    conda = (
        CondaPackage(name="pytorch", version="2.2.2", build="py3.12_cuda12.1_cudnn8.9.2_0", channel="pytorch"),
        CondaPackage(name="pytorch-cuda", version="12.1", build="ha16c6d3_5", channel="pytorch"),
        CondaPackage(name="cuda-cudart", version="12.1.105", build="0", channel="nvidia"),
        CondaPackage(name="__cuda", version="12.4", virtual=True),
        CondaPackage(name="torch", version="2.5.1+cu124", build="pypi_0", channel="pypi"),
    )

    stack = seen(conda=conda)

    assert stack.runtimes == (("cuda", "12.1.105"), ("cudnn", "8.9.2"))
    assert (stack.driver_floor, stack.floor_by) == ("525.60.13", "cuda-cudart 12.1.105")
    assert stack.contradictions == ()
    forge = CondaPackage(name="pytorch", version="2.5.1", build="cuda118_py311hc0b1fd2_3", channel="conda-forge")
    assert seen(conda=(forge,)).runtimes == (("cuda", "11.8"),)


def test_pip_and_conda_that_disagree_are_both_named() -> None:
    conda = CondaPackage(name="pytorch", version="2.5.1", build="py3.12_cuda12.4_cudnn9.1.0_0", channel="pytorch")

    stack = seen({"torch": "2.13.0+cu130"}, conda=(conda,))

    assert stack.contradictions[0] == (
        "PyTorch is made for CUDA 12.4 (pytorch 2.5.1 by conda) and for CUDA 13.0 (torch 2.13.0+cu130 by pip)"
    )


def test_a_driver_that_is_too_old_for_the_wheels_is_a_contradiction() -> None:
    """uv fell back to a newer CUDA, and the cluster's driver was too old for it (MeteoSwiss/evalml#165)."""
    stack = seen(CUDA_13, driver="535.54.03", driver_cuda="12.2")

    assert stack.contradictions == (
        "the driver 535.54.03 supports CUDA up to 12.2 and is older than 580, the oldest that nvidia-cuda-runtime "
        "13.0.96 starts with",
    )


@pytest.mark.parametrize("driver", ["525.60.13", "535.54.03", "580.105.08", ""])
def test_a_driver_of_the_same_major_version_or_newer_is_none_and_neither_is_no_driver(driver: str) -> None:
    """From CUDA 11 on the oldest driver of a major version serves all of its minor versions."""
    assert seen(CUDA_12, driver=driver, driver_cuda="12.0" if driver else "").contradictions == ()


def test_the_package_for_forward_compatibility_stands_for_a_newer_driver() -> None:
    stack = seen(CUDA_13, driver="535.54.03", runtimes=(("cuda-compat", "580.65.06"),))

    assert stack.contradictions == ()


def test_two_major_versions_of_cudnn_are_a_contradiction_wherever_they_lie() -> None:
    """pytorch#80637: a cuDNN found by LD_LIBRARY_PATH took the place of the one in the wheel."""
    of_system = seen(CUDA_12, os={"libcudnn8": "8.9.7.29-1+cuda12.2"})
    of_files = seen(CUDA_12, runtimes=(("cudnn", "8.9.7"),))

    assert of_system.contradictions == (
        "cuDNN is there in several major versions: 8 (libcudnn8 8.9.7.29-1+cuda12.2) and "
        "9 (nvidia-cudnn-cu12 9.1.0.70)",
    )
    assert of_files.contradictions == (
        "cuDNN is there in several major versions: 8 (the system's folders) and 9 (nvidia-cudnn-cu12 9.1.0.70)",
    )


@pytest.mark.parametrize(
    ("name", "version", "runtime"),
    [
        ("libcudnn9-cuda-12", "9.1.0.70-1", ("cudnn", "9.1.0.70")),
        ("libnccl2", "2.21.5-1+cuda12.4", ("nccl", "2.21.5")),
        ("libcublas-12-4", "12.4.5.8-1", ("cublas", "12.4.5.8")),
        ("cuda-cudart-12-4", "12.4.127-1", ("cuda", "12.4.127")),
        ("libcudart11.0", "11.5.117~11.5.1-1ubuntu1", ("cuda", "11.5.117")),
        ("libcudnn8", "1:8.9.7.29-1", ("cudnn", "8.9.7.29")),
        ("libcudnn8-dev", "8.9.7.29-1", None),
        ("cuda-cudart-dev-12-4", "12.4.127-1", None),
        ("libnccl2", "unknown", None),
    ],
)
def test_packages_of_the_system_are_known_by_name(name: str, version: str, runtime: tuple[str, str] | None) -> None:
    assert seen(os={name: version}).runtimes == ((runtime,) if runtime else ())


def test_a_toolkit_of_the_system_asks_nothing_of_the_driver() -> None:
    """What Python loads decides; `/usr/local/cuda` may be there for a compiler alone."""
    assert seen(os={"cuda-cudart-13-0": "13.0.96-1"}, driver="535.54.03").driver_floor == ""


def test_where_nobody_looked_nothing_is_made_up() -> None:
    declared = Environment(
        origin=Origin(kind="lock"), distributions=(Distribution(name="torch", version="2.13.0+cu130"),)
    )

    assert with_gpu_libraries(declared) == declared


def test_tooling_does_not_speak_for_the_model() -> None:
    tool = Distribution(name="nvidia-cuda-runtime-cu12", version="12.4.127", tooling=True)
    environment = Environment(origin=Origin(kind="live"), accelerators=Accelerators(), distributions=(tool,))

    assert with_gpu_libraries(environment) == environment


def test_what_was_found_before_stays() -> None:
    before = ("the loaded kernel module of the NVIDIA driver is 1, and the library beside it is 2",)

    assert seen({}, contradictions=before, driver="1").contradictions == before
