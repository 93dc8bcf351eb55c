"""Locale, time zone, authorities and fonts: what formats, parses and trusts."""

import hashlib
import locale
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from envparity.collectors.surroundings import by_variables, fonts, locale_of, surroundings, zone_of
from envparity.collectors.tree import LocalTree


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "C"),
        ({"LANG": ""}, "C"),
        ({"LANG": "de_DE.UTF-8"}, "de_DE.UTF-8"),
        ({"LANG": "de_DE.UTF-8", "LC_ALL": ""}, "de_DE.UTF-8"),
        ({"LANG": "de_DE.UTF-8", "LC_ALL": "C.UTF-8", "LC_TIME": "fr_FR"}, "C.UTF-8"),
        (
            {"LANG": "C.UTF-8", "LC_NUMERIC": "de_DE.UTF-8"},
            "LC_CTYPE=C.UTF-8;LC_NUMERIC=de_DE.UTF-8;LC_TIME=C.UTF-8;LC_COLLATE=C.UTF-8;LC_MONETARY=C.UTF-8;"
            "LC_MESSAGES=C.UTF-8",
        ),
    ],
)
def test_the_locale_is_chosen_as_setlocale_does(environ, expected):
    assert locale_of(environ) == expected


def test_the_c_library_chooses_the_same():
    code = "import locale; print(locale.setlocale(locale.LC_ALL, ''))"
    for environ in ({}, {"LANG": "C.UTF-8"}, {"LC_ALL": "C.UTF-8", "LANG": "C"}, {"LANG": "POSIX"}):
        # Python itself replaces the locale C by C.UTF-8 (PEP 538) unless told not to.
        done = subprocess.run(
            [sys.executable, "-I", "-c", code],
            env=dict(environ, PYTHONCOERCECLOCALE="0"),
            stdout=subprocess.PIPE,
            check=True,
        )
        said = done.stdout.decode().strip()
        assert {"POSIX": "C"}.get(
            locale_of(environ), locale_of(environ)
        ) == said or "C.UTF-8" not in locale.locale_alias


ZONE = b"TZif2" + bytes(200) + b"\nCET-1CEST,M3.5.0,M10.5.0/3\n"


@pytest.mark.parametrize(
    ("files", "zone"),
    [
        ({}, "UTC"),
        (
            {"/etc/localtime": "/usr/share/zoneinfo/Europe/Berlin", "/usr/share/zoneinfo/Europe/Berlin": ZONE},
            "Europe/Berlin",
        ),
        ({"/etc/localtime": "/usr/share/zoneinfo/Etc/UTC", "/usr/share/zoneinfo/Etc/UTC": ZONE}, "UTC"),
        ({"/etc/localtime": ZONE, "/etc/timezone": b"Europe/Berlin\n"}, "CET-1CEST,M3.5.0,M10.5.0/3"),
        ({"/etc/timezone": b"Europe/Berlin\n"}, "Europe/Berlin"),
        ({"/etc/localtime": "/usr/share/zoneinfo/Gone", "/etc/timezone": b"Etc/UTC\n"}, "UTC"),
    ],
)
def test_the_time_zone_is_the_one_that_the_c_library_would_take(tree_of, files, zone):
    assert next(iter(surroundings(tree_of(files))))["time_zone"] == zone


@pytest.mark.parametrize(
    ("value", "zone"),
    [
        ("", "UTC"),
        ("Etc/UTC", "UTC"),
        (":Asia/Tokyo", "Asia/Tokyo"),
        ("/usr/share/zoneinfo/posix/Asia/Tokyo", "Asia/Tokyo"),
        ("EST5EDT,M3.2.0,M11.1.0", "EST5EDT,M3.2.0,M11.1.0"),
        ("/home/ada/zone", "CET-1CEST,M3.5.0,M10.5.0/3"),
        ("/home/ada/gone", ""),
    ],
)
def test_a_variable_names_another_zone(tree_of, value, zone):
    """A path of the machine is no name of a zone: its rule is recorded, and never the path."""
    tree = tree_of({"/home/ada/zone": ZONE})

    assert zone_of(tree, value) == zone
    assert [fact.get("time_zone") for fact in by_variables(tree, {"TZ": value})] == [zone]
    assert all("time_zone" not in fact for fact in by_variables(tree, {}))


