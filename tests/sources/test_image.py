"""An image is read as a snapshot of it would be taken, without a byte of it being run or written."""

from __future__ import annotations

import base64
import hashlib
import pickle
from collections import Counter
from pathlib import Path

import pytest

from envparity import codec
from envparity.collectors import model_folders
from envparity.collectors.tree import LocalTree
from envparity.errors import IntegrityError, UsageError
from envparity.oci.entries import Entry
from envparity.oci.places import write_image
from envparity.sources import Options, read
from envparity.values import Environment, GapKind, Variable
from tests.oci import hostile
from tests.oci.made import built, file
from tests.oci.registry import filled, serving
from tests.sources.test_live import BASE, install, make_venv

RELEASE = file("etc/os-release", b'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\nPRETTY_NAME="Debian"\n')
STATUS = file(
    "var/lib/dpkg/status",
    b"Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9\n\n"
    b"Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n",
)


def image_of(
    folder: Path, *layers: tuple[Entry, ...], env: tuple[str, ...] = (), scheme: str = "oci", **config: list[str]
) -> Environment:
    reference = f"{scheme}:{folder / 'image'}"
    write_image(reference, built(folder / "blobs", *layers, config={"Env": list(env), **config}), "model:1")
    return read(f"{scheme}:image", options=Options(base_dir=folder))


def link(path: str, target: str) -> Entry:
    return Entry(path, "link", 0o777, target=target)


def reasons(environment: Environment, section: str) -> dict[str, GapKind]:
    return {gap.reason: gap.kind for gap in environment.gaps if gap.section == section}


@pytest.mark.parametrize("scheme", ["oci", "docker-archive"])
def test_the_operating_system_is_read_where_there_is_no_python(scheme: str, tmp_path: Path) -> None:
    """A distroless image still has a release and packages; no Python is said, never taken for an empty list."""
    environment = image_of(tmp_path, (RELEASE, STATUS), scheme=scheme)

    assert environment.system is not None
    assert (environment.system.id, environment.system.codename, environment.system.machine) == (
        "debian",
        "bookworm",
        "x86_64",
    )
    assert [(item.name, item.version) for item in environment.os_packages or ()] == [("libc6", "2.36-9")]
    assert environment.python is None
    assert environment.distributions is None
    assert GapKind.NOT_RECORDED in reasons(environment, "python").values()
    assert "no Python" in " ".join(reasons(environment, "distributions"))
    assert "@sha256:" in environment.origin.reference


def test_what_an_image_cannot_know_is_a_gap(tmp_path: Path) -> None:
    environment = image_of(tmp_path, (STATUS,))

    assert environment.cpu is None
    assert environment.host is None
    assert {"cpu", "host", "system", "numerics"} <= {gap.section for gap in environment.gaps}


def test_gpu_libraries_of_an_image_are_read_and_its_driver_is_that_of_the_host(tmp_path: Path) -> None:
    """CUDA's own images: a toolkit behind two links, cuDNN from a package, and neither driver nor device."""
    toolkit = (
        link("usr/local/cuda", "/etc/alternatives/cuda"),
        link("etc/alternatives/cuda", "/usr/local/cuda-12.4"),
        file("usr/local/cuda-12.4/version.json", b'{"cuda_cudart": {"version": "12.4.127"}}'),
        file("opt/rocm/.info/version", b"6.2.4-109\n"),
    )
    library = "usr/lib/x86_64-linux-gnu/libnccl.so.2"
    libraries = (link(library, "libnccl.so.2.21.5"), file(library + ".21.5", b"\x7fELF"))
    package = b"Package: libcudnn9-cuda-12\nStatus: install ok installed\nArchitecture: amd64\nVersion: 9.1.0.70-1\n\n"

    environment = image_of(tmp_path, toolkit, libraries, (file("var/lib/dpkg/status", package),))

    assert environment.accelerators is not None
    assert environment.accelerators.runtimes == (
        ("cuda", "12.4.127"),
        ("cudnn", "9.1.0.70"),
        ("nccl", "2.21.5"),
        ("rocm", "6.2.4"),
    )
    assert environment.accelerators.devices == ()
    assert {gap.item: gap.kind for gap in environment.gaps if gap.section == "accelerators"} == {
        "driver": GapKind.NOT_RECORDED,
        "devices": GapKind.NOT_RECORDED,
    }


def test_a_library_whose_version_stands_in_its_bytes_alone_has_a_gap_in_an_image(tmp_path: Path) -> None:
    """Its name may say it; else a reader must not take "no version" for a fact."""
    named = image_of(tmp_path / "named", (file("usr/lib/libopenblasp-r0.3.21.so", b""),))
    silent = image_of(tmp_path / "silent", (file("usr/lib/libopenblas.so.0", b""),))

    assert "version" not in {gap.item for gap in named.gaps if gap.section == "native_libraries"}
    assert [item.version for item in named.native_libraries or ()] == ["0.3.21"]
    (gap,) = (gap for gap in silent.gaps if gap.section == "native_libraries")
    assert (gap.item, gap.kind) == ("version", GapKind.NOT_RECORDED)


