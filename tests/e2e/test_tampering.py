"""
Verification against a hostile hand: a file is removed, added or altered, and every digest above it made right again.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from envparity import verify
from envparity.cache import Cache
from envparity.errors import IncompleteError, IntegrityError, MalformedError, UsageError
from envparity.fetch import Fetcher
from envparity.network import Client
from envparity.oci.entries import Entry
from envparity.oci.places import open_image
from envparity.values import Options, Severity, Variable, Verdict
from tests.commands import envparity
from tests.e2e.pipeline import Pipeline
from tests.e2e.tampering import entries_of, layer_with, layers_by_path, tampered


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
    return min((path for path in layers_by_path(image_path) if path.endswith(ending)), key=len)


OWNERS = {
    "a Debian package": ("/libz.so.1.2.13", "/zlib1g/copyright", "zlib1g"),
    "a wheel": ("/joblib/memory.py", "/joblib/hashing.py", "joblib"),
    "the interpreter": ("/json/decoder.py", "/json/encoder.py", "the interpreter"),
}


@pytest.mark.parametrize("owner", OWNERS)
def test_against_the_lock_exactly_the_touched_files_are_found(little: Pipeline, tmp_path: Path, owner: str) -> None:
    altered_ending, removed_ending, name = OWNERS[owner]
    altered, removed = _of(little.image, altered_ending), _of(little.image, removed_ending)
    added = altered.rpartition("/")[0] + "/added.txt"

    def alter(entries: list[Entry]) -> list[Entry]:
        kept = [entry for entry in entries if entry.path != removed]
        changed = [dataclasses.replace(e, content=_flipped(e)) if e.path == altered else e for e in kept]
        return [*changed, Entry(added, "file", 0o644, content=b"new")]

    reference = tampered(little.image, tmp_path / "image", {layer_with(little.image, altered): alter})
    verdict = verdict_on(reference, little.lock)

    assert verdict.status == 5
    assert found(verdict) == {("changed", f"/{altered}"), ("removed", f"/{removed}"), ("added", f"/{added}")}
    notes = {item.difference.item: item.difference.note for item in verdict.findings}
    assert name in notes[f"/{altered}"]
    assert "layer" in notes[f"/{altered}"]


def _flipped(entry: Entry) -> bytes:
    assert isinstance(entry.content, bytes)
    return entry.content[:-1] + bytes([entry.content[-1] ^ 1])


def test_against_the_lock_an_altered_model_is_found(little: Pipeline, tmp_path: Path) -> None:
    path = "opt/model/model.joblib"

    def alter(entries: list[Entry]) -> list[Entry]:
        return [dataclasses.replace(e, content=_flipped(e)) if e.path == path else e for e in entries]

    reference = tampered(little.image, tmp_path / "image", {layer_with(little.image, path): alter})

    assert found(verdict_on(reference, little.lock)) == {("changed", f"/{path}")}
    assert verdict_on(reference, little.snapshot).status in {1, 5}


def test_against_the_snapshot_the_touched_files_of_a_wheel_are_found(little: Pipeline, tmp_path: Path) -> None:
    altered, removed = _of(little.image, "/joblib/memory.py"), _of(little.image, "/joblib/hashing.py")
    added = altered.replace("joblib/memory.py", "sitecustomize.py")

    def alter(entries: list[Entry]) -> list[Entry]:
        kept = [entry for entry in entries if entry.path != removed]
        changed = [dataclasses.replace(e, content=_flipped(e)) if e.path == altered else e for e in kept]
        return [*changed, Entry(added, "file", 0o644, content=b"import os\n")]

    reference = tampered(little.image, tmp_path / "image", {layer_with(little.image, altered): alter})
    verdict = verdict_on(reference, little.snapshot)

    assert verdict.status == 5
    folder, _, name = removed.rpartition("/")
    orphan = f"/{folder}/__pycache__/{name.removesuffix('.py')}.{sys.implementation.cache_tag}.pyc"
    assert found(verdict) == {
        *(("changed", f"/{altered}"), ("removed", f"/{removed}"), ("added", f"/{added}")),
        ("added", orphan),  # which nothing imports without its source
    }


def test_against_the_snapshot_a_file_changed_together_with_its_record_is_found(
    little: Pipeline, tmp_path: Path
) -> None:
    """RECORD is the image's own word; its anchor is the digest that was taken where the model was trained."""
    import base64
    import hashlib

    altered = _of(little.image, "/joblib/memory.py")

    def alter(entries: list[Entry]) -> list[Entry]:
        (target,) = (entry for entry in entries if entry.path == altered)
        content = _flipped(target)
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        result = []
        for entry in entries:
            if entry.path == altered:
                entry = dataclasses.replace(entry, content=content)
            elif entry.path.endswith("/RECORD") and b"joblib/memory.py" in (entry.content or b""):  # type: ignore[operator]
                assert isinstance(entry.content, bytes)
                lines = entry.content.decode().splitlines(keepends=True)
                told = f"joblib/memory.py,sha256={digest},{len(content)}\n"
                record = "".join(told if line.startswith("joblib/memory.py,") else line for line in lines).encode()
                entry = dataclasses.replace(entry, content=record, size_bytes=len(record))
            result.append(entry)
        return result

    reference = tampered(little.image, tmp_path / "image", {layer_with(little.image, altered): alter})
    verdict = verdict_on(reference, little.snapshot)

    assert verdict.status == 5
    names = {path.rpartition("/")[2] for _, path in found(verdict)}
    assert names == {"RECORD", f"memory.{sys.implementation.cache_tag}.pyc"}  # which is still that of the old source
    assert any("joblib" in item.difference.note for item in verdict.findings)


