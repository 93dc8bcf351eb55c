"""CUDA is never in an image twice: who brings it is known by names, and by what the training had in its wheels."""

from __future__ import annotations

import msgspec

from envparity.image import cuda
from envparity.values import BaseLayer, BasePackage, LockedDistribution, LockedImage, LockedWheel, NativeLibrary, Target
from tests.values import a_lock


def distributions(*names: str) -> tuple[LockedDistribution, ...]:
    return tuple(
        LockedDistribution(
            name=name,
            version="1",
            wheels=(LockedWheel(name=f"{name}-1-py3-none-any.whl", size_bytes=1, sha256="0" * 64),),
            state="matched",
        )
        for name in names
    )


def on(*packages: str) -> Target:
    digest = f"sha256:{'0' * 64}"
    layer = BaseLayer(digest=digest, diff_id=digest, size_bytes=1, media_type="x")
    held = tuple(BasePackage(name=name, version="12.4.127-1") for name in packages)
    image = LockedImage(digest=digest, layers=(layer,), glibc="2.36", packages=held)
    return msgspec.structs.replace(a_lock().targets[0], image=image, os_packages=())


def test_who_carries_cuda_is_told_by_name() -> None:
    names = ("nvidia-cublas-cu12", "nvidia-cudnn-cu13", "nvidia-cuda-runtime", "nvidia-ml-py", "torch", "cupy-cuda12x")

    assert cuda.carried(names) == ["nvidia-cublas-cu12", "nvidia-cuda-runtime", "nvidia-cudnn-cu13"]
    assert cuda.carried((), ("cudatoolkit", "libcublas", "cuda-version", "numpy")) == ["cudatoolkit", "libcublas"]


def test_who_has_it_bundled_is_told_by_the_files_of_the_training() -> None:
    """torch 2.0.1+cu118 lies in one wheel with cuBLAS and cuDNN; what links to the driver alone carries nothing."""
    native = [
        NativeLibrary(name="libcublas.so.11", role="cuda", product="cublas", owner_kind="wheel", owner="torch"),
        NativeLibrary(
            name="libcudart-d0da41ae.so.11.0", role="cuda", product="cudart", owner_kind="wheel", owner="torch"
        ),
        NativeLibrary(name="libcuda.so.1", role="cuda", product="cuda", owner_kind="wheel", owner="other"),
        NativeLibrary(name="libcudnn.so.8", role="cuda", product="cudnn", owner_kind="dpkg", owner="libcudnn8"),
    ]

    assert cuda.carried(("torch", "other"), native=native) == ["torch (cublas, cudart)"]
    assert cuda.carried(("other",), native=native) == []


def test_a_build_tells_of_a_base_and_wheels_that_both_bring_it() -> None:
    """A lock may be older than the rule, or edited: before anything is downloaded its builder should know."""
    lock = a_lock(distributions=distributions("nvidia-cublas-cu12", "numpy"))
    plain = a_lock(distributions=distributions("numpy"))
    below = on("cuda-cudart-12-4", "libcudnn9-cuda-12", "libcublas-12-4", "libc6", "rocm-core")

    (note,) = cuda.notes(lock, below)
    assert "in nvidia-cublas-cu12 and in the packages cuda-cudart-12-4 12.4.127-1, libcublas-12-4" in note
    assert not [*cuda.notes(plain, below), *cuda.notes(lock, on("libc6"))]