def test_variables_of_the_config_are_recorded_by_the_same_list(tmp_path: Path) -> None:
    """NVIDIA toolkit, CVE-2025-23266: what an image sets is data here, and reaches no process of ours."""
    env = ("OMP_NUM_THREADS=2", "LD_PRELOAD=/evil.so", "API_TOKEN=hunter2", "OMP_NUM_THREADS=4")

    environment = image_of(tmp_path, (RELEASE,), env=env)

    assert environment.settings is not None
    assert environment.settings.variables == (Variable("LD_PRELOAD", "/evil.so"), Variable("OMP_NUM_THREADS", "4"))
    assert environment.settings.names_only == ("API_TOKEN",)
    assert b"hunter2" not in codec.dump_environment(environment)


def test_models_in_the_image_are_read_from_their_layer(tmp_path: Path) -> None:
    data = pickle.dumps(Counter("abc"))

    environment = image_of(
        tmp_path, (file("opt/model/m.pkl", b"old"),), (file("opt/model/m.pkl", data), file("opt/app/x.pkl", data))
    )

    (artifact,) = environment.artifacts or ()
    assert (artifact.name, artifact.path, artifact.size_bytes) == ("m.pkl", "/opt/model/m.pkl", len(data))
    assert artifact.classes == ("collections:Counter",)


def test_a_model_that_is_a_folder_is_one_artifact_in_an_image_too(tmp_path: Path) -> None:
    """Else an image that holds the very folder of the snapshot would differ from it in every file."""
    folder = tmp_path / "bert"
    folder.mkdir()
    (folder / "model.pkl").write_bytes(pickle.dumps(Counter("abc")))
    (folder / "config.json").write_text('{"model_type": "bert", "transformers_version": "4.44.2"}')
    (local, *_) = model_folders.folder(LocalTree(), str(folder), "bert")

    environment = image_of(
        tmp_path, tuple(file(f"opt/model/bert/{path.name}", path.read_bytes()) for path in folder.iterdir())
    )

    (artifact,) = environment.artifacts or ()
    assert (artifact.name, artifact.files, artifact.format) == ("bert", 2, "huggingface")
    assert artifact.sha256 == local["sha256"]
    assert artifact.modules == ("collections", "transformers")


def test_a_link_out_of_the_image_reads_nothing_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text('ID=host\nPRETTY_NAME="hunter2"\n')
    link = Entry("etc/os-release", "link", 0o777, target=f"../../../../../..{tmp_path / 'secret'}")

    environment = image_of(tmp_path, (link, STATUS))

    assert "hunter2" not in repr(environment)
    assert environment.system is not None
    assert environment.system.id == ""