def test_a_further_layer_is_found(tiny: Pipeline, tmp_path: Path) -> None:
    more = [
        [
            Entry("usr/lib/evil.so", "file", 0o755, content=b"\x7fELF"),
            Entry("etc/ld.so.preload", "file", 0o644, content=b"/usr/lib/evil.so\n"),
        ]
    ]

    verdict = verdict_on(tampered(tiny.image, tmp_path / "image", {}, more=more), tiny.lock)

    assert verdict.status == 5
    assert found(verdict) == {("added", "/usr/lib/evil.so"), ("added", "/etc/ld.so.preload")}


def test_a_changed_configuration_is_found(tiny: Pipeline, tmp_path: Path) -> None:
    """No file is touched, and another library is loaded first."""

    def preload(document: dict[str, Any]) -> None:
        document["config"]["Env"].append("LD_PRELOAD=/usr/lib/evil.so")

    verdict = verdict_on(tampered(tiny.image, tmp_path / "image", {}, config=preload), tiny.lock)

    assert verdict.status == 5
    assert [item.difference.item for item in verdict.findings if item.difference.section == "configuration"] == ["Env"]


def test_an_image_that_does_not_say_how_it_was_built_is_never_verified_against_a_lock(
    tiny: Pipeline, tmp_path: Path
) -> None:
    def forget(document: dict[str, Any]) -> None:
        del document["config"]["Labels"]

    reference = tampered(tiny.image, tmp_path / "image", {}, config=forget)

    with pytest.raises(IncompleteError, match="with which options"):
        verdict_on(reference, tiny.lock, allow_incomplete=True)


def test_one_flipped_byte_in_a_blob_is_an_integrity_error(little: Pipeline, tmp_path: Path) -> None:
    reference = tampered(little.image, tmp_path / "image", {})
    manifest = json.loads(open_image(reference).manifest_bytes)
    blob = tmp_path / "image" / "blobs" / "sha256" / manifest["layers"][0]["digest"].removeprefix("sha256:")
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.unlink()  # the image that it is of has the same file
    blob.write_bytes(data)

    with pytest.raises(IntegrityError):
        verdict_on(reference, little.snapshot)
    assert "layer" in envparity("verify", reference, "--against", little.snapshot, status=5).stderr


