from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from envparity.errors import IntegrityError, MalformedError, UsageError
from envparity.oci import spec

CASES = Path(__file__).parent.parent / "data" / "image-spec"
ROWS = list(csv.DictReader((CASES / "CASES.tsv").read_text().splitlines(), delimiter="\t"))
PARSERS = {
    "manifest": spec.parse_manifest,
    "index": spec.parse_index,
    "config": spec.parse_config,
    "descriptor": spec.parse_descriptor,
    "layout": spec.parse_layout,
}
SHA = "sha256:" + "0" * 64
BLOB = {"mediaType": "application/x", "digest": SHA, "size": 1}
GOOD = {
    "manifest": {"schemaVersion": 2, "config": BLOB, "layers": [BLOB]},
    "index": {"schemaVersion": 2, "manifests": [BLOB]},
    "config": {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [SHA]}},
}


def parse(kind: str, document: object) -> object:
    return PARSERS[kind](json.dumps(document).encode())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["file"])
def test_the_documents_of_the_specification_are_judged_as_it_says(row: dict[str, str]) -> None:
    data = (CASES / row["file"]).read_bytes()
    parser = PARSERS[row["file"].partition("-")[0]]
    if row["verdict"] == "accept":
        parser(data)
    else:
        with pytest.raises(MalformedError):
            parser(data)


def test_the_whole_corpus_is_there() -> None:
    verdicts = [row["verdict"] for row in ROWS]
    assert (verdicts.count("accept"), verdicts.count("refuse")) == (27, 40)


@pytest.mark.parametrize(
    ("kind", "changes", "says"),
    [
        ("manifest", {"manifests": []}, "ambiguous"),
        ("manifest", {"fsLayers": []}, "ambiguous"),
        ("index", {"layers": []}, "ambiguous"),
        ("index", {"config": BLOB}, "ambiguous"),
        ("manifest", {"Layers": []}, "in case only"),
        ("manifest", {"schemaVersion": 1}, "schemaVersion"),
        ("manifest", {"mediaType": spec.OCI_INDEX}, "not the media type of a manifest"),
        ("index", {"mediaType": spec.OCI_MANIFEST}, "not the media type of an index"),
        ("manifest", {"layers": [{**BLOB, "size": 2**70}]}, r"number has 22 digits"),
        ("manifest", {"layers": [{**BLOB, "digest": "sha256:../../x"}]}, r"layers\[0\]\.digest"),
        ("manifest", {"layers": [{**BLOB, "digest": "sha256:abc"}]}, "not a sha256 digest"),
        ("manifest", {"layers": [{**BLOB, "annotations": {"a": 1}}]}, "object of strings"),
        ("manifest", {"layers": [BLOB] * 5000}, "length <= 4096"),
        ("config", {"config": {"Volumes": ["/a"]}}, "expected an object"),
        ("config", {"config": {"Env": ["A"]}}, "NAME=VALUE"),
        ("config", {"rootfs": {"type": "other", "diff_ids": []}}, r"rootfs\.type"),
    ],
)
def test_a_document_that_could_be_read_in_two_ways_is_refused(kind: str, changes: dict[str, object], says: str) -> None:
    parse(kind, GOOD[kind])
    with pytest.raises(MalformedError, match=says):
        parse(kind, {**GOOD[kind], **changes})


DIFF_ID = "sha256:" + "1" * 64


@pytest.mark.parametrize(
    ("kind", "changes", "says"),
    [
        ("config", {"config": {}, "CONFIG": {"Entrypoint": ["/evil"]}}, "`CONFIG` differs from `config` in case only"),
        ("config", {"config": {"User": "10001", "USER": "0"}}, r"`USER` differs from `User` .*at config\)"),
        ("config", {"config": {"entrypoint": ["/evil"]}}, "`entrypoint` differs from `Entrypoint`"),
        ("config", {"config": {"\u017fhell": ["/evil"]}}, "differs from `Shell`"),
        ("config", {"config": {"HealthCheck": {}}}, "differs from `Healthcheck`"),
        ("config", {"config": {"x": 1, "X": 2}}, "`X` differs from `x`"),
        (
            "config",
            {"rootfs": {"type": "layers", "diff_ids": [SHA], "Diff_IDs": [DIFF_ID]}},
            r"`Diff_IDs` differs from `diff_ids` in case only \(at rootfs\)",
        ),
        ("config", {"history": [{}, {"Empty_Layer": True}]}, r"at history\[1\]"),
        ("config", {"OS.features": []}, "differs from `os.features`"),
        ("config", {"x": 1, "X": 2}, "`X` differs from `x`"),
        ("manifest", {"Manifests": []}, "of another kind of document"),
        ("manifest", {"con\ufb01g": BLOB}, "differs from `config`"),
        ("manifest", {"layers": [BLOB, {**BLOB, "Digest": DIFF_ID}]}, r"at layers\[1\]"),
        ("manifest", {"config": {**BLOB, "SIZE": 2}}, r"at config\)"),
        ("index", {"manifests": [{**BLOB, "\u017fize": 2}]}, r"at manifests\[0\]"),
        ("index", {"manifests": [{**BLOB, "platform": {"os": "linux", "OS": "x"}}]}, r"at manifests\[0\]\.platform"),
        ("index", {"subject": {**BLOB, "Data": "eA=="}}, "differs from `data`"),
    ],
)
def test_a_key_that_differs_from_another_in_case_only_is_refused(
    kind: str, changes: dict[str, object], says: str
) -> None:
    """An engine written in Go takes both for one field, and the last one counts: it would start something else."""
    with pytest.raises(MalformedError, match=says):
        parse(kind, {**GOOD[kind], **changes})


