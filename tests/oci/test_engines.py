"""The other readers of images have the last word: skopeo and umoci."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envparity.oci.check import require_valid
from envparity.oci.entries import Entry
from envparity.oci.layout import write_layout
from envparity.oci.places import open_image, write_image
from envparity.oci.tree import ImageTree, merge
from tests.oci import hostile
from tests.oci.made import built, file
from tests.tools import needs_tool


def run(*command: str | Path) -> bytes:
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, (command, done.stderr.decode()[-2000:])
    return done.stdout


def unpack(reference: str, folder: Path) -> Path:
    """What umoci makes of an image, without root."""
    run(needs_tool("umoci"), "unpack", "--rootless", "--image", reference, folder)
    return folder / "rootfs"


View = dict[str, tuple[str, object]]


def on_disk(root: Path) -> View:
    """Every path below a folder: its kind, and content, target or mode."""
    found: View = {}
    for path in root.rglob("*"):
        name = "/" + str(path.relative_to(root))
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            found[name] = ("link", str(path.readlink()))
        elif stat.S_ISDIR(status.st_mode):
            found[name] = ("folder", stat.S_IMODE(status.st_mode))
        else:
            found[name] = ("file", path.read_bytes())
    return found


def in_tree(tree: ImageTree) -> View:
    found: View = {}
    for node in tree.walk():
        if node.path == "/":
            continue
        value: object = tree.read(node.path) if node.kind == "file" else node.target or node.mode
        found[node.path] = (node.kind, value)
    return found


NAMES = st.sampled_from(["a", "b", "c", "d"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
MEMBERS = st.one_of(
    st.tuples(st.just("file"), PATHS, st.sampled_from([b"1", b"2", b"3"])),
    st.tuples(st.just("folder"), PATHS, st.sampled_from([0o755, 0o700, 0o1777])),
    st.tuples(st.just("whiteout"), PATHS, st.none()),
    st.tuples(st.just("opaque"), PATHS, st.none()),
    st.tuples(st.just("link"), PATHS, st.sampled_from(["a", "../b", "/c"])),
    st.tuples(st.just("hardlink"), PATHS, st.integers(0, 6)),
)


@st.composite
def stacks(draw: st.DrawFn) -> list[bytes]:
    """
    Layers as engines make them: every parent is mentioned before what is in it, no path lies below a file, no path is
    mentioned twice, and whiteouts come anywhere.
    """
    layers = []
    for _ in range(draw(st.integers(1, 3))):
        kinds: dict[str, str] = {}
        members: list[bytes] = []
        for kind, path, value in draw(st.lists(MEMBERS, max_size=7)):
            parts = path.split("/")
            parents = ["/".join(parts[:count]) for count in range(1, len(parts))]
            inside = [*parents, path] if kind == "opaque" else parents
            if any(kinds.get(parent, "folder") != "folder" for parent in inside):
                continue
            mark = "/".join((*parts[:-1], f".wh.{parts[-1]}")) if kind == "whiteout" else f"{path}/.wh..wh..opq"
            if (mark if kind in {"whiteout", "opaque"} else path) in kinds:
                continue
            for parent in inside:
                if parent not in kinds:
                    kinds[parent] = "folder"
                    members.append(hostile.folder(parent))
            if kind in {"whiteout", "opaque"}:
                kinds[mark] = kind
                members.append(hostile.file(mark))
                continue
            if kind == "hardlink":
                # To a file of the same layer that came before it, as engines write them.
                files = [name for name, found in kinds.items() if found == "file"]
                if files:
                    kinds[path] = "file"
                    members.append(hostile.hardlink(path, files[value % len(files)]))
                continue
            kinds[path] = kind
            if kind == "file":
                members.append(hostile.file(path, value))
            elif kind == "link":
                members.append(hostile.link(path, value))
            else:
                members.append(hostile.folder(path, value))
        layers.append(hostile.tar(*members))
    return layers


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(stacks(), st.sampled_from(["gzip", "none"]))
def test_we_see_what_umoci_unpacks(layers: list[bytes], codec: str) -> None:
    """Whatever stack of layers an engine could make, a snapshot of the image must be one of what runs."""
    needs_tool("umoci")
    folder = Path(tempfile.mkdtemp(prefix="stack-"))
    try:
        blobs = hostile.Blobs(folder / "x")
        annotations = {"org.opencontainers.image.ref.name": "t"}
        blobs.index(blobs.image(layers, codec=codec, annotations=annotations))
        tree = merge(open_image(f"oci:{folder}/x:t"))

        assert in_tree(tree) == on_disk(unpack(f"{folder}/x:t", folder / "bundle"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def two_layers(folder: Path) -> tuple[Entry, ...]:
    return (
        file("etc/os-release", b"ID=debian\n"),
        Entry("lib", "link", 0o777, target="usr/lib"),
        file("usr/lib/x", b"x" * 3_000_000, 0o755),
        file("ümläut/" + "n" * 150, b"n"),
        Entry("zz", "hardlink", 0o755, target="usr/lib/x"),
        Entry("tmp", "folder", 0o1777),
    )


@pytest.mark.parametrize("codec", ["gzip", "none"])
def test_umoci_unpacks_what_we_write(tmp_path: Path, codec: str) -> None:
    needs_tool("umoci")
    image = built(tmp_path / "1", two_layers(tmp_path), (file("tmp/y", b"y"),), codec=codec)
    write_layout(tmp_path / "x", image, "v1")
    tree = merge(open_image(f"oci:{tmp_path}/x:v1"))
    assert in_tree(tree) == on_disk(unpack(f"{tmp_path}/x:v1", tmp_path / "bundle"))


def test_skopeo_reads_our_layout_and_our_archive(tmp_path: Path) -> None:
    skopeo = needs_tool("skopeo")
    image = built(tmp_path / "1", two_layers(tmp_path), (file("b"),), config={"Env": ["A=1"], "Labels": {"l": "v"}})
    write_image(f"oci:{tmp_path}/x:v1", image)
    write_image(f"docker-archive:{tmp_path}/x.tar", image, "team/model:v1")

    diff_ids = [layer.diff_id for layer in open_image(f"oci:{tmp_path}/x:v1").layers()]
    layout = json.loads(run(skopeo, "inspect", f"oci:{tmp_path}/x:v1"))
    archive = json.loads(run(skopeo, "inspect", f"docker-archive:{tmp_path}/x.tar"))

    assert (layout["Digest"], layout["Env"], layout["Labels"]) == (image.digest, ["A=1"], {"l": "v"})
    assert (archive["Env"], len(archive["Layers"])) == (["A=1"], 2)
    for source in (f"docker-archive:{tmp_path}/x.tar", f"oci-archive:{tmp_path}/x.tar", f"oci:{tmp_path}/x:v1"):
        target = tmp_path / source.partition(":")[0]
        run(skopeo, "copy", "-q", "--insecure-policy", source, f"oci:{target}:c")
        copied = open_image(f"oci:{target}:c")
        assert require_valid(copied).valid
        # On the way from Docker's form to OCI's, skopeo writes the config anew.
        assert copied.manifest.config.digest == image.config_digest or source.startswith("docker-archive")
        assert [layer.diff_id for layer in copied.layers()] == diff_ids


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
def test_we_read_what_skopeo_writes(tmp_path: Path, kind: str) -> None:
    skopeo = needs_tool("skopeo")
    image = built(tmp_path / "1", two_layers(tmp_path), (file("b", b"b"),))
    write_layout(tmp_path / "x", image, "v1")
    run(skopeo, "copy", "-q", "--insecure-policy", f"oci:{tmp_path}/x:v1", f"{kind}:{tmp_path}/s.tar:team/model:v1")

    found = open_image(f"docker-archive:{tmp_path}/s.tar")

    assert found.manifest.config.digest == image.config_digest
    assert in_tree(merge(found)) == in_tree(merge(open_image(f"oci:{tmp_path}/x:v1")))
    assert require_valid(found).valid


def test_zstd_layers_of_others_are_read(tmp_path: Path) -> None:
    skopeo = needs_tool("skopeo")
    write_layout(tmp_path / "x", built(tmp_path / "1", two_layers(tmp_path)), "v1")
    run(
        skopeo, "copy", "-q", "--insecure-policy", "--dest-compress-format", "zstd", "--dest-compress",
        f"oci:{tmp_path}/x:v1", f"dir:{tmp_path}/dir",
    )  # fmt: skip
    run(skopeo, "copy", "-q", "--insecure-policy", f"dir:{tmp_path}/dir", f"oci:{tmp_path}/z:v1")
    found = open_image(f"oci:{tmp_path}/z:v1")
    assert require_valid(found).valid
    assert in_tree(merge(found)) == in_tree(merge(open_image(f"oci:{tmp_path}/x:v1")))