def test_an_application_that_is_not_at_hand_leaves_the_verdict_open(tiny: Pipeline, tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.mkdir()
    (app / "serve.py").write_text("print('serving')\n")
    envparity("build", tiny.lock, "--model", tiny.model, "--app", app, "--output", f"oci:{tmp_path / 'image'}")

    reference = f"oci:{tmp_path / 'image'}"
    assert verdict_on(reference, tiny.lock).status == 3
    assert verdict_on(reference, tiny.lock, allow_incomplete=True).status == 0
    assert verdict_on(reference, tiny.lock, app=app).status == 0
    (app / "serve.py").write_text("print('something else')\n")
    assert verdict_on(reference, tiny.lock, app=app).status == 5


def _config(change: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    """A change of the configuration together with the label that says how the image was built."""

    def both(document: dict[str, Any]) -> None:
        before = set(document["config"]["Env"])
        change(document["config"])
        options = json.loads(document["config"]["Labels"]["envparity.options"])
        options["env"] = [
            {"name": name, "value": value}
            for name, _, value in (line.partition("=") for line in document["config"]["Env"] if line not in before)
        ]
        if not options["env"]:
            del options["env"]  # as the label is written: what is plain is left out
        options["user"] = document["config"]["User"]
        document["config"]["Labels"]["envparity.options"] = json.dumps(options, sort_keys=True, separators=(",", ":"))

    return both


def test_a_variable_that_decides_which_code_runs_must_be_expected(little: Pipeline, tmp_path: Path) -> None:
    """The image says itself that it was built so: that is its own word, and no proof."""
    reference = tampered(
        little.image,
        tmp_path / "image",
        {},
        config=_config(lambda config: config["Env"].append("LD_PRELOAD=/evil.so")),
    )

    for against in (little.lock, little.snapshot):
        verdict = verdict_on(reference, against)
        assert verdict.status == 1
        assert "variable LD_PRELOAD" in {item.difference.item for item in verdict.findings}
        expected = Options(env=(Variable("LD_PRELOAD", "/evil.so"),))
        assert verdict_on(reference, against, expected=expected).status == 0


def test_an_image_that_runs_as_root_must_be_expected(tiny: Pipeline, tmp_path: Path) -> None:
    reference = tampered(tiny.image, tmp_path / "image", {}, config=_config(lambda config: config.update(User="0:0")))

    assert verdict_on(reference, tiny.lock).status == 1
    assert verdict_on(reference, tiny.lock, expected=Options(user="0:0")).status == 0


@pytest.mark.parametrize(
    ("key", "value"), [("architecture", "arm64"), ("os.features", ["win32k"]), ("author", "somebody")]
)
def test_what_the_configuration_says_beside_its_settings_is_compared(
    tiny: Pipeline, tmp_path: Path, key: str, value: Any
) -> None:
    """The platform decides what is pulled, and for whom."""
    reference = tampered(tiny.image, tmp_path / "image", {}, config=lambda document: document.update({key: value}))

    assert verdict_on(reference, tiny.lock).status == 5


def test_a_configuration_that_engines_read_otherwise_is_refused(tiny: Pipeline, tmp_path: Path) -> None:
    """Some engines read keys without regard to case: this one starts something else there."""
    other = {"CONFIG": {"Entrypoint": ["/evil"], "User": "0"}}

    reference = tampered(tiny.image, tmp_path / "image", {}, config=lambda document: document.update(other))

    with pytest.raises(MalformedError, match="case"):
        verdict_on(reference, tiny.lock)


def test_a_folder_in_the_place_of_a_file_is_found(tiny: Pipeline, tmp_path: Path) -> None:
    """A layer that holds only folders hides what is below them."""
    victim = _of(tiny.image, "/joblib/memory.py")

    for path in ("opt/model/model.joblib", "usr/share/envparity/pylock.toml"):
        reference = tampered(
            tiny.image,
            tmp_path / path.rpartition("/")[2],
            {layer_with(tiny.image, path): lambda entries: [*entries, Entry(victim, "folder", 0o755)]},
        )
        verdict = verdict_on(reference, tiny.lock)
        assert verdict.status == 5
        assert ("added", f"/{victim}") in found(verdict)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("opt/env/lib/{python}/site-packages/sitecustomize.pyc", b"\x00" * 16),
        (
            "opt/env/lib/{python}/site-packages/joblib/__pycache__/memory.cpython-311.pyc",
            b"\x00\x00\x00\x00\x01\x00\x00\x00",
        ),
        ("{stdlib}/joblib/__init__.py", b"print('another joblib')\n"),
        ("etc/ld.so.preload", b"/evil.so\n"),
    ],
)
def test_against_the_snapshot_what_takes_the_place_of_a_recorded_file_is_found(
    little: Pipeline, tmp_path: Path, path: str, content: bytes
) -> None:
    site = _of(little.image, "/site-packages/joblib/memory.py").removesuffix("/site-packages/joblib/memory.py")
    stdlib = _of(little.image, "/json/decoder.py").removesuffix("/json/decoder.py")
    path = path.format(python=site.rpartition("/")[2], stdlib=stdlib)

    verdict = verdict_on(
        tampered(little.image, tmp_path / "image", {}, more=[[Entry(path, "file", 0o644, content=content)]]),
        little.snapshot,
    )

    assert verdict.status == 5
    assert any(item.startswith(f"/{path.removesuffix('/__init__.py')}") for _, item in found(verdict))