def test_a_damaged_layer_is_an_error_not_a_smaller_environment(tmp_path: Path) -> None:
    image_of(tmp_path, (RELEASE, STATUS))
    largest = max((tmp_path / "image/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)

    with pytest.raises(IntegrityError):
        read("oci:image", options=Options(base_dir=tmp_path))


def test_an_image_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    for reference in ("oci:nowhere", "docker-archive:nowhere.tar"):
        with pytest.raises(UsageError):
            read(reference, options=Options(base_dir=tmp_path))


def test_a_folder_that_is_a_layout_needs_no_scheme(tmp_path: Path) -> None:
    image_of(tmp_path, (RELEASE,))

    assert read("image", options=Options(base_dir=tmp_path)).origin.kind == "image"


def test_an_environment_in_an_image_has_the_facts_of_the_same_one_alive(tmp_path: Path) -> None:
    """Verification compares the two; a fact in two forms would be a difference that is none."""
    site_packages = make_venv(tmp_path / "env")
    install(site_packages, "six", "1.16.0")
    (site_packages / "six-1.16.0.dist-info/RECORD").write_text("six.py,sha256=abc,3\nsix-1.16.0.dist-info/RECORD,,\n")
    (site_packages / "six-1.16.0.dist-info/WHEEL").write_text("Wheel-Version: 1.0\nTag: py3-none-any\n")
    (site_packages / "six.py").write_text("x=1")
    alive = read("venv:env", options=Options(base_dir=tmp_path))
    python = alive.python
    assert python is not None
    places = [item.path for item in (python.executable, python.libpython) if item is not None]
    interpreter = tuple(file(place.lstrip("/"), Path(place).read_bytes(), 0o755) for place in places)
    landmark = file(f"{python.stdlib.lstrip('/')}/os.py")
    environment_files = tuple(
        file(str(path).lstrip("/"), path.read_bytes(), 0o755)
        for path in sorted((tmp_path / "env").rglob("*"))
        if path.is_file() and not path.is_symlink()
    )
    link = Entry(f"{str(tmp_path).lstrip('/')}/env/bin/python", "link", 0o777, target=str(BASE))

    in_image = image_of(
        tmp_path, (*interpreter, landmark), (link, *environment_files), env=(f"PATH={tmp_path / 'env/bin'}",)
    )

    assert in_image.python is not None
    assert in_image.python.version == python.version
    assert codec.content(in_image).distributions == codec.content(alive).distributions
    assert not [gap for gap in in_image.gaps if gap.kind is GapKind.UNREAD]


@pytest.mark.parametrize(
    ("config", "version"),
    [
        ({}, "3.11.2"),
        ({"Entrypoint": ["/opt/env/bin/python", "serve.py"]}, "3.12.4"),
        ({"Entrypoint": ["/opt/env/bin/python"], "Cmd": ["serve.py"]}, "3.12.4"),
        ({"Cmd": ["/opt/env/bin/python3", "serve.py"]}, "3.12.4"),
        ({"Cmd": ["/opt/gone/bin/python", "serve.py"]}, "3.11.2"),
        ({"Entrypoint": ["/bin/sh", "-c", "/opt/env/bin/python serve.py"]}, "3.11.2"),
    ],
)
def test_the_python_that_the_entry_point_names_is_the_one_that_counts(
    tmp_path: Path, config: dict[str, list[str]], version: str
) -> None:
    """With a Python of the system on PATH too, the packages of another one would be compared."""
    pythons = (
        file("usr/bin/python3.11", b"\x7fELF" + bytes(60) + b"\x003.11.2\0", 0o755),
        Entry("usr/bin/python3", "link", 0o777, target="python3.11"),
        file("opt/python/bin/python3.12", b"\x7fELF" + bytes(60) + b"\x003.12.4\0", 0o755),
        Entry("opt/env/bin/python", "link", 0o777, target="/opt/python/bin/python3.12"),
        Entry("opt/env/bin/python3", "link", 0o777, target="python"),
        file("opt/env/pyvenv.cfg", b"home = /opt/python/bin\n"),
    )

    environment = image_of(tmp_path, pythons, env=("PATH=/usr/bin",), **config)

    assert environment.python is not None
    assert environment.python.version == version
    assert environment.python.prefix == ("/opt/env" if version == "3.12.4" else "/usr")


def test_the_packages_of_conda_in_an_image_are_those_of_its_records(tmp_path: Path) -> None:
    record = b'{"name": "%s", "version": "1.26.4", "build": "py311_0", "subdir": "linux-64"}'
    meta = "opt/conda/conda-meta"
    entries = (
        RELEASE,
        file(f"{meta}/numpy-1.26.4-py311_0.json", record % b"numpy"),
        file(f"{meta}/libblas-3.9.0-0.json", record % b"libblas"),
        file(f"{meta}/history", b"# update specs: ['numpy']\n"),
        file(f"{meta}/pinned", b"numpy 1.26.*\n"),
        file("opt/conda/.condarc", b"channels:\n  - conda-forge\n  - defaults\n"),
    )

    environment = image_of(tmp_path, entries)

    assert {item.name: (item.requested, item.pinned) for item in environment.conda_packages or ()} == {
        "libblas": (False, ""),
        "numpy": (True, "1.26.*"),
    }
    assert environment.origin.channels == ("conda-forge", "defaults")
    assert "virtual packages stand for" in " ".join(reasons(environment, "conda_packages"))


def test_an_image_without_conda_says_so(tmp_path: Path) -> None:
    environment = image_of(tmp_path, (RELEASE, STATUS))

    assert environment.conda_packages is None
    assert reasons(environment, "conda_packages") == {"it is no conda environment": GapKind.NOT_RECORDED}


def test_files_are_verified_though_the_layers_were_read_before_without_their_digests(tmp_path: Path) -> None:
    """What a quick look left in the cache has no digests: taken for the whole, it would call every file changed."""
    site = "opt/env/lib/python3.11/site-packages"
    good = base64.urlsafe_b64encode(hashlib.sha256(b"x = 1\n").digest()).rstrip(b"=").decode()
    layer = hostile.tar(
        hostile.file("opt/env/pyvenv.cfg", b"home = /usr/bin\nversion = 3.11.7\n"),
        hostile.file("usr/bin/python3.11", b"\x7fELF", mode=0o755),
        hostile.file("usr/lib/python3.11/os.py", b""),
        hostile.link("opt/env/bin/python3", "/usr/bin/python3.11"),
        hostile.file(f"{site}/x-1.dist-info/METADATA", b"Metadata-Version: 2.1\nName: x\nVersion: 1\n"),
        hostile.file(f"{site}/x-1.dist-info/RECORD", f"x.py,sha256={good},6\ny.py,sha256={good},6\n".encode()),
        hostile.file(f"{site}/x.py", b"x = 1\n"),
        hostile.file(f"{site}/y.py", b"y = 2\n"),
    )
    config = {"config": {"Env": ["PATH=/opt/env/bin"]}}
    environ = {"ENVPARITY_CACHE_DIR": str(tmp_path / "cache")}
    found = []
    with serving(filled(tmp_path, layer, config=config)) as fake:
        for verify in (False, True, True):
            environment = read(fake.reference, options=Options(environ=environ, verify_files=verify))
            found.append({item.name: item.modified for item in environment.distributions or ()})

    assert found == [{"x": None}, {"x": ("y.py",)}, {"x": ("y.py",)}]
    assert fake.paths.count(f"blobs/{hostile.digest(layer)}") == 2  # once for each of the two questions
