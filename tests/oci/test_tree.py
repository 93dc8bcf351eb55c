from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from envparity.cache import Cache
from envparity.errors import IntegrityError, MalformedError
from envparity.oci.memory import CachedLayers
from envparity.oci.places import open_image
from envparity.oci.tree import ImageTree, merge, merging, wanted
from tests.oci import hostile
from tests.oci.hostile import file, folder, hardlink, link, tar


def merged(path: Path, *layers: bytes, **options: object) -> ImageTree:
    return merge(open_image(hostile.image(path / "x", *layers)), **options)  # type: ignore[arg-type]


def view(tree: ImageTree) -> dict[str, str]:
    """Paths to a word each: content of files, target of links, mode of folders."""
    found = {}
    for node in tree.walk():
        if node.kind == "file":
            found[node.path] = tree.read(node.path).decode()
        elif node.kind == "link":
            found[node.path] = f"-> {node.target}"
        elif node.path != "/":
            found[node.path] = node.kind if node.kind != "folder" else f"{node.mode:o}"
    return found


BASE = tar(folder("d"), file("d/a", b"a"), file("d/b", b"b"), folder("d/s"), file("d/s/c", b"c"), file("f", b"f"))


@pytest.mark.parametrize(
    ("upper", "expected"),
    [
        (tar(file("d/.wh.a")), {"/d": "755", "/d/b": "b", "/d/s": "755", "/d/s/c": "c", "/f": "f"}),
        (tar(file(".wh.d")), {"/f": "f"}),
        (tar(file("d/.wh..wh..opq"), file("d/n", b"n")), {"/d": "755", "/d/n": "n", "/f": "f"}),
        (tar(file("d/n", b"n"), file("d/.wh..wh..opq")), {"/d": "755", "/d/n": "n", "/f": "f"}),
        (tar(file(".wh.d"), folder("d", 0o700), file("d/n", b"n")), {"/d": "700", "/d/n": "n", "/f": "f"}),
        (tar(folder("d", 0o700), file("d/n", b"n"), file(".wh.d")), {"/d": "700", "/d/n": "n", "/f": "f"}),
        (tar(file("d/.wh.a"), file("d/a", b"new"), file(".wh.f")),
         {"/d": "755", "/d/a": "new", "/d/b": "b", "/d/s": "755", "/d/s/c": "c"}),
        (tar(file("d/a", b"new"), file("d/.wh.a"), file("d/.wh.s"), file("d/.wh.b")),
         {"/d": "755", "/d/a": "new", "/f": "f"}),
        (tar(file(".wh.nothing"), file("no/.wh.where")),
         {"/d": "755", "/d/a": "a", "/d/b": "b", "/d/s": "755", "/d/s/c": "c", "/f": "f"}),
        (tar(file("d", b"a file now")), {"/d": "a file now", "/f": "f"}),
        (tar(folder("f", 0o711), file("f/x", b"x"), file(".wh.d")), {"/f": "711", "/f/x": "x"}),
        (tar(folder("d", 0o1777), file(".wh.f"), file("d/.wh..wh..opq")), {"/d": "1777"}),
        (tar(link("d", "f")), {"/d": "-> f", "/f": "f"}),
        (tar(file(".wh..wh.plnk", b"aufs"), file(".wh..wh.aufs"), file(".wh.d")), {"/f": "f"}),
        (tar(hostile.header(b"f", b"6"), file(".wh.d")), {"/f": "other"}),
    ],
)  # fmt: skip
def test_a_layer_changes_what_is_below_it(tmp_path: Path, upper: bytes, expected: dict[str, str]) -> None:
    assert view(merged(tmp_path, BASE, upper)) == expected


def test_a_file_becomes_a_folder_and_a_file_again(tmp_path: Path) -> None:
    tree = merged(tmp_path, tar(file("x", b"1")), tar(folder("x"), file("x/y", b"2")), tar(file("x", b"3")))
    assert view(tree) == {"/x": "3"}
    assert [len(tree.layer_entries(index)) for index in range(3)] == [1, 2, 1]


