"""SBOMs: packages by their purls, nested ones too; and what an SBOM without any does not say."""

from __future__ import annotations

import json

import pytest

from envparity.errors import UnsupportedError
from envparity.sources.purls import Purl
from envparity.values import OsPackage
from tests.sources.reading import conda, read_text, reasons, rows
from tests.sources.samples import CYCLONEDX, SPDX


@pytest.mark.parametrize("version", ["1.4", "1.5", "1.6", "1.7"])
def test_cyclonedx_lists_python_conda_and_os_packages(version: str) -> None:
    environment = read_text("sbom.cdx.json", CYCLONEDX.replace("1.6", version, 1))

    assert rows(environment) == [("inner", "2", ""), ("six", "1.16.0", "")]
    assert conda(environment) == [("absl-py", "2.1", "py_0")]
    assert environment.os_packages == (OsPackage(name="openssl", version="1:3.0.11-1~deb12u2", architecture="amd64"),)
    assert environment.system is not None
    assert (environment.system.id, environment.system.version_id) == ("debian", "12.5")


@pytest.mark.parametrize("version", ["SPDX-2.2", "SPDX-2.3"])
def test_spdx_lists_them_too(version: str) -> None:
    environment = read_text("x.spdx.json", SPDX.replace("SPDX-2.3", version))

    assert rows(environment) == [("six", "1.16.0", "")]
    assert [(item.name, item.manager) for item in environment.os_packages or ()] == [("musl", "apk")]
    assert environment.system is not None
    assert environment.system.version_id == "3.19.1"


@pytest.mark.parametrize(
    ("components", "told"),
    [
        ([], "no components at all"),
        ([{"name": "a", "purl": "pkg:composer/a/b@1"}], "other kinds (composer)"),
        ([{"name": "a", "type": "file"}], "other kinds (file)"),
    ],
)
def test_an_sbom_that_names_no_distribution_does_not_say_that_there_is_none(
    components: list[dict[str, str]], told: str
) -> None:
    """Most tools look for some kinds of package only: every distribution would be reported as removed."""
    text = json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": components})
    environment = read_text("bom.json", text)

    assert environment.distributions is None
    assert told in reasons(environment, "distributions")[""]


def test_one_package_in_two_places_is_one() -> None:
    component = {"name": "six", "purl": "pkg:pypi/six@1.16.0"}
    text = json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [component, component]})

    assert rows(read_text("bom.json", text)) == [("six", "1.16.0", "")]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("SPDXVersion: SPDX-2.3\nDataLicense: CC0-1.0\n", "tag-value"),
        ('{"@context": "https://spdx.org/rdf/3.0.1"}', "SPDX 3"),
    ],
)
def test_other_forms_of_spdx_are_not_read_yet(text: str, told: str) -> None:
    with pytest.raises(UnsupportedError, match=told) as caught:
        read_text("x.spdx", text)

    assert "SPDX 2.3 JSON" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "purl"),
    [
        ("pkg:pypi/Django@1.11.1", Purl("pypi", "Django", version="1.11.1")),
        ("pkg:npm/%40angular/animation@12.3.1", Purl("npm", "animation", "@angular", "12.3.1")),
        ("pkg:deb/debian/curl@7.50.3-1?arch=i386", Purl("deb", "curl", "debian", "7.50.3-1", {"arch": "i386"})),
        ("pkg:pypi/numpy?source=hash-mapping", Purl("pypi", "numpy", qualifiers={"source": "hash-mapping"})),
        ("PKG:PyPI/x@1%2Bcu121#sub/path", Purl("pypi", "x", version="1+cu121")),
    ],
)
def test_a_purl_is_taken_apart(text: str, purl: Purl) -> None:
    """Examples of https://github.com/package-url/purl-spec."""
    assert Purl.of(text) == purl


@pytest.mark.parametrize("text", ["", "pkg:", "pkg:pypi", "http://x/y", "pkg:/x@1"])
def test_what_is_no_purl_is_none(text: str) -> None:
    assert Purl.of(text) is None


@pytest.mark.parametrize("form", ["cyclonedx", "spdx"])
@pytest.mark.parametrize(("versions", "version"), [(["3.11.7"], "3.11.7"), (["3.11.7", "3.12.1"], ""), ([""], "")])
def test_the_python_of_an_sbom_is_the_one_that_it_names(form: str, versions: list[str], version: str) -> None:
    """Of two nobody knows which one answers, and none of them is taken."""
    purls = [f"pkg:generic/python{'@' if version else ''}{version}" for version in versions]
    if form == "cyclonedx":
        components = [{"name": "python", "purl": purl} for purl in purls]
        text = json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": components})
    else:
        kinds = {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl"}
        packages = [{"name": "python", "externalRefs": [{**kinds, "referenceLocator": purl}]} for purl in purls]
        text = json.dumps({"spdxVersion": "SPDX-2.3", "packages": packages})

    environment = read_text("bom.json" if form == "cyclonedx" else "x.spdx.json", text)

    assert (environment.python.version if environment.python else "") == version
