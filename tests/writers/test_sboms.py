"""CycloneDX and SPDX: valid by the validators of their communities, and read back as what they were made of."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from envparity.sources import Options, read
from envparity.sources.purls import Purl
from envparity.values import Environment, LockedModel, Variable
from envparity.values import Options as BuildOptions
from envparity.writers.components import components, direct
from envparity.writers.contents import Contents, Exported, ImageFacts, ImageLayer
from envparity.writers.cyclonedx import cyclonedx
from envparity.writers.purls import purl
from envparity.writers.spdx import spdx
from tests.tools import answer_of
from tests.values import OTHER_SHA256, SOME_SHA256, a_conda_lock, a_lock
from tests.writers.samples import contents, pinned, with_packages

BOTH = pytest.mark.parametrize("write", [cyclonedx, spdx])
Write = Callable[[Contents], Exported]

ODD = with_packages(("libstdc++6", "1:12.2.0-14+deb12u1~x", "amd64"), ("libstdc--6", "1", "amd64"))
"""Two names that differ only in what an identifier of SPDX cannot hold, and a version with an epoch."""

SAMPLES = {
    "everything": contents(required={"joblib": ()}, written_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
    "unknown": contents(pinned("demo"), pinned("helper"), required=None),
    "a circle": contents(pinned("a"), pinned("b"), pinned("c"), required={"a": ("b",), "b": ("a",), "c": ()}),
    "odd names": ODD,
    "odd texts": contents(
        pinned("demo", yanked='bad\n"build"', index="https://ada:s3cret@index.example/simple/"),
        lock={
            "settings": (Variable("A\x00B", "\N{ROCKET}\n"),),
            "models": (LockedModel(name="my model #1.pkl", size_bytes=1, sha256=OTHER_SHA256),),
        },
    ),
    "licences": contents(
        *(pinned(name) for name in ("either", "families", "family", "mit", "odd", "own", "silent")),
        licences={
            "mit": "MIT License",
            "either": "mit or apache-2.0",
            "own": "LicenseRef-Ours",
            "family": "BSD License",
            "families": "BSD License; Public Domain",
            "odd": "of \x1b[31m ours",
        },
    ),
    "beside the lock": contents(pinned("demo", url="", index="")),
    "an image": contents(
        image=ImageFacts(
            f"sha256:{OTHER_SHA256}",
            (ImageLayer("debian:bookworm", "base", f"sha256:{SOME_SHA256}", f"sha256:{OTHER_SHA256}", 7),) * 2,
            BuildOptions(app=SOME_SHA256, serve="fastapi", server=OTHER_SHA256, models=a_lock().models),
        )
    ),
}


def document(exported: Exported) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(exported.text)
    return found


def read_back(write: Write, given: Contents, folder: Path) -> Environment:
    (folder / "sbom.json").write_text(write(given).text)
    return read("sbom.json", options=Options(base_dir=folder))


@pytest.mark.parametrize(
    ("write", "requirement", "script"),
    [
        (cyclonedx, "cyclonedx-python-lib[json-validation]>=8", "validate_with_cyclonedx.py"),
        (spdx, "spdx-tools>=0.8.2", "validate_with_spdx.py"),
    ],
    ids=["cyclonedx-python-lib", "spdx-tools"],
)
def test_a_validator_of_others_finds_no_fault_and_does_find_one_that_was_made(
    write: Write, requirement: str, script: str, tmp_path: Path
) -> None:
    texts = [write(given).text for given in SAMPLES.values()]
    broken = texts[0].replace(f'"{SOME_SHA256}"', '"no digest"', 1)
    for number, text in enumerate([*texts, broken]):
        (tmp_path / f"{number}.{'spdx' if write is spdx else 'cdx'}.json").write_text(text)

    place = Path(__file__).parents[1] / "data" / "sboms" / script
    *faults, made = json.loads(answer_of(requirement, place, *sorted(tmp_path.iterdir())))

    assert faults == [""] * len(SAMPLES)
    assert made


@BOTH
@pytest.mark.parametrize("name", SAMPLES)
def test_what_is_read_back_are_the_locked_distributions_and_packages(write: Write, name: str, tmp_path: Path) -> None:
    given = SAMPLES[name]

    found = read_back(write, given, tmp_path)

    assert [(item.name, item.version) for item in found.distributions or ()] == [
        (item.name, item.version) for item in given.lock.distributions
    ]
    assert {(item.name, item.version, item.architecture) for item in found.os_packages or ()} == {
        (item.name, item.version, item.architecture) for item in given.target.os_packages
    }
    assert found.system is not None
    assert (found.system.id, found.system.version_id) == ("debian", "12")


@BOTH
@pytest.mark.parametrize("name", SAMPLES)
def test_every_reference_leads_to_one_part_and_every_part_is_reached(write: Write, name: str) -> None:
    """A part that hangs in the air is lost in every tool that walks the graph."""
    made = document(write(SAMPLES[name]))
    if write is cyclonedx:
        listed = [part["bom-ref"] for part in (made["metadata"]["component"], *made["components"])]
        edges = {row["ref"]: row["dependsOn"] for row in made["dependencies"]}
        start = listed[0]
    else:
        listed = [package["SPDXID"] for package in made["packages"]]
        rows = [row for row in made["relationships"] if row["relationshipType"] == "DEPENDS_ON"]
        rows = [row for row in rows if row["relatedSpdxElement"] not in {"NONE", "NOASSERTION"}]
        edges = {ref: [row["relatedSpdxElement"] for row in rows if row["spdxElementId"] == ref] for ref in listed}
        start = "SPDXRef-Lock"

    assert len(set(listed)) == len(listed)
    reached, waiting = set(), [start]
    while waiting:
        ref = waiting.pop()
        if ref not in reached:
            reached.add(ref)
            waiting += edges.get(ref, [])
    assert reached == set(listed)


@BOTH
def test_no_password_of_an_index_gets_in(write: Write) -> None:
    assert "s3cret" not in write(SAMPLES["odd texts"]).text


def test_who_requires_nothing_is_told_from_who_is_not_known() -> None:
    """An auditor who sees an empty list takes it for an answer."""
    given = contents(pinned("app"), pinned("leaf"), pinned("other"), required={"app": ("leaf",), "leaf": ()})
    rows = {row["ref"]: row["dependsOn"] for row in document(cyclonedx(given))["dependencies"]}

    assert rows["pkg:pypi/app@1.0"] == ["pkg:pypi/leaf@1.0"]
    assert rows["pkg:pypi/leaf@1.0"] == []
    assert "pkg:pypi/other@1.0" not in rows
    said = {
        row["spdxElementId"].split("-")[2]: row["relatedSpdxElement"]
        for row in document(spdx(given))["relationships"]
        if row["relationshipType"] == "DEPENDS_ON" and "-distribution-" in row["spdxElementId"]
    }
    assert said["app"].startswith("SPDXRef-distribution-leaf-")
    assert (said["leaf"], said["other"]) == ("NONE", "NOASSERTION")


def test_what_is_required_is_no_direct_part_unless_only_a_circle_leads_to_it() -> None:
    names = [ref.split("/")[-1] for ref in direct(components(SAMPLES["a circle"])) if ref.startswith("pkg:pypi")]

    assert names == ["c@1.0", "a@1.0"]


def test_every_file_has_its_hash_and_the_captured_interpreter_is_found_beside_the_lock() -> None:
    parts = {part["name"]: part for part in document(cyclonedx(contents()))["components"]}

    hashes = {name: part["hashes"][0]["content"] for name, part in parts.items() if "hashes" in part}
    assert hashes == {
        "joblib": SOME_SHA256,
        "libc6": SOME_SHA256,
        "model.joblib": OTHER_SHA256,
        "python": OTHER_SHA256,
    }
    assert {"name": "envparity:beside-the-lock", "value": "./pylock.artifacts/cpython-3.11.7.tar.gz"} in parts[
        "python"
    ]["properties"]
    packages = {package["name"]: package for package in document(spdx(contents()))["packages"]}
    assert packages["python"]["packageFileName"] == "cpython-3.11.7.tar.gz"
    assert packages["joblib"]["checksums"] == [{"algorithm": "SHA256", "checksumValue": SOME_SHA256}]
    assert packages["joblib"]["downloadLocation"] == "https://files.example/joblib-1.4.2-py3-none-any.whl"


def test_a_wheel_beside_the_lock_has_no_address_and_says_where_it_lies() -> None:
    (demo, *_) = document(cyclonedx(SAMPLES["beside the lock"]))["components"]

    assert "externalReferences" not in demo
    assert {
        "name": "envparity:beside-the-lock",
        "value": "./pylock.artifacts/demo-1.0-py3-none-any.whl",
    } in demo["properties"]
    package = next(item for item in document(spdx(SAMPLES["beside the lock"]))["packages"] if item["name"] == "demo")
    assert package["downloadLocation"] == "NOASSERTION"
    assert "./pylock.artifacts/demo-1.0-py3-none-any.whl" in package["comment"]


def test_an_image_has_its_layers_application_and_server_beside_what_is_locked() -> None:
    """A scanner of an image must see what no lock knows."""
    made = document(cyclonedx(SAMPLES["an image"]))

    assert made["metadata"]["component"]["bom-ref"] == f"image:sha256:{OTHER_SHA256}"
    assert {"name": "envparity:lock", "value": f"sha256:{SOME_SHA256}"} in made["metadata"]["component"]["properties"]
    own = [(part["type"], part["name"]) for part in made["components"]][-5:]
    assert own == [
        ("machine-learning-model", "model.joblib"),
        ("application", "application"),
        ("application", "server-fastapi"),
        ("file", "debian:bookworm"),
        ("file", "debian:bookworm"),
    ]


def test_settings_are_in_cyclonedx_and_spdx_says_that_it_leaves_them_out() -> None:
    properties = document(cyclonedx(contents()))["metadata"]["component"]["properties"]

    assert {"name": "envparity:setting:OMP_NUM_THREADS", "value": "2"} in properties
    assert cyclonedx(contents()).left_out == ()
    assert spdx(contents()).left_out == ("1 setting",)


def test_there_is_no_time_but_the_one_that_was_stated() -> None:
    stated = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    assert "timestamp" not in document(cyclonedx(contents()))["metadata"]
    assert document(cyclonedx(contents(written_at=stated)))["metadata"]["timestamp"] == "2026-01-02T03:04:05Z"
    assert document(spdx(contents()))["creationInfo"]["created"] == "1970-01-01T00:00:00Z"
    assert document(spdx(contents(written_at=stated)))["creationInfo"]["created"] == "2026-01-02T03:04:05Z"


@BOTH
def test_equal_locks_have_one_number_and_any_other_lock_another(write: Write) -> None:
    key = "serialNumber" if write is cyclonedx else "documentNamespace"
    numbers = [document(write(given))[key] for given in SAMPLES.values()]

    assert write(contents()).text == write(contents()).text
    assert len(set(numbers)) == len(SAMPLES)


def test_a_purl_is_read_as_what_it_was_made_of() -> None:
    """The two are written apart, since no unit may import its neighbour; so they are held to each other here."""
    odd = ("1:2.36-9+deb12u13", "1.0~rc1", "2.1.0+cu118", "1%2@3", "a/b?c#d")
    for version, name in itertools.product(odd, ("libc6", "libstdc++6", "gdal")):
        text = purl("deb", "debian", name, version=version, arch="amd64", distro="bookworm", none="")
        found = Purl.of(text)

        assert found == Purl("deb", name, "debian", version, {"arch": "amd64", "distro": "bookworm"})
    assert purl("deb", "debian", "curl", version="1:7.50+1") == "pkg:deb/debian/curl@1:7.50%2B1"


@BOTH
def test_packages_of_two_architectures_are_two_parts(write: Write, tmp_path: Path) -> None:
    given = with_packages(("libc6", "2.36", "amd64"), ("libc6", "2.36", "i386"))

    found = read_back(write, given, tmp_path)

    assert [item.architecture for item in found.os_packages or ()] == ["amd64", "i386"]


def test_a_base_without_a_release_has_no_part_for_one(tmp_path: Path) -> None:
    given = contents(lock={"targets": (msgspec.structs.replace(a_lock().targets[0], os_packages=()),)})
    bare = Contents(**{**vars(given), "system": msgspec.structs.replace(given.system, id="", version_id="")})

    assert [part.kind for part in components(bare)] == ["distribution", "interpreter", "model"]


@pytest.mark.parametrize("write", [cyclonedx, spdx])
def test_a_conda_package_is_a_part_of_its_own(write: Write, tmp_path: Path) -> None:
    """What is not in an SBOM is not looked up when a flaw becomes known."""
    text = write(contents(lock={"targets": a_conda_lock().targets})).text
    (tmp_path / "sbom.json").write_text(text)

    assert "pkg:conda/libdemo@1.2?build=h1_0&channel=main&subdir=linux-64&type=conda" in text
    assert [item.name for item in read(str(tmp_path / "sbom.json")).conda_packages or ()] == ["libdemo"]


def test_a_licence_is_declared_where_metadata_says_one_that_spdx_knows() -> None:
    """An auditor who filters by licence must not read a family of licences as one of them."""
    known = {part["name"]: part for part in document(spdx(SAMPLES["licences"]))["packages"]}
    declared = {name: part["licenseDeclared"] for name, part in known.items()}

    assert (declared["mit"], declared["either"]) == ("MIT", "MIT OR Apache-2.0")
    assert {declared[name] for name in ("own", "family", "families", "odd", "silent")} == {"NOASSERTION"}
    assert {part["licenseConcluded"] for part in known.values()} == {"NOASSERTION"}
    assert "licence: BSD License; licence: Public Domain" in known["families"]["comment"]
    assert "licence: LicenseRef-Ours" in known["own"]["comment"]


def test_cyclonedx_has_expressions_and_names() -> None:
    found = {part["name"]: part.get("licenses") for part in document(cyclonedx(SAMPLES["licences"]))["components"]}

    assert found["either"] == [{"expression": "MIT OR Apache-2.0", "acknowledgement": "declared"}]
    assert found["own"] == [{"expression": "LicenseRef-Ours", "acknowledgement": "declared"}]
    assert [each["license"]["name"] for each in found["families"] or ()] == ["BSD License", "Public Domain"]
    assert found["odd"] == [{"license": {"name": "of ?[31m ours", "acknowledgement": "declared"}}]
    assert found["silent"] is None