@pytest.mark.parametrize(
    ("upper", "says"),
    [
        (tar(file(".wh.")), "whiteout of nothing"),
        (tar(file("d/.wh...")), "whiteout of nothing"),
        (tar(file("d/.wh..")), "whiteout of nothing"),
        (tar(file(".wh.d/x")), "lies below a whiteout"),
        (tar(hardlink("h", "later"), file("later")), "not there"),
        (tar(hardlink("h", "d")), "hard link to the folder"),
        (tar(hardlink("h", "h")), "not there"),
        (tar(file(".wh.f"), hardlink("h", "f")), "not there"),
        (tar(hardlink("h", "f"), file(".wh.f")), "not there"),
        (tar(link("l", "m"), link("m", "l"), file("l/x")), "cycle of links"),
    ],
)
def test_what_no_engine_could_unpack_is_refused(tmp_path: Path, upper: bytes, says: str) -> None:
    with pytest.raises(MalformedError, match=says) as caught:
        merged(tmp_path, BASE, upper)
    assert "layer 2/2" in str(caught.value)


def test_a_hard_link_is_a_file_like_the_one_it_repeats(tmp_path: Path) -> None:
    """Replacing one name must not change what the other one holds."""
    lower = tar(file("a", b"one", mode=0o755), hardlink("b", "a"))
    tree = merged(tmp_path, lower, tar(file("a", b"two")))
    assert view(tree) == {"/a": "two", "/b": "one"}
    node = tree.entry("/b")
    assert node is not None
    assert (node.kind, node.mode, node.size_bytes, node.sha256) == (
        "file",
        0o755,
        3,
        hashlib.sha256(b"one").hexdigest(),
    )


def test_time_and_attributes_of_a_file_reach_both_names_of_it(tmp_path: Path) -> None:
    """Engines set what stands at a hard link on the file that it repeats: a capability there must not go unseen."""
    capability, access = hostile.pax(SCHILY__xattr__security__capability=b"\1"), hostile.pax(SCHILY__acl__access=b"x")
    tree = merged(tmp_path, tar(access, file("a", b"one"), capability, hardlink("b", "a")))
    found = {path: tree.entry(path) for path in ("/a", "/b")}
    assert {path: node and node.mtime for path, node in found.items()} == {"/a": 1, "/b": 1}
    both = (("SCHILY.acl.access", b"x"), ("security.capability", b"\1"))
    assert {path: node and node.xattrs for path, node in found.items()} == {"/a": both, "/b": both}


def test_links_are_followed_inside_the_image_only(tmp_path: Path) -> None:
    host = tmp_path / "secret"
    host.write_text("of this host")
    tree = merged(
        tmp_path,
        tar(
            folder("usr/lib64"),
            file("usr/lib64/libc.so", b"libc"),
            link("lib64", "usr/lib64"),
            link("abs", "/usr/lib64/libc.so"),
            link("up", "../../../../usr/lib64/libc.so"),
            link("host", str(host)),
            link("one", "two"),
            link("two", "one"),
            link("proc", "/proc/self/environ"),
        ),
    )
    assert tree.read("/lib64/libc.so") == tree.read("/abs") == tree.read("/up") == b"libc"
    assert tree.resolve("/lib64/../lib64/libc.so") == "/usr/lib64/libc.so"
    assert tree.entries("/lib64") == ["libc.so"]
    assert tree.is_link("/lib64")
    assert not tree.is_link("/lib64/libc.so")
    assert [tree.kind(path) for path in ("/host", "/one", "/proc", "/no", "/lib64", "/abs", "/")] == [
        None, None, None, None, "folder", "file", "folder"
    ]  # fmt: skip
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is the claim
        tree.read("/one")
    assert caught.value.errno == errno.ELOOP