def _distribution(name: str, files: dict[str, bytes], site: str) -> list[Entry]:
    """A distribution that nobody recorded, with a RECORD that owns all its files."""
    info = f"{name}-1.0.dist-info"
    files = {**files, f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode()}
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"]).encode()
    return [
        Entry(f"{site}/{path}", "file", 0o644, content=content)
        for path, content in {**files, f"{info}/RECORD": record}.items()
    ]


def _site(little: Pipeline) -> str:
    return _of(little.image, "/site-packages/joblib/memory.py").removesuffix("/joblib/memory.py")


@pytest.mark.parametrize(
    "path", ["threadpoolctl/__init__.py", "joblib/another.py", "start.pth", "sitecustomize.py", "usercustomize.py"]
)
def test_against_the_snapshot_another_distribution_cannot_own_what_takes_a_recorded_place(
    little: Pipeline, tmp_path: Path, path: str
) -> None:
    """A package stands before a module of its name, and a `.pth` file runs at every start: no RECORD excuses that."""
    site = _site(little)
    more = [_distribution("stranger", {path: b"print('not what trained')\n", "stranger/__init__.py": b""}, site)]

    verdict = verdict_on(tampered(little.image, tmp_path / "image", {}, more=more), little.snapshot)

    assert verdict.status == 5
    assert found(verdict) == {("added", f"/{site}/{path}")}


def test_against_the_snapshot_a_distribution_that_is_gone_fails(little: Pipeline, tmp_path: Path) -> None:
    """Files and metadata removed together leave nothing whose digest could be wrong."""
    place = _of(little.image, "/site-packages/threadpoolctl.py")

    def drop(entries: list[Entry]) -> list[Entry]:
        return [entry for entry in entries if "/threadpoolctl" not in entry.path]

    reference = tampered(little.image, tmp_path / "image", {layer_with(little.image, place): drop})
    verdict = verdict_on(reference, little.snapshot)

    assert verdict.status == 1
    assert [item.difference.item for item in verdict.findings if item.severity.at_least(Severity.HIGH)] == [
        "threadpoolctl"
    ]


def test_a_model_that_is_gone_fails(little: Pipeline, tmp_path: Path) -> None:
    """An image without its model would be verified, and serve nothing or another one."""
    path = "opt/model/model.joblib"
    reference = tampered(
        little.image,
        tmp_path / "image",
        {layer_with(little.image, path): lambda entries: [entry for entry in entries if entry.path != path]},
    )
    envparity("build", little.lock, "--output", f"oci:{tmp_path / 'without'}")

    verdict = verdict_on(reference, little.lock)
    assert verdict.status == 5
    assert found(verdict) == {("removed", f"/{path}")}
    assert verdict_on(reference, little.snapshot).status == 1
    for against in (little.lock, little.snapshot):
        assert verdict_on(f"oci:{tmp_path / 'without'}", against).status == 1


