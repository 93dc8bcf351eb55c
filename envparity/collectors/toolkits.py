"""GPU libraries that lie in the system's own folders: CUDA, cuDNN, NCCL, cuBLAS, ROCm."""

from __future__ import annotations

import json
import re
from typing import Iterator

from envparity.collectors.shapes import Fact, Tree
from envparity.collectors.tree import gap

_GPU_LIBRARIES = (
    ("cuda", ("libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0", "libcudart.so")),
    ("cudnn", ("libcudnn.so.9", "libcudnn.so.8", "libcudnn.so.7")),
    ("nccl", ("libnccl.so.2",)),
    ("cublas", ("libcublas.so.13", "libcublas.so.12", "libcublas.so.11")),
)


_GPU_LIBRARY_FOLDERS = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib")


READ = ("/usr/local/cuda*/version.json", "/usr/local/cuda*/version.txt", "/opt/rocm*/.info/version")
"""The files whose content is looked into, as patterns; of others only the name is."""


def of_image(tree: Tree) -> Iterator[Fact]:
    """The same of an image, which brings neither driver nor devices."""
    yield {"kind": "section", "section": "accelerators"}
    yield from toolkits(tree)
    for item in ("driver", "devices"):
        yield gap(
            "accelerators", "not-recorded", "an image runs on any machine; the host brings driver and devices", item
        )


def toolkits(tree: Tree) -> Iterator[Fact]:
    """
    Observe CUDA, cuDNN, NCCL, cuBLAS and ROCm in the system's own folders: of a live place or of an image.

    A version is what `version.json` says, or the name that the link of a soname leads to (`libcudnn.so.9.1.0`).
    """
    roots = []
    try:
        roots = sorted(
            {tree.resolve("/usr/local/" + name) for name in tree.entries("/usr/local") if name[:4] == "cuda"}
        )
    except OSError:
        pass
    found = []
    for root in roots:
        found += [("cuda", version) for version in (_toolkit(tree, root),) if version]
        compat = _soname_version(tree, root + "/compat/libcuda.so.1")
        found += [("cuda-compat", compat)] if compat else []
    for folder in [*_GPU_LIBRARY_FOLDERS, *(root + "/lib64" for root in roots)]:
        if tree.kind(folder) == "folder":
            for library, names in _GPU_LIBRARIES:
                versions = {_soname_version(tree, folder + "/" + name) for name in names}
                found += [(library, version) for version in sorted(versions) if version]
    # https://rocm.docs.amd.com/: `6.2.4-109`, the release and its build
    rocm = short_text(tree, "/opt/rocm/.info/version").strip().partition("-")[0]
    found += [("rocm", rocm)] if re.match(r"\d+\.\d", rocm) else []
    if found:
        yield {"kind": "accelerators", "runtimes": [list(pair) for pair in sorted(set(found))]}


def _toolkit(tree: Tree, root: str) -> str:
    """CUDA's version by `version.json` (11.1 and newer; its runtime before its release), or `version.txt`."""
    try:
        parts = json.loads(short_text(tree, root + "/version.json") or "{}")
        for name in ("cuda_cudart", "cuda"):
            version = parts.get(name, {}).get("version", "")
            if re.match(r"\d+\.\d+[\d.]*$", version):
                return str(version)
    except (AttributeError, RecursionError, TypeError, ValueError):
        pass
    found = re.match(r"CUDA Version (\d+\.\d[\d.]*)", short_text(tree, root + "/version.txt"))
    return found.group(1) if found else ""


def _soname_version(tree: Tree, path: str) -> str:
    if tree.kind(path) != "file":
        return ""
    found = re.search(r"\.so\.(\d+\.\d[\d.]*)$", tree.resolve(path))
    return found.group(1) if found else ""


def short_text(tree: Tree, path: str) -> str:
    """The text of a small file; empty where there is none that could be read."""
    try:
        return tree.read(path, 1 << 18).decode("utf-8", "replace")
    except OSError:
        return ""
