"""Hypothesis strategies of Environments: small, with every kind of hole that a real one has."""

from __future__ import annotations

from hypothesis import strategies as st

from envparity.values import (
    SECTIONS,
    Accelerators,
    Artifact,
    Basis,
    CondaPackage,
    Cpu,
    Device,
    Dispatch,
    Distribution,
    Environment,
    Gap,
    GapKind,
    Host,
    Module,
    NativeLibrary,
    NumericLibrary,
    Numerics,
    Origin,
    OsPackage,
    Python,
    Settings,
    SourceCode,
    System,
    Variable,
)

NAMES = ("numpy", "scikit-learn", "sklearn", "opencv-python", "opencv-python-headless", "zope-interface", "pytest")
VERSIONS = ("1.4.2", "1.5.2", "1.5", "1.5.0", "2.0.0", "2.0.0+cu121", "2004d", "")
SPECIFIERS = ("", ">=1.5", "==1.5.2", "~=1.4", "<2,>=1", "==1.*", "nonsense")
MARKERS = ("", 'sys_platform == "linux"', 'python_version < "3.9"', 'platform_release == "6"')
SHAS = tuple(digit * 64 for digit in "0123")

gap_kinds = st.sampled_from(GapKind)
reasons = st.sampled_from(("permission denied", "this source does not record it"))