def test_the_release_of_the_zones_is_the_first_line_of_their_source(tree_of):
    (fact,) = surroundings(tree_of({"/usr/share/zoneinfo/tzdata.zi": b"# version 2025b\nR d 1916 o\n"}))

    assert fact["tzdata"] == "2025b"
    for content in ({}, {"/usr/share/zoneinfo/tzdata.zi": b"R A 1 2"}):
        assert next(iter(surroundings(tree_of(content))))["tzdata"] == ""


def test_the_authorities_are_those_that_openssl_finds(tree_of):
    system, company, conda = b"system", b"company", b"conda"
    tree = tree_of(
        {
            "/etc/ssl/certs/ca-certificates.crt": system,
            "/opt/company.pem": company,
            "/opt/conda/ssl/cert.pem": conda,
            "/opt/conda/conda-meta/history": b"",
        }
    )

    def digest(data):
        return hashlib.sha256(data).hexdigest()

    assert next(iter(surroundings(tree)))["ca_sha256"] == digest(system)
    assert next(iter(surroundings(tree, "/opt/conda")))["ca_sha256"] == digest(conda)
    assert next(iter(by_variables(tree, {"SSL_CERT_FILE": "/opt/company.pem"})))["ca_sha256"] == digest(company)
    assert "ca_sha256" not in next(iter(by_variables(tree, {"SSL_CERT_FILE": "/gone"})))
    assert "ca_sha256" not in next(iter(surroundings(tree_of({}))))


def test_authorities_that_no_base_has_are_named_by_how_they_came_in(tree_of):
    """Never by what a variable holds: that is a path of whoever trained."""
    tree = tree_of(
        {
            "/etc/ssl/certs/ca-certificates.crt": b"system",
            "/home/ada/company.pem": b"company",
            "/home/ada/copy.pem": b"system",
            "/opt/env/lib/python3.12/site-packages/certifi/cacert.pem": b"certifi",
        }
    )
    said = {
        "SSL_CERT_FILE": "/home/ada/company.pem",
        "REQUESTS_CA_BUNDLE": "/opt/env/lib/python3.12/site-packages/certifi/cacert.pem",
        "CURL_CA_BUNDLE": "/etc/ssl/certs/ca-certificates.crt",
        "PIP_CERT": "/home/ada/copy.pem",
        "GIT_SSL_CAINFO": "/gone.pem",
        "NODE_EXTRA_CA_CERTS": "relative.pem",
    }

    assert next(iter(by_variables(tree, said)))["own_authorities"] == ["SSL_CERT_FILE"]
    assert "own_authorities" not in next(iter(by_variables(tree, {})))
    for place, program in (
        ("/usr/local/share/ca-certificates/company/root.crt", "update-ca-certificates"),
        ("/etc/pki/ca-trust/source/anchors/root.pem", "update-ca-trust"),
    ):
        assert next(iter(by_variables(tree_of({place: b"company"}), {})))["own_authorities"] == [program]


def test_the_authorities_of_this_machine_are_those_of_its_own_python():
    said = subprocess.run(
        ["/usr/bin/python3", "-I", "-c", "import ssl; print(ssl.get_default_verify_paths().cafile or '')"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ).stdout.decode().strip() if Path("/usr/bin/python3").exists() else ""  # fmt: skip
    if not said:
        pytest.skip("this machine's own Python has no file of authorities")
    (fact,) = surroundings(LocalTree())

    assert fact["ca_sha256"] == LocalTree().sha256(said)


def test_fonts_are_listed_only_where_something_draws(tree_of):
    files = {
        "/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf": b"",
        "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf": b"",
        "/usr/local/share/fonts/Corporate.otf": b"",
        "/usr/share/fonts/README": b"",
        "/usr/share/fonts/loop": "/usr/share/fonts",
        "/env/matplotlib/__init__.py": b"",
    }

    assert list(fonts(tree_of(files), ["/env"])) == [{"kind": "system", "fonts": ["Corporate", "DejaVuSans"]}]
    assert list(fonts(tree_of(files), ["/other"])) == []
    assert list(fonts(tree_of({"/env/matplotlib/x": b""}), ["/env"])) == [{"kind": "system", "fonts": []}]


def test_here_and_now_the_zone_gives_the_offset_of_this_process():
    (fact,) = surroundings(LocalTree())
    if "TZ" in os.environ or not fact["time_zone"]:
        pytest.skip("another zone is set")
    done = subprocess.run(
        [sys.executable, "-I", "-c", "import time; print(time.timezone)"],
        env={"TZ": fact["time_zone"]},
        stdout=subprocess.PIPE,
        check=True,
    )

    assert int(done.stdout) == time.timezone