def test_a_folder_that_is_reached_through_a_link_is_the_folder(tmp_path: Path) -> None:
    tree = merged(tmp_path, tar(folder("usr/lib"), link("lib", "usr/lib")), tar(file("lib/x", b"x")))
    assert view(tree) == {"/lib": "-> usr/lib", "/usr": "755", "/usr/lib": "755", "/usr/lib/x": "x"}
    assert tree.notes == (f"{tree.image.name} layer 2/2: `/lib/x` goes through a link; engines differ about that",)


def test_reading_what_is_no_file_is_an_os_error_as_on_disk(tmp_path: Path) -> None:
    tree = merged(tmp_path, tar(folder("d"), hostile.header(b"pipe", b"6"), file("f", b"12345")))
    for path, number in (("/d", errno.EISDIR), ("/no", errno.ENOENT), ("/pipe", errno.EINVAL)):
        for ask in (tree.read, tree.open, tree.size, tree.sha256):
            with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is the claim
                ask(path)
            assert caught.value.errno == number
    with pytest.raises(OSError, match="larger than 4 bytes"):
        tree.read("/f", limit=4)
    for path, number in (("/f", errno.ENOTDIR), ("/no", errno.ENOENT)):
        with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is the claim
            tree.entries(path)
        assert caught.value.errno == number
    assert tree.kind("/pipe") == "other"
    assert (tree.size("/f"), tree.sha256("/f")) == (5, hashlib.sha256(b"12345").hexdigest())
    assert tree.entry("/no/where") is None
    assert tree.entry("/") is not None


def test_content_that_was_not_kept_is_read_from_its_layer_again(tmp_path: Path) -> None:
    big = os.urandom(700_000)
    lower = tar(file("a", b"a"), file("big", big), hardlink("same", "big"), file("z", b"z"))
    tree = merged(tmp_path, lower, tar(file("c", b"c"), file("a", b"new")), keep=lambda path: path == "/z")
    with tree.open("/big") as stream:
        assert stream.read(10) == big[:10]
    assert tree.open("/big").read() == big
    assert {path: stream.read() for path, stream in tree.contents(["/z", "/big", "/a", "/same", "/c"])} == {
        "/z": b"z", "/big": big, "/same": big, "/a": b"new", "/c": b"c"
    }  # fmt: skip


def test_folders_that_no_layer_mentions_are_limited(tmp_path: Path) -> None:
    """Each of these members, 4 KiB long, implies 256 folders with paths of up to 4 KiB."""
    deep = b"/".join([b"d" * 14] * 254)
    members = (hostile.gnu_long(b"%d/%s/x" % (n, deep)) + file("x") for n in range(200))
    with pytest.raises(MalformedError, match="too many paths whose folders no layer mentions"):
        merged(tmp_path, tar(*members))


def test_what_is_kept_is_limited(tmp_path: Path) -> None:
    tree = merged(
        tmp_path, tar(file("a", b"1" * 100), file("b", b"2" * 100)), keep=lambda path: True, keep_limit_bytes=150
    )
    (tmp_path / "x" / "blobs").rename(tmp_path / "gone")
    assert tree.read("/a") == b"1" * 100
    with pytest.raises(IntegrityError, match="is missing"):
        tree.read("/b")


def test_a_layer_that_changed_since_it_was_checked_is_noticed(tmp_path: Path) -> None:
    before, after = tar(file("a", b"1" * 600_000)), tar(file("a", b"2" * 600_000))
    tree = merged(tmp_path, before)
    (tmp_path / "x" / "blobs" / "sha256" / hostile.digest(before)[7:]).write_bytes(after)
    with pytest.raises(IntegrityError, match=r"changed while the image was read|not what its digest says"):
        tree.open("/a").read()