def _some(values: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.one_of(st.none(), values)


pythons = st.builds(
    Python,
    basis=st.just(Basis.INSTALLED),
    version=st.sampled_from(("3.11.7", "3.12.1", "")),
    specifier=st.sampled_from(("", ">=3.11")),
    implementation=st.sampled_from(("cpython", "pypy", "")),
    soabi=st.sampled_from(("cpython-311", "")),
    debug=st.sampled_from((None, True, False)),
    prefix=st.sampled_from(("/usr", "/opt/env")),
)

systems = st.builds(
    System,
    os=st.sampled_from(("linux", "darwin", "")),
    machine=st.sampled_from(("x86_64", "aarch64", "")),
    id=st.sampled_from(("debian", "ubuntu", "")),
    version_id=st.sampled_from(("12", "")),
    libc=st.sampled_from(("glibc", "musl", "")),
    libc_version=st.sampled_from(("2.27", "2.36", "")),
)

hosts = st.builds(Host, kernel=st.sampled_from(("6.1", "")), cores=st.sampled_from((None, 2, 64)))

cpus = st.builds(
    Cpu,
    vendor=st.sampled_from(("GenuineIntel", "")),
    isa_level=st.sampled_from(("x86-64-v3", "x86-64-v4", "")),
    flags=st.lists(st.sampled_from(("avx2", "avx512f", "avx512_vnni", "amx_int8", "sse2")), unique=True).map(tuple),
)

distributions = st.builds(
    Distribution,
    name=st.sampled_from(NAMES),
    basis=st.sampled_from(Basis),
    version=st.sampled_from(VERSIONS),
    specifier=st.sampled_from(SPECIFIERS),
    marker=st.sampled_from(MARKERS),
    record_sha256=st.sampled_from((None, *SHAS)),
    wheel_tags=st.sampled_from(((), ("py3-none-any",), ("cp311-cp311-manylinux_2_17_x86_64",))),
    location=st.sampled_from(("", "/usr/lib", "/opt/lib")),
    installer=st.sampled_from(("", "pip", "uv")),
    requested=st.sampled_from((None, True, False)),
    editable=st.booleans(),
    requires=st.sampled_from(((), ("numpy>=1",), ("joblib; extra == 'all'",))),
    shadowed=st.booleans(),
    tooling=st.booleans(),
    modified=st.sampled_from((None, (), ("a.py",))),
    missing=st.sampled_from((None, (), ("b.py",))),
)

os_packages = st.builds(
    OsPackage,
    name=st.sampled_from(("libc6", "libgomp1", "adduser")),
    version=st.sampled_from(("2.36-9", "2.36-9+deb12u7", "2.41-1", "")),
    architecture=st.sampled_from(("amd64", "i386")),
)

variables = st.builds(
    Variable,
    name=st.sampled_from(("OMP_NUM_THREADS", "OPENBLAS_CORETYPE", "LANG")),
    value=st.sampled_from(("", "1", "2")),
)
settings = st.builds(
    Settings,
    variables=st.lists(variables, max_size=3, unique_by=lambda item: item.name).map(tuple),
    names_only=st.sampled_from(((), ("LANG",), ("HOME",))),
)

artifacts = st.builds(
    Artifact,
    kind=st.sampled_from(("model", "data")),
    name=st.sampled_from(("model.joblib", "train.csv")),
    size_bytes=st.integers(0, 9),
    sha256=st.sampled_from(SHAS),
    classes=st.sampled_from(
        ((), ("sklearn.feature_extraction.text:TfidfTransformer",), ("sklearn.linear_model._base:LinearRegression",))
    ),
)

accelerators = st.builds(
    Accelerators,
    driver=st.sampled_from(("550.54.15", "")),
    driver_cuda=st.sampled_from(("12.4", "")),
    devices=st.sampled_from(((), (Device(vendor="nvidia", name="H100", capability="9.0"),))),
    runtimes=st.sampled_from(((), (("cudnn", "9.1.0"),), (("cudnn", "9.1.0"), ("cudnn", "8.9.7"), ("nccl", "2.21")))),
)

conda_packages = st.builds(
    CondaPackage,
    name=st.sampled_from(("libblas", "numpy", "__glibc")),
    version=st.sampled_from(("1.26.4", "3.9.0", "")),
    specifier=st.sampled_from(("", ">=1.26")),
    build=st.sampled_from(("", "22_linux64_openblas", "22_linux64_mkl")),
    virtual=st.booleans(),
)

native_libraries = st.builds(
    NativeLibrary,
    name=st.sampled_from(("libopenblas.so.0", "libgomp.so.1", "_x.so")),
    role=st.sampled_from(("blas", "openmp", "")),
    product=st.sampled_from(("openblas", "libgomp", "")),
    version=st.sampled_from(("0.3.23", "")),
    build_id=st.sampled_from(("", "ab12")),
    owner=st.sampled_from(("numpy", "scipy", "")),
)

numerics = st.builds(
    Numerics,
    libraries=st.lists(
        st.builds(
            NumericLibrary,
            product=st.sampled_from(("openblas", "mkl")),
            kernel=st.sampled_from(("SkylakeX", "Haswell", "")),
            threads=st.sampled_from((None, 1, 2)),
            owner=st.sampled_from(("numpy", "scipy")),
        ),
        max_size=2,
    ).map(tuple),
    dispatch=st.sampled_from(((), (Dispatch(library="numpy", baseline=("SSE2",), found=("AVX2",)),))),
    switches=st.lists(variables, max_size=2, unique_by=lambda item: item.name).map(tuple),
    seeds=st.lists(variables, max_size=2, unique_by=lambda item: item.name).map(tuple),
)

modules = st.builds(Module, name=st.sampled_from(("numpy", "os")), owner=st.sampled_from(("numpy", "stdlib", "")))

source_codes = st.builds(
    SourceCode,
    commit=st.sampled_from(("a" * 40, "b" * 40, "")),
    dirty=st.sampled_from((None, True, False)),
    diff_sha256=st.sampled_from((None, *SHAS[:2])),
    parameters=st.lists(variables, max_size=2, unique_by=lambda item: item.name).map(tuple),
)

gaps = st.builds(
    Gap,
    section=st.sampled_from(SECTIONS),
    kind=gap_kinds,
    reason=reasons,
    item=st.sampled_from(("", "numpy", "site-packages/joblib-1.4.2.dist-info/METADATA", "site-packages", "libc6")),
)


def environments() -> st.SearchStrategy[Environment]:
    """Environments in which any section may be absent, empty or filled, with gaps that may or may not fit."""
    return st.builds(
        Environment,
        origin=st.builds(Origin, kind=st.sampled_from(("venv", "requirements")), reference=st.sampled_from(("", "x"))),
        python=_some(pythons),
        system=_some(systems),
        host=_some(hosts),
        cpu=_some(cpus),
        distributions=_some(st.lists(distributions, max_size=4).map(tuple)),
        os_packages=_some(st.lists(os_packages, max_size=3).map(tuple)),
        accelerators=_some(accelerators),
        conda_packages=_some(st.lists(conda_packages, max_size=3).map(tuple)),
        native_libraries=_some(st.lists(native_libraries, max_size=3).map(tuple)),
        numerics=_some(numerics),
        modules=_some(st.lists(modules, max_size=2).map(tuple)),
        source_code=_some(source_codes),
        settings=_some(settings),
        artifacts=_some(st.lists(artifacts, max_size=3).map(tuple)),
        open=st.booleans(),
        gaps=st.lists(gaps, max_size=3, unique=True).map(tuple),
    )
