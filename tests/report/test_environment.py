"""What `envparity show` prints of one Environment."""

from __future__ import annotations

from envparity.report import environment as report
from envparity.report.text import Style, cells
from envparity.values import (
    Accelerators,
    Artifact,
    CondaPackage,
    Cpu,
    Device,
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

FULL = Environment(
    origin=Origin(kind="venv", reference="venv:.venv", taken_at="2026-11-23T10:00:00Z"),
    python=Python(version="3.11.7", implementation="cpython", compiler="GCC 12.2.0", provenance="pyenv"),
    system=System(os="linux", name="Debian GNU/Linux 12", machine="x86_64", libc="glibc", libc_version="2.36"),
    host=Host(kernel="6.1", cores=2, memory_bytes=24 << 30),
    cpu=Cpu(model="A processor", isa_level="x86-64-v3"),
    distributions=(
        *(Distribution(name=f"library-{n:02}", version="1.0") for n in range(25)),
        Distribution(name="envparity", version="0.1", tooling=True),
    ),
    os_packages=(OsPackage(name="libc6", version="2.36-9"),),
    settings=Settings(variables=(Variable("LANG", "C.UTF-8"),)),
    artifacts=(
        Artifact(
            kind="model",
            name="m.joblib",
            size_bytes=1950,
            sha256="a" * 64,
            format="joblib",
            classes=("sklearn.pipeline:Pipeline",),
            versions=(("scikit-learn", "1.4.2"),),
            properties=(("opset", "17"),),
        ),
    ),
    gaps=(Gap(section="numerics", kind=GapKind.NOT_RECORDED, reason="only running code knows it"),),
)


def test_a_person_sees_everything_that_matters_on_one_screen() -> None:
    lines = report.text(FULL, Style()).splitlines()

    assert lines[:6] == [
        "venv:.venv",
        "taken at 2026-11-23T10:00:00Z",
        "Python    cpython 3.11.7 pyenv, GCC 12.2.0",
        "System    Debian GNU/Linux 12, x86_64, glibc 2.36",
        "CPU       A processor, x86-64-v3",
        "Host      6.1, 2 cores, 24 GiB",
    ]
    assert "25 distributions (1 more of tooling or out of reach)" in lines
    assert "  and 5 more (-v lists them)" in lines
    assert "  LANG=C.UTF-8" in lines
    assert "Model m.joblib" in lines
    assert "  written by scikit-learn 1.4.2" in lines
    assert "  says opset 17" in lines
    assert "  refers to sklearn.pipeline:Pipeline" in lines
    assert lines[-2:] == ["  numeric kernels and switches", "    only running code knows it"]


def test_all_of_it_is_listed_when_it_is_asked_for() -> None:
    lines = report.text(FULL, Style(), verbose=True).splitlines()

    assert sum(line.startswith("  library-") for line in lines) == 25
    assert any(line.endswith("tooling") for line in lines)
    assert any(line.startswith("  libc6 ") for line in lines)


def test_an_environment_of_which_little_is_known_is_short() -> None:
    little = Environment(origin=Origin(kind="requirements"), distributions=())

    assert report.text(little, Style()) == "requirements\n\n0 distributions\n"


def test_it_fits_a_narrow_place() -> None:
    assert max(map(cells, report.text(FULL, Style(width=50, ascii=True)).splitlines())) <= 50


def test_every_section_that_is_there_is_shown() -> None:
    """A fact that is recorded, and that nobody can see, will not be looked at when a prediction changes."""
    seen = report.text(
        Environment(
            origin=Origin(kind="live"),
            accelerators=Accelerators(
                driver="550.54.15",
                driver_cuda="12.4",
                driver_floor="580",
                floor_by="torch 2.13.0+cu130",
                devices=(
                    Device(vendor="nvidia", name="NVIDIA A100", capability="8.0", memory_bytes=80 << 30, count=2),
                    Device(vendor="nvidia", name="Tesla T4", mig="2 of 19968 MiB"),
                ),
                runtimes=(("cudnn", "9.1.0.70"),),
                contradictions=("the driver is older than what torch starts with",),
            ),
            conda_packages=(CondaPackage(name="libblas", version="3.9.0", build="22_mkl"),),
            native_libraries=(NativeLibrary(name="libgomp.so.1", role="openmp", product="libgomp"),),
            numerics=Numerics(
                libraries=(NumericLibrary(product="openblas", kernel="SkylakeX", threads=2, owner="numpy"),),
                switches=(Variable("torch.backends.cudnn.benchmark", "True"),),
                seeds=(Variable("torch.initial_seed", "42"),),
            ),
            modules=(Module(name="helpers", file="/src/helpers.py"),),
            source_code=SourceCode(commit="c" * 40, dirty=True, untracked=3, parameters=(Variable("alpha", "0.1"),)),
            python=Python(version="3.11.7", optimize=1, utf8_mode=True, dev_mode=True),
            distributions=(
                Distribution(
                    name="numpy",
                    version="2.1.0",
                    modified=("numpy/a.so",),
                    missing=("numpy/b.py",),
                    added=("numpy/c.py",),
                ),
            ),
        )
    )

    for shown in (
        "2 x NVIDIA A100, 8.0, 80 GiB",
        "nvidia Tesla T4, cut into 2 of 19968 MiB",
        "driver 550.54.15, supports CUDA up to 12.4, the wheels need 580 (torch",
        "cudnn 9.1.0.70",
        "contradiction: the driver is older than what torch starts with",
        "libblas 3.9.0 22_mkl",
        "openmp: libgomp, owned by nothing",
        "openblas, of numpy, kernel SkylakeX, 2 threads",
        "torch.backends.cudnn.benchmark = True",
        "seed: torch.initial_seed = 42",
        "helpers (owned by nothing)",
        "with changes on top, 3 untracked files",
        "3.11.7 -O in UTF-8 mode in development mode",
        "numpy 2.1.0: changed numpy/a.so",
        "numpy 2.1.0: missing numpy/b.py",
        "numpy 2.1.0: added numpy/c.py",
        "alpha = 0.1",
    ):
        assert shown in seen


def test_code_that_runs_at_every_start_and_that_nobody_brought_is_shown() -> None:
    environment = Environment(
        origin=Origin(kind="live"),
        python=Python(version="3.11.7", planted=("evil\x1b.pth",)),
        distributions=(
            Distribution(name="requests", version="2.31.0", vendored_in="pip"),
            Distribution(name="setuptools", version="70", startup=True, added=("x.py",)),
        ),
    )

    shown = report.text(environment, Style(), verbose=True)

    assert "evil\\x1b.pth: code that no distribution brought" in shown
    assert "inside pip" in shown
    assert "1 added runs code at every start" in shown


def test_of_a_long_path_that_is_named_by_a_gap_its_end_is_shown() -> None:
    """Whoever must make a file readable needs all of its path; for anybody else the line has no room."""
    place = "/opt/a/very/long/way/down/lib/python3.11/site-packages/hook.pth"
    gaps = (
        Gap("python", GapKind.NOT_RECORDED, "it has lines that are code", place),
        Gap("distributions", GapKind.UNREAD, "permission denied", place),
        Gap("python", GapKind.NOT_RECORDED, "code that runs at every start", "/short/sitecustomize.py"),
    )

    lines = report.text(Environment(origin=Origin(kind="live"), gaps=gaps), Style()).splitlines()

    assert "  Python .../site-packages/hook.pth" in lines
    assert "  Python /short/sitecustomize.py" in lines
    assert place in "".join(lines).replace(" ", "")


def test_a_stack_of_which_an_image_says_nothing_has_no_empty_heading() -> None:
    gaps = (Gap("accelerators", GapKind.NOT_RECORDED, "the host brings driver and devices", "devices"),)
    image = Environment(origin=Origin(kind="image"), accelerators=Accelerators(), gaps=gaps)
    live = Environment(origin=Origin(kind="live"), accelerators=Accelerators())

    assert "Accelerators\n" not in report.text(image, Style())
    assert "Accelerators\n  no devices\n" in report.text(live, Style())


def test_a_digest_is_not_cut_where_it_can_stand_on_a_line_of_its_own() -> None:
    digest = "@sha256:" + "a" * 64

    def head(name: str, width: int = 80) -> list[str]:
        return report.text(Environment(origin=Origin(kind="image", reference=name)), Style(width=width)).splitlines()

    assert head("oci:x" + digest)[:1] == ["oci:x" + digest]
    assert head("registry:127.0.0.1:5000/team/model:1" + digest)[:2] == ["registry:127.0.0.1:5000/team/model:1", digest]
    assert head("venv:" + "a" * 90)[:2] == ["venv:" + "a" * 75, "a" * 15]
