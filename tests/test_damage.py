"""Whatever byte of a file is damaged: an answer or one error, in bounded memory and time, and never a bug."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from envparity import codec
from envparity.errors import ExitStatus
from tests.codec.test_lock import a_lock
from tests.corpus import FOLDER
from tests.fuzzing import Case, Outcome, damaged, outcomes
from tests.oci import hostile
from tests.sources.samples import SAMPLES
from tests.values import training

SEED = 20260101

TEXTS = {name: text.encode() for name, (_, text) in SAMPLES.items()} | {
    "model.env.json": codec.dump_environment(training()),
    "pylock.toml": codec.dump_lock(a_lock()).encode(),
    "pylock.pip.toml": (FOLDER / "pylock/pylock.pip.toml").read_bytes(),
    "requirements.txt": (FOLDER / "requirements-plain/requirements.txt").read_bytes(),
    "hashed.txt": (FOLDER / "requirements-hashed/uv.requirements.txt").read_bytes()[:3000],
    "status": (FOLDER / "dpkg-status/status").read_bytes(),
    "collect_env.txt": (FOLDER / "collect-env/collect_env.txt").read_bytes(),
}
"""A file of each kind of source, under the name that its tool gives it."""

MODELS = Path(__file__).parent / "data" / "models" / "formats"

MODEL_FILES = [
    *sorted(path.name for path in MODELS.iterdir() if path.is_file() and path.suffix != ".py"),
    "huggingface/config.json",
    "mlflow/MLmodel",
]
"""A file of each format of models; the laws of the formats themselves look at the parts of folders too."""

FILES = {ExitStatus.OK, ExitStatus.USAGE, ExitStatus.UNFINISHED, ExitStatus.MALFORMED}
"""How a command that reads one file may end; 3 where what is left says itself that it is not whole."""

IMAGES = FILES | {ExitStatus.INTEGRITY}


def require_answers(found: list[Outcome], allowed: set[ExitStatus], cases: int) -> None:
    """Each case came to an end that a user may see."""
    wrong = [(item.label, item.broken or item.status, item.stderr[-500:]) for item in found]
    assert [row for row, item in zip(wrong, found, strict=True) if item.broken or item.status not in allowed] == []
    assert len(found) == cases


def damage(place: Path, data: bytes, *arguments: str, flips: int = 50, seed: int = SEED) -> list[Case]:
    """The cases of one file that a command reads."""

    def write(changed: bytes) -> Callable[[], object]:
        return lambda: place.write_bytes(changed)

    return [Case(label, write(changed), arguments) for label, changed in damaged(data, seed, flips=flips)]


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_a_damaged_source_is_an_answer_or_an_error_and_never_a_bug(name: str, tmp_path: Path) -> None:
    """A file that was cut by a full disk must not look like a bug of the tool that reads it."""
    place = tmp_path / name
    cases = damage(place, TEXTS[name], "show", str(place), "--platform", "linux/amd64", "--python-version", "3.11")

    require_answers(outcomes(cases), FILES, len(cases))


@pytest.mark.parametrize("name", MODEL_FILES)
def test_a_damaged_model_is_an_answer_or_an_error_and_never_a_bug(name: str, tmp_path: Path) -> None:
    (tmp_path / "base.env.json").write_bytes(TEXTS["model.env.json"])
    place = tmp_path / Path(name).name
    arguments = (
        "snapshot",
        str(tmp_path / "base.env.json"),
        "--model",
        str(place),
        "-o",
        str(tmp_path / "out.env.json"),
    )
    cases = damage(place, (MODELS / name).read_bytes(), *arguments, flips=15)

    require_answers(outcomes(cases), FILES, len(cases))


LAYER = hostile.tar(
    hostile.folder("etc"),
    hostile.file("etc/os-release", b"ID=debian\nVERSION_ID=12\n"),
    hostile.folder("usr"),
    hostile.link("lib", "usr/lib"),
    hostile.file("var/lib/dpkg/status", b"Package: libc6\nStatus: install ok installed\nVersion: 2.36-9\n"),
    hostile.file("etc/.wh.gone"),
)

CONFIG = {
    "architecture": "amd64",
    "os": "linux",
    "config": {"Env": ["PATH=/usr/bin"], "Entrypoint": ["python3"]},
    "rootfs": {"type": "layers", "diff_ids": [hostile.digest(LAYER)]},
}


def image_parts() -> dict[str, bytes]:
    """The documents of an image, each of which can be damaged while every digest stays right."""
    import json

    manifest = {
        "schemaVersion": 2,
        "mediaType": hostile.MANIFEST,
        "config": {"mediaType": hostile.CONFIG, "digest": hostile.digest(b""), "size": 0},
        "layers": [{"mediaType": hostile.LAYER, "digest": hostile.digest(LAYER), "size": len(LAYER)}],
    }
    index = {
        "schemaVersion": 2,
        "manifests": [{"mediaType": hostile.MANIFEST, "digest": hostile.digest(b""), "size": 0}],
    }
    return {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": json.dumps(index, indent=1).encode(),
        "manifest": json.dumps(manifest, indent=1).encode(),
        "config": json.dumps(CONFIG, indent=1).encode(),
        "layer": LAYER,
    }


def write_image(folder: Path, changed: dict[str, bytes]) -> None:
    """
    A layout in which what points to the damaged document names its digest and its size, wherever it still points: so
    the damage is read, and not refused as another document.
    """
    parts = image_parts() | changed
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)

    def add(data: bytes) -> tuple[bytes, int]:
        digest = hostile.digest(data)
        (blobs / digest[7:]).write_bytes(data)
        return digest.encode(), len(data)

    def pointing(document: bytes, old: bytes, old_size: int, new: tuple[bytes, int]) -> bytes:
        return document.replace(old, new[0]).replace(b'"size": %d' % old_size, b'"size": %d' % new[1])

    empty = hostile.digest(b"").encode()
    layer = add(parts["layer"])
    config = add(parts["config"].replace(hostile.digest(LAYER).encode(), layer[0]))
    manifest = pointing(parts["manifest"], hostile.digest(LAYER).encode(), len(LAYER), layer)
    index = pointing(parts["index.json"], empty, 0, add(pointing(manifest, empty, 0, config)))
    (folder / "oci-layout").write_bytes(parts["oci-layout"])
    (folder / "index.json").write_bytes(index)


@pytest.mark.parametrize("part", sorted(image_parts()))
def test_a_damaged_document_of_an_image_is_an_answer_or_an_error_and_never_a_bug(part: str, tmp_path: Path) -> None:
    """Digests prove who wrote a document, and not that he wrote what makes sense."""

    def write(changed: bytes) -> Callable[[], object]:
        return lambda: write_image(tmp_path, {part: changed})

    arguments = ("show", f"oci:{tmp_path}", "--offline")
    whole = Case("whole", write(image_parts()[part]), arguments)
    cases = [Case(label, write(changed), arguments) for label, changed in damaged(image_parts()[part], SEED)]

    found = outcomes([whole, *cases])

    require_answers(found, IMAGES, len(cases) + 1)
    assert "debian" in found[0].stdout


def archive() -> bytes:
    """A `docker save` of that image."""
    import json

    def members() -> Iterator[tuple[str, bytes]]:
        config = json.dumps(CONFIG).encode()
        name = hostile.digest(config)[7:] + ".json"
        yield name, config
        yield "layer.tar", LAYER
        yield "manifest.json", json.dumps([{"Config": name, "RepoTags": ["x:1"], "Layers": ["layer.tar"]}]).encode()

    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, data in members():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return packed.getvalue()


def test_a_damaged_archive_of_an_image_is_an_answer_or_an_error_and_never_a_bug(tmp_path: Path) -> None:
    place = tmp_path / "image.tar"
    arguments = ("show", f"docker-archive:{place}", "--offline")
    cases = damage(place, archive(), *arguments)

    found = outcomes([Case("whole", lambda: place.write_bytes(archive()), arguments), *cases])

    require_answers(found, IMAGES, len(cases) + 1)
    assert "debian" in found[0].stdout


def test_what_needs_too_much_memory_or_does_not_end_would_be_seen(tmp_path: Path) -> None:
    """The trap must spring, or a quiet run proves nothing."""

    def greedy() -> Any:
        return b"x" * (400 << 20)

    (tmp_path / "requirements.txt").write_text("six\n")
    shown = ("show", str(tmp_path / "requirements.txt"))
    fine, ended = outcomes([Case("fine", lambda: None, shown), Case("greedy", greedy, shown)])

    assert (fine.status, fine.broken) == (0, "")
    assert (ended.label, ended.broken) == ("greedy", "status 70")
