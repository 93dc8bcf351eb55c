"""
Verification against a hostile hand: a file is removed, added or altered, and every digest above it made right again.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from envparity import verify
from envparity.cache import Cache
from envparity.errors import IntegrityError
from envparity.fetch import Fetcher
from envparity.network import Client
from envparity.oci.entries import Entry
from envparity.oci.places import open_image
from envparity.values import Verdict
from tests.commands import envparity
from tests.e2e.pipeline import Pipeline, pipeline
from tests.e2e.tampering import entries_of, layer_with, tampered

__all__ = ["pipeline"]


def verdict_on(reference: str, against: Path, **options: Any) -> Verdict:
    return verify.against(verify.Request(reference, str(against), **options), fetcher=Fetcher(Client(), Cache()))


def found(verdict: Verdict) -> set[tuple[str, str]]:
    """What was found in the files: change and path."""
    return {
        (item.difference.change, item.difference.item)
        for item in verdict.findings
        if item.difference.section == "files"
    }


def _of(image_path: Path, ending: str) -> str:
    """The path in the image of the one file with this ending."""
    image = open_image(f"oci:{image_path}")
    paths = [entry.path for index in range(len(image.layers())) for entry in entries_of(image, index)]
    return min((path for path in paths if path.endswith(ending)), key=len)


OWNERS = {
    "a Debian package": ("/libz.so.1.2.13", "/zlib1g/copyright", "zlib1g"),
    "a wheel": ("/sklearn/base.py", "/sklearn/pipeline.py", "scikit-learn"),
    "the interpreter": ("/json/decoder.py", "/json/encoder.py", "the interpreter"),
}


@pytest.mark.parametrize("owner", OWNERS)
def test_against_the_lock_exactly_the_touched_files_are_found(pipeline: Pipeline, tmp_path: Path, owner: str) -> None:
    altered_ending, removed_ending, name = OWNERS[owner]
    altered, removed = _of(pipeline.image, altered_ending), _of(pipeline.image, removed_ending)
    added = altered.rpartition("/")[0] + "/added.txt"
    image = open_image(f"oci:{pipeline.image}")

    def alter(entries: list[Entry]) -> list[Entry]:
        kept = [entry for entry in entries if entry.path != removed]
        changed = [dataclasses.replace(e, content=_flipped(e)) if e.path == altered else e for e in kept]
        return [*changed, Entry(added, "file", 0o644, content=b"new")]

    reference = tampered(pipeline.image, tmp_path / "image", {layer_with(image, altered): alter})
    verdict = verdict_on(reference, pipeline.lock)

    assert verdict.status == 5
    assert found(verdict) == {("changed", f"/{altered}"), ("removed", f"/{removed}"), ("added", f"/{added}")}
    notes = {item.difference.item: item.difference.note for item in verdict.findings}
    assert name in notes[f"/{altered}"]
    assert "layer" in notes[f"/{altered}"]


def _flipped(entry: Entry) -> bytes:
    assert isinstance(entry.content, bytes)
    return entry.content[:-1] + bytes([entry.content[-1] ^ 1])


def test_against_the_lock_an_altered_model_is_found(pipeline: Pipeline, tmp_path: Path) -> None:
    image = open_image(f"oci:{pipeline.image}")
    path = "opt/model/model.joblib"

    def alter(entries: list[Entry]) -> list[Entry]:
        return [dataclasses.replace(e, content=_flipped(e)) if e.path == path else e for e in entries]

    reference = tampered(pipeline.image, tmp_path / "image", {layer_with(image, path): alter})

    assert found(verdict_on(reference, pipeline.lock)) == {("changed", f"/{path}")}
    assert verdict_on(reference, pipeline.snapshot).status in {1, 5}


def test_against_the_snapshot_the_touched_files_of_a_wheel_are_found(pipeline: Pipeline, tmp_path: Path) -> None:
    altered, removed = _of(pipeline.image, "/sklearn/base.py"), _of(pipeline.image, "/sklearn/pipeline.py")
    added = altered.replace("sklearn/base.py", "sitecustomize.py")
    image = open_image(f"oci:{pipeline.image}")

    def alter(entries: list[Entry]) -> list[Entry]:
        kept = [entry for entry in entries if entry.path != removed]
        changed = [dataclasses.replace(e, content=_flipped(e)) if e.path == altered else e for e in kept]
        return [*changed, Entry(added, "file", 0o644, content=b"import os\n")]

    reference = tampered(pipeline.image, tmp_path / "image", {layer_with(image, altered): alter})
    verdict = verdict_on(reference, pipeline.snapshot)

    assert verdict.status == 5
    assert found(verdict) == {("changed", f"/{altered}"), ("removed", f"/{removed}"), ("added", f"/{added}")}


def test_against_the_snapshot_a_file_changed_together_with_its_record_is_found(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    """RECORD is the image's own word; its anchor is the digest that was taken where the model was trained."""
    import base64
    import hashlib

    altered = _of(pipeline.image, "/sklearn/base.py")
    image = open_image(f"oci:{pipeline.image}")

    def alter(entries: list[Entry]) -> list[Entry]:
        (target,) = (entry for entry in entries if entry.path == altered)
        content = _flipped(target)
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        result = []
        for entry in entries:
            if entry.path == altered:
                entry = dataclasses.replace(entry, content=content)
            elif entry.path.endswith("/RECORD") and b"sklearn/base.py" in (entry.content or b""):  # type: ignore[operator]
                assert isinstance(entry.content, bytes)
                lines = entry.content.decode().splitlines(keepends=True)
                told = f"sklearn/base.py,sha256={digest},{len(content)}\n"
                record = "".join(told if line.startswith("sklearn/base.py,") else line for line in lines).encode()
                entry = dataclasses.replace(entry, content=record, size_bytes=len(record))
            result.append(entry)
        return result

    reference = tampered(pipeline.image, tmp_path / "image", {layer_with(image, altered): alter})
    verdict = verdict_on(reference, pipeline.snapshot)

    assert verdict.status == 5
    assert [path.rpartition("/")[2] for _, path in found(verdict)] == ["RECORD"]
    assert any("scikit-learn" in item.difference.note for item in verdict.findings)


