"""Real-looking values that several tests speak of."""

from __future__ import annotations

import tomllib
from typing import Any

import msgspec
import tomli_w

from envparity.codec.seal import sealed
from envparity.values import (
    Artifact,
    BroughtDistribution,
    Cpu,
    Distribution,
    Environment,
    File,
    Gap,
    GapKind,
    Host,
    Lock,
    LockedArtifact,
    LockedCondaPackage,
    LockedDistribution,
    LockedInterpreter,
    LockedModel,
    LockedOsPackage,
    LockedWheel,
    Origin,
    OsPackage,
    Packer,
    Python,
    Settings,
    Substituted,
    System,
    Target,
    Variable,
)

SOME_SHA256 = "0123456789abcdef" * 4
OTHER_SHA256 = "fedcba9876543210" * 4


def training(**changes: Any) -> Environment:
    """A training environment as a snapshot holds it."""
    whole = Environment(
        origin=Origin(kind="venv", reference="venv:train", taken_at="2026-11-23T10:00:00Z", tool="envparity 0.1.0"),
        python=Python(
            version="3.11.7",
            implementation="cpython",
            soabi="cpython-311-x86_64-linux-gnu",
            prefix="/home/ada/train",
            executable=File("/home/ada/train/bin/python", SOME_SHA256),
        ),
        system=System(os="linux", machine="x86_64", id="debian", version_id="12", libc="glibc", libc_version="2.36"),
        host=Host(kernel="6.1.0-28-amd64", cores=8),
        cpu=Cpu(vendor="GenuineIntel", isa_level="x86-64-v3", flags=("avx2", "fma")),
        distributions=(
            Distribution(
                name="numpy",
                version="1.26.4",
                wheel_tags=("cp311-cp311-manylinux_2_17_x86_64", "cp311-cp311-manylinux2014_x86_64"),
                record_sha256=SOME_SHA256,
                installer="pip",
                location="/home/ada/train/lib/python3.11/site-packages/numpy-1.26.4.dist-info",
            ),
            Distribution(name="envparity", version="0.1.0", tooling=True),
        ),
        os_packages=(OsPackage(name="libc6", version="2.36-9+deb12u9", architecture="amd64"),),
        settings=Settings(variables=(Variable("OMP_NUM_THREADS", "2"),), names_only=("AWS_SECRET_ACCESS_KEY",)),
        artifacts=(
            Artifact(
                kind="model", name="model.joblib", size_bytes=9, sha256=OTHER_SHA256, path="/home/ada/model.joblib"
            ),
        ),
        gaps=(Gap("numerics", GapKind.NOT_RECORDED, "no collector reads it yet"),),
    )
    return msgspec.structs.replace(whole, **changes)


def a_lock(**changes: Any) -> Lock:
    """A small lock that has something of everything."""
    whole = Lock(
        requires_python="==3.11.*",
        environments=('sys_platform == "linux" and platform_machine == "x86_64"',),
        distributions=(
            LockedDistribution(
                name="joblib",
                version="1.4.2",
                wheels=(
                    LockedWheel(
                        name="joblib-1.4.2-py3-none-any.whl",
                        url="https://files.example/joblib-1.4.2-py3-none-any.whl",
                        size_bytes=301817,
                        sha256=SOME_SHA256,
                    ),
                ),
                state="matched",
                index="https://index.example/simple/",
                import_names=("joblib",),
            ),
        ),
        targets=(
            Target(
                platform="linux/amd64",
                base="debian:bookworm",
                interpreter=LockedInterpreter(
                    kind="captured",
                    version="3.11.7",
                    executable="/opt/python/bin/python3.11",
                    artifact=LockedArtifact(name="cpython-3.11.7.tar.gz", size_bytes=5, sha256=OTHER_SHA256),
                ),
                os_packages=(
                    LockedOsPackage(
                        name="libc6",
                        version="2.36-9+deb12u13",
                        architecture="amd64",
                        archive="debian",
                        suite="bookworm",
                        pool_path="pool/main/g/glibc/libc6_2.36-9+deb12u13_amd64.deb",
                        size_bytes=2756128,
                        sha256=SOME_SHA256,
                    ),
                ),
                substituted=(
                    Substituted(
                        kind="os-package", name="libc6", before="2.36-9+deb12u9", after="2.36-9+deb12u13", reason="gone"
                    ),
                ),
            ),
        ),
        snapshot=LockedArtifact(name="snapshot-0123.env.json", size_bytes=7, sha256=SOME_SHA256),
        packer=Packer(library_version="deflate-0.9.0"),
        models=(LockedModel(name="model.joblib", size_bytes=9, sha256=OTHER_SHA256, modules=("sklearn.pipeline",)),),
        settings=(Variable("OMP_NUM_THREADS", "2"),),
    )
    return msgspec.structs.replace(whole, **changes)


def resealed(text: str) -> str:
    """The text of a lock as a version of envparity would have written it that writes what stands there."""
    head, header, _ = text.partition("[tool.envparity.end]\n")
    document = tomllib.loads(text)
    end = {**sealed(document), "count": document["tool"]["envparity"]["end"]["count"]}
    return head + header + tomli_w.dumps(end)


def a_conda_lock(**changes: Any) -> Lock:
    """A lock of a conda environment, with one package; `changes` are fields of that package."""
    fields: dict[str, Any] = {
        "name": "libdemo",
        "version": "1.2",
        "build": "h1_0",
        "channel": "https://conda.example/main",
        "subdir": "linux-64",
        "file_name": "libdemo-1.2-h1_0.conda",
        "url": "https://conda.example/main/linux-64/libdemo-1.2-h1_0.conda",
        "size_bytes": 5,
        "sha256": SOME_SHA256,
        "md5": "a1" * 16,
        "state": "proven",
        "requested": True,
        "depends": ("__glibc >=2.17,<3.0.a0", "python 3.11.*"),
        "distributions": (BroughtDistribution(name="demo", version="1.2", import_names=("demo",)),),
        **changes,
    }
    (target,) = a_lock().targets
    virtual = ("__glibc=2.36=0",)
    package = LockedCondaPackage(**fields)
    return a_lock(targets=(msgspec.structs.replace(target, conda_packages=(package,), virtual_packages=virtual),))