def test_a_file_that_was_not_hashed_is_hashed_when_it_is_asked_for(tmp_path: Path) -> None:
    """A digest that is wanted and empty would be equal to any other that is empty."""
    tree = merged(tmp_path, tar(file("a", b"12345"), file("b", b"6")), hashed=lambda path: path == "/b")

    assert [node.sha256 for node in tree.walk() if node.path == "/a"] == [""]
    assert tree.sha256("/a") == hashlib.sha256(b"12345").hexdigest()
    assert tree.sha256("/b") == hashlib.sha256(b"6").hexdigest()
    assert {path: stream.read() for path, stream in tree.contents(["/a", "/b"])} == {"/a": b"12345", "/b": b"6"}


@pytest.mark.parametrize(
    "ask",
    [
        lambda tree: tree.open("/a").read(),
        lambda tree: tree.sha256("/a"),
        lambda tree: [stream.read() for _, stream in tree.contents(["/a"])],
    ],
)
def test_a_file_that_was_not_hashed_is_proven_by_its_layer(ask: Callable[[ImageTree], object], tmp_path: Path) -> None:
    """Whoever changes a layer after it was checked must not be believed because nobody had hashed the file."""
    before = tar(file("a", b"1" * 600_000), file("z", b"z" * 600_000))
    after = tar(file("a", b"2" * 600_000), file("z", b"z" * 600_000))
    tree = merged(tmp_path, before, hashed=lambda path: False)
    (tmp_path / "x" / "blobs" / "sha256" / hostile.digest(before)[7:]).write_bytes(after)

    with pytest.raises(IntegrityError, match="not what its digest says"):
        ask(tree)


def test_metadata_is_what_is_kept() -> None:
    kept = [
        "/etc/os-release",
        "/var/lib/dpkg/status",
        "/var/lib/dpkg/status.d/base",
        "/var/lib/dpkg/info/libc6:amd64.list",
        "/opt/env/lib/python3.11/site-packages/numpy-1.26.4.dist-info/RECORD",
        "/usr/lib/python3/dist-packages/x.egg-info/PKG-INFO",
        "/opt/env/pyvenv.cfg",
        "/opt/x/site-packages/a.pth",
        "/usr/share/envparity/model.env.json",
        "/etc/passwd",
    ]
    assert [path for path in kept if not wanted(path)] == []
    assert not wanted("/opt/env/lib/python3.11/site-packages/numpy/core.so")


def test_walk_says_owner_mode_and_layer(tmp_path: Path) -> None:
    tree = merged(tmp_path, tar(file("a", b"1")), tar(file("d/b", b"2", mode=0o4755, uid=1234)))
    assert [(node.path, node.mode, node.uid, node.layer) for node in tree.walk()] == [
        ("/", 0o755, 0, -1), ("/a", 0o644, 0, 0), ("/d", 0o755, 0, 1), ("/d/b", 0o4755, 1234, 1)
    ]  # fmt: skip


def test_a_path_twice_in_one_layer_is_reported_and_the_last_one_counts(tmp_path: Path) -> None:
    tree = merged(tmp_path, tar(file("a", b"1"), file("./a", b"2")))
    assert view(tree) == {"/a": "2"}
    assert tree.notes == (f"{tree.image.name} layer 1/1 has `/a` twice; the last one counts",)


def test_names_are_bytes(tmp_path: Path) -> None:
    """Two names that differ in case only, or are no text at all, are two names."""
    tree = merged(
        tmp_path, tar(file("Readme", b"1"), file("README", b"2"), file(b"\xff\xfe", b"3"), file("a\nb", b"4"))
    )
    assert tree.entries("/") == sorted(["Readme", "README", "\udcff\udcfe", "a\nb"])
    assert tree.read("/\udcff\udcfe") == b"3"


def test_the_first_damaged_layer_stops_the_reading(tmp_path: Path) -> None:
    reference = hostile.image(tmp_path / "x", BASE, tar(file("z", b"z" * 3000)))
    blob = tmp_path / "x" / "blobs" / "sha256" / hostile.digest(tar(file("z", b"z" * 3000)))[7:]
    blob.write_bytes(blob.read_bytes().replace(b"zzz", b"zyz"))
    with pytest.raises(IntegrityError, match="layer 2/2: the blob is not what its digest says"):
        merge(open_image(reference))