def test_a_further_layer_is_found(pipeline: Pipeline, tmp_path: Path) -> None:
    more = [
        [
            Entry("usr/lib/evil.so", "file", 0o755, content=b"\x7fELF"),
            Entry("etc/ld.so.preload", "file", 0o644, content=b"/usr/lib/evil.so\n"),
        ]
    ]

    verdict = verdict_on(tampered(pipeline.image, tmp_path / "image", {}, more=more), pipeline.lock)

    assert verdict.status == 5
    assert found(verdict) == {("added", "/usr/lib/evil.so"), ("added", "/etc/ld.so.preload")}


def test_a_changed_configuration_is_found(pipeline: Pipeline, tmp_path: Path) -> None:
    """No file is touched, and another library is loaded first."""

    def preload(document: dict[str, Any]) -> None:
        document["config"]["Env"].append("LD_PRELOAD=/usr/lib/evil.so")

    verdict = verdict_on(tampered(pipeline.image, tmp_path / "image", {}, config=preload), pipeline.lock)

    assert verdict.status == 5
    assert [item.difference.item for item in verdict.findings if item.difference.section == "configuration"] == ["Env"]


def test_an_image_that_does_not_say_how_it_was_built_is_never_verified_against_a_lock(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    def forget(document: dict[str, Any]) -> None:
        del document["config"]["Labels"]

    verdict = verdict_on(tampered(pipeline.image, tmp_path / "image", {}, config=forget), pipeline.lock)

    assert verdict.status == 3
    assert not verdict.passed


def test_one_flipped_byte_in_a_blob_is_an_integrity_error(pipeline: Pipeline, tmp_path: Path) -> None:
    reference = tampered(pipeline.image, tmp_path / "image", {})
    manifest = json.loads(open_image(reference).manifest_bytes)
    blob = tmp_path / "image" / "blobs" / "sha256" / manifest["layers"][0]["digest"].removeprefix("sha256:")
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.write_bytes(data)

    with pytest.raises(IntegrityError):
        verdict_on(reference, pipeline.snapshot)
    assert "layer" in envparity("verify", reference, "--against", pipeline.snapshot, status=5).stderr


def test_an_application_that_is_not_at_hand_leaves_the_verdict_open(pipeline: Pipeline, tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.mkdir()
    (app / "serve.py").write_text("print('serving')\n")
    envparity("build", pipeline.lock, "--model", pipeline.model, "--app", app, "--output", f"oci:{tmp_path / 'image'}")

    reference = f"oci:{tmp_path / 'image'}"
    assert verdict_on(reference, pipeline.lock).status == 3
    assert verdict_on(reference, pipeline.lock, allow_incomplete=True).status == 0
    assert verdict_on(reference, pipeline.lock, app=app).status == 0
    (app / "serve.py").write_text("print('something else')\n")
    assert verdict_on(reference, pipeline.lock, app=app).status == 5