def test_keys_that_are_data_may_differ_in_case_only() -> None:
    both = {"a": "1", "A": "2"}
    found = parse("config", {**GOOD["config"], "config": {"Labels": both, "Volumes": {"/a": {}, "/A": {}}}})
    assert isinstance(found, spec.Config)
    assert found.config is not None
    assert found.config.labels == both
    parse("manifest", {**GOOD["manifest"], "annotations": both})


@pytest.mark.parametrize("kind", ["descriptor", "layout"])
def test_the_smallest_documents_have_one_reading_too(kind: str) -> None:
    document = {**BLOB, "Digest": SHA} if kind == "descriptor" else {"ImageLayoutVersion": "1.0.0"}
    with pytest.raises(MalformedError, match="in case only"):
        parse(kind, document)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b'{"schemaVersion":2,"schemaVersion":2}', "stands there twice"),
        (b"[" * 60_000, "nested deeper than 40"),
        (b'{"a":' * 70 + b"1" + b"}" * 70, "nested deeper than 40"),
        (b'{"a":NaN}', "not a JSON number"),
        (b'{"a":' + b"1" * 5000 + b"}", "5000 digits"),
        (b"\xff\xfe{\0}\0", "not UTF-8"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b"", "ends too early"),
        (b"[]", "expected `object`"),
        (b" " * (spec.MANIFEST_LIMIT + 1), "the limit is 4,194,304"),
    ],
)
def test_json_that_is_not_plain_is_refused(data: bytes, says: str) -> None:
    for parser in (spec.parse_manifest, spec.parse_index):
        with pytest.raises(MalformedError, match=says):
            parser(data)


def test_what_engines_let_pass_in_a_config_is_read_when_asked() -> None:
    config = {
        **GOOD["config"],
        "config": {"Env": ["A", "B=1", "B=2"], "Entrypoint": "run", "Cmd": None, "Labels": None, "Healthcheck": {}},
    }
    found = spec.parse_config(json.dumps(config).encode(), strict=False)
    assert found.config is not None
    assert (found.config.env, found.config.entrypoint, found.config.cmd) == (("A", "B=1", "B=2"), ("run",), None)
    assert spec.parse_config(json.dumps({**GOOD["config"], "config": None}).encode()).config is None


def test_parsed_documents_are_values_that_can_be_compared_and_hashed() -> None:
    with_notes = {**GOOD["manifest"], "annotations": {"b": "1", "a": "2"}}
    other_order = {**GOOD["manifest"], "annotations": {"a": "2", "b": "1"}}
    one, two = parse("manifest", with_notes), parse("manifest", other_order)
    assert one == two
    assert hash(one) == hash(two)
    assert "Table" in repr(one)


def test_data_in_a_descriptor_must_be_what_its_digest_says() -> None:
    with pytest.raises(IntegrityError, match="carries data"):
        parse("descriptor", {**BLOB, "data": "eA=="})


@pytest.mark.parametrize(
    "digest", ["md5:" + "0" * 32, "sha256:" + "A" * 64, "sha256:../x", "sha256", "blake3:" + "0" * 64]
)
def test_only_a_digest_that_can_be_checked_becomes_part_of_a_path(digest: str) -> None:
    with pytest.raises(MalformedError, match="not a digest that can be checked"):
        spec.blob_path(digest)
    assert spec.blob_path(SHA) == f"blobs/sha256/{'0' * 64}"


@pytest.mark.parametrize("text", ["linux", "linux/amd64/v8/x", "linux/am d64", ""])
def test_a_platform_has_two_or_three_parts(text: str) -> None:
    with pytest.raises(UsageError):
        spec.parse_platform(text)
    assert str(spec.parse_platform("linux/arm64/v8")) == "linux/arm64/v8"
