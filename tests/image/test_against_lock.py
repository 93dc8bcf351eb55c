"""An image held against its lock where this machine cannot make all of it again: that is said, and is no drift."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec
import pytest

from envparity import build, lockfile, platforms, verify
from envparity.errors import ExitStatus
from envparity.fetch import Fetcher
from envparity.image import configuration
from envparity.oci.layout import Layout
from envparity.oci.places import open_image
from envparity.values import Change, GapKind, Options, Verdict
from tests.test_build import lock_of, offline, wheel

OURS = sys.version.split()[0]
XY = ".".join(OURS.split(".")[:2])
FOREIGN = "linux/arm64" if platforms.here() == "linux/amd64" else "linux/amd64"


@pytest.fixture
def fetcher(tmp_path: Path) -> Fetcher:
    return offline(tmp_path / "cache")


def foreign(folder: Path, fetcher: Fetcher, version: str, source: bytes = b"answer = 42\n") -> Path:
    """A lock with byte code for another processor, whose Python is a patch release that is not here."""
    folder.mkdir(exist_ok=True)
    path = lock_of(folder, wheel(folder, "demo", {"demo/__init__.py": source}, fetcher))
    lock, _ = lockfile.read(path)
    (target,) = lock.targets
    found = msgspec.structs.replace(target.interpreter, version=version, executable=f"/usr/bin/python{XY}")
    target = msgspec.structs.replace(target, platform=FOREIGN, interpreter=found)
    changed = msgspec.structs.replace(lock, targets=(target,), bytecode="unchecked-hash")
    snapshot = lockfile.artifacts_folder(path) / lock.snapshot.name
    lockfile.write(lockfile.Recovered(changed, {lock.snapshot.name: snapshot.read_bytes()}), path)
    return path


def verdict(image: str, path: Path, fetcher: Fetcher) -> Verdict:
    return verify.against(verify.Request(image, str(path)), fetcher=fetcher)


def files(found: Verdict) -> list[str]:
    return [item.difference.item for item in found.findings if item.difference.section in ("files", "configuration")]


def relabelled(folder: Path, said: str) -> None:
    """Another word of the image of who compiled its byte code, with every digest made right."""
    text = (folder / "index.json").read_bytes()
    layout = Layout(folder)
    (line,) = layout.index().manifests

    def kept(data: bytes) -> str:
        from envparity.oci.spec import digest_of

        digest = digest_of(data)
        (folder / "blobs/sha256" / digest.removeprefix("sha256:")).write_bytes(data)
        return digest

    def blob(digest: str) -> bytes:
        return (folder / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()

    manifest = json.loads(blob(line.digest))
    config = blob(manifest["config"]["digest"]).replace(
        f'"{configuration.BYTECODE}":"{OURS}"'.encode(), f'"{configuration.BYTECODE}":"{said}"'.encode()
    )
    manifest["config"] |= {"digest": kept(config), "size": len(config)}
    data = json.dumps(manifest).encode()
    index = json.loads(text)
    index["manifests"][0] |= {"digest": kept(data), "size": len(data)}
    (folder / "index.json").write_text(json.dumps(index))


def test_who_compiled_for_another_processor_stands_in_the_image_and_compiles_again(
    tmp_path: Path, fetcher: Fetcher
) -> None:
    path = foreign(tmp_path, fetcher, f"{XY}.99")
    output = f"oci:{tmp_path}/image"
    made = build.assemble(build.Request(path, (output,), platform=FOREIGN), fetcher=fetcher)

    runtime = open_image(output).config.config
    assert runtime is not None
    assert (runtime.labels or {})[configuration.BYTECODE] == OURS
    assert any(f"byte code was made by Python {OURS}" in note for note in made.notes)
    seen = verdict(output, path, fetcher)
    assert files(seen) == []
    assert not any("byte-compiled" in gap.reason for gap in seen.gaps)


@pytest.mark.parametrize("said", [f"{XY}.98", ""], ids=["another", "none"])
def test_byte_code_of_a_python_that_is_not_here_is_unknown_and_no_drift(
    said: str, tmp_path: Path, fetcher: Fetcher
) -> None:
    """Compiled by another patch release it has other bytes; nobody may call an image forged for that."""
    path = foreign(tmp_path, fetcher, f"{XY}.99")
    build.assemble(build.Request(path, (f"oci:{tmp_path}/image",), platform=FOREIGN), fetcher=fetcher)
    relabelled(tmp_path / "image", said)

    seen = verdict(f"oci:{tmp_path}/image", path, fetcher)

    (gap,) = (gap for gap in seen.gaps if "byte-compiled" in gap.reason)
    assert gap.kind is GapKind.UNREAD
    assert f"Python {said or f'{XY}.99'}" in gap.reason
    assert files(seen) == ([] if said else ["Labels"])
    assert seen.status in {ExitStatus.UNFINISHED, ExitStatus.INTEGRITY, ExitStatus.FINDINGS}


def test_a_source_that_was_changed_is_found_without_any_compiler(tmp_path: Path, fetcher: Fetcher) -> None:
    """What is not known of byte code hides nothing else."""
    path = foreign(tmp_path / "locked", fetcher, f"{XY}.99")
    other = foreign(tmp_path / "forged", fetcher, f"{XY}.99", b"answer = 43\n")
    build.assemble(build.Request(other, (f"oci:{tmp_path}/image",), platform=FOREIGN), fetcher=fetcher)
    relabelled(tmp_path / "image", f"{XY}.98")

    seen = verdict(f"oci:{tmp_path}/image", path, fetcher)

    changed = [it.difference.item for it in seen.findings if it.difference.change is Change.CHANGED]
    assert f"/opt/env/lib/python{XY}/site-packages/demo/__init__.py" in changed
    assert not any(item.endswith(".pyc") for item in changed)


def test_what_an_engine_starts_to_ask_for_health_is_the_builders_word(tmp_path: Path, fetcher: Fetcher) -> None:
    """It runs in the container for as long as that does, and no lock knows it."""
    path, output = lock_of(tmp_path / "lock"), f"oci:{tmp_path / 'image'}"
    options = Options(health=("/opt/app/well",))
    build.assemble(build.Request(path, (output,), options=options), fetcher=fetcher)

    assert files(verdict(output, path, fetcher)) == ["health check"]
    asked = verify.Request(output, str(path), expected=options)
    assert files(verify.against(asked, fetcher=fetcher)) == []