def blob_of(folder: Path, layer: bytes) -> Path:
    return folder / "x" / "blobs" / "sha256" / hostile.digest(layer)[7:]


def test_damage_where_nobody_looks_is_found_before_the_block_ends(tmp_path: Path) -> None:
    """What is passed over is hashed all the same: a snapshot of a damaged image is none."""
    reference = hostile.image(tmp_path / "x", BASE, tar(file("z", b"z" * 3000)))
    blob = blob_of(tmp_path, tar(file("z", b"z" * 3000)))
    blob.write_bytes(blob.read_bytes().replace(b"zzz", b"zyz"))
    seen = []

    with (
        pytest.raises(IntegrityError, match="layer 2/2: the blob is not what its digest says"),
        merging(open_image(reference), hashed=lambda path: False) as tree,
    ):
        seen.append(tree.entries("/"))

    assert seen == [["d", "f", "z"]]


def test_what_a_damaged_layer_looks_like_is_never_the_error(tmp_path: Path) -> None:
    """Whoever stores the image is told that it is damaged, not that its maker made it wrong."""
    reference = hostile.image(tmp_path / "x", BASE)
    blob = blob_of(tmp_path, BASE)
    blob.write_bytes(blob.read_bytes().replace(b"ustar", b"utsar"))
    for error in (MalformedError("odd"), OSError("odd")):
        with (
            pytest.raises(IntegrityError, match="not what its digest says"),
            merging(open_image(reference), hashed=lambda path: False),
        ):
            raise error


def test_who_gives_up_is_not_kept_waiting_for_the_hashes(tmp_path: Path) -> None:
    layer = tar(file("z", b"z" * 3000))
    reference = hostile.image(tmp_path / "x", layer)
    blob_of(tmp_path, layer).write_bytes(layer.replace(b"zzz", b"zyz"))

    with pytest.raises(KeyboardInterrupt), merging(open_image(reference), hashed=lambda path: False):
        raise KeyboardInterrupt


def test_a_layer_that_is_written_to_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    """One thread has hashed the old bytes, another has read the new ones."""
    layer = tar(file("a", b"1" * 3000), file("b", b"2"))
    reference = hostile.image(tmp_path / "x", layer)
    blob = blob_of(tmp_path, layer)
    os.utime(blob, (1, 1))

    def keep(path: str) -> bool:
        blob.write_bytes(layer)
        return True

    with pytest.raises(IntegrityError, match="layer 1/1 changed while it was read"):
        merge(open_image(reference), keep=keep)


def test_a_layer_is_remembered_once_it_is_proven_and_not_before(tmp_path: Path) -> None:
    """A damaged layer that is remembered would be believed for the rest of the machine's life."""
    reference = hostile.image(tmp_path / "x", BASE)
    blob = blob_of(tmp_path, BASE)
    cache = Cache(tmp_path / "cache")
    blob.write_bytes(BASE.replace(b"\0" * 511, b"\1" + b"\0" * 510, 1))
    with pytest.raises(IntegrityError):
        merge(open_image(reference), memory=CachedLayers(cache, "rule"), hashed=lambda path: False)
    assert not (tmp_path / "cache").exists()

    blob.write_bytes(BASE)
    tree = merge(open_image(reference), memory=CachedLayers(cache, "rule"), hashed=lambda path: False)

    found = CachedLayers(cache, "rule").recall(tree.image.layers()[0])
    assert found is not None
    assert found[0].nodes == tree.layer_entries(0)


def test_an_image_of_more_plain_layers_than_are_checked_at_once_is_read(tmp_path: Path) -> None:
    layers = [tar(file(f"f{number}", b"%d" % number)) for number in range(150)]
    tree = merged(tmp_path, *layers, hashed=lambda path: False)

    assert view(tree) == {f"/f{number}": str(number) for number in range(150)}