def test_a_file_beside_the_model_is_found(tiny: Pipeline, tmp_path: Path) -> None:
    more = [[Entry("opt/model/other.joblib", "file", 0o644, content=b"\x80\x04.")]]

    verdict = verdict_on(tampered(tiny.image, tmp_path / "image", {}, more=more), tiny.lock)

    assert verdict.status == 5
    assert found(verdict) == {("added", "/opt/model/other.joblib")}


def test_a_further_layer_among_the_wheels_is_found_and_its_folders_are_not(tiny: Pipeline, tmp_path: Path) -> None:
    """Folders that are there already say nothing: a reader should see the one file, and not its parents."""
    path = f"{_site(tiny)}/joblib/added.py"
    parents = [path.rsplit("/", n)[0] for n in range(path.count("/"), 0, -1)]
    more = [[*(Entry(parent, "folder", 0o755) for parent in parents), Entry(path, "file", 0o644, content=b"")]]

    verdict = verdict_on(tampered(tiny.image, tmp_path / "image", {}, more=more), tiny.lock)

    assert verdict.status == 5
    assert found(verdict) == {("added", f"/{path}")}


def test_against_the_snapshot_what_an_image_starts_is_shown(little: Pipeline, tmp_path: Path) -> None:
    """Every file is the recorded one, and a shell is started: a reader must not hear only VERIFIED."""
    entrypoint = ["/bin/sh", "-c", "true"]
    reference = tampered(
        little.image,
        tmp_path / "image",
        {},
        config=lambda document: document["config"].update(Entrypoint=entrypoint),
    )

    verdict = verdict_on(reference, little.snapshot)

    assert [item.difference.item for item in verdict.findings if item.difference.section == "configuration"] == [
        "entry point"
    ]
    assert verdict_on(reference, little.snapshot, fail_on=Severity.MEDIUM).status == 1
    expected = Options(entrypoint=tuple(entrypoint))
    assert verdict_on(reference, little.snapshot, fail_on=Severity.MEDIUM, expected=expected).status == 0


def test_against_the_snapshot_a_module_where_python_starts_is_found(little: Pipeline, tmp_path: Path) -> None:
    """The folder that a container starts in comes first on the path, before the standard library."""
    reference = tampered(
        little.image,
        tmp_path / "image",
        {},
        more=[[Entry("srv/x/random.py", "file", 0o644, content=b"seed = None\n")]],
        config=lambda document: document["config"].update(WorkingDir="/srv/x"),
    )

    assert ("added", "/srv/x/random.py") in found(verdict_on(reference, little.snapshot))


def test_nothing_that_an_image_cannot_know_counts_against_it(little: Pipeline) -> None:
    """`--fail-on info` is strict about findings; what nobody can see in an image is no finding."""
    verdict = verdict_on(f"oci:{little.image}", little.lock, fail_on=Severity.INFO)

    assert verdict.status == 0


def test_against_the_snapshot_metadata_under_another_form_hides_nothing(little: Pipeline, tmp_path: Path) -> None:
    """Without dist-info there is no RECORD; that must not mean that there is nothing to compare."""
    image = open_image(f"oci:{little.image}")
    changes = {
        index: lambda entries: [
            dataclasses.replace(entry, path=entry.path.replace(".dist-info/", ".egg-info/")) for entry in entries
        ]
        for index in range(len(image.layers()))
        if any(".dist-info/" in entry.path for entry in entries_of(image, index))
    }

    with pytest.raises(IncompleteError, match="no file"):
        verdict_on(tampered(little.image, tmp_path / "image", changes), little.snapshot)


def test_what_no_snapshot_says_is_not_taken_for_a_verified_file(little: Pipeline) -> None:
    """VERIFIED against a snapshot speaks of distributions; a reader must see that the rest was not compared."""
    verdict = verdict_on(f"oci:{little.image}", little.snapshot)

    assert any("were not compared" in gap.reason for gap in verdict.gaps)


def test_only_a_lock_or_a_snapshot_proves_anything(little: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("joblib==1.4.2\n")

    with pytest.raises(UsageError, match="neither a snapshot nor a lock"):
        verdict_on(f"oci:{little.image}", tmp_path / "requirements.txt")
