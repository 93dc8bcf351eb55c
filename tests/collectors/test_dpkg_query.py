"""dpkg-query has the last word on its own database, also on one that it did not write."""

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from envparity.collectors.dpkg import os_packages
from envparity.collectors.tree import LocalTree

MADE = Path(__file__).resolve().parents[1] / "data" / "sources" / "dpkg-status" / "status"

STATES = (
    *("install ok installed",) * 5,
    *("hold ok installed", "deinstall ok config-files", "purge ok not-installed", "install ok unpacked"),
    *("deinstall ok installed", "install ok half-configured", "install ok half-installed"),
)
VERSIONS = ("1.0", "1:2.36-9+deb12u7", "0~rc1-1", "2.0+dfsg-1~bpo12+1", "20240101", "1.0-1.1+b2")
EXTRA = (
    "Source: other",
    "Source: other (2:1.0-1)",
    "Essential: yes",
    "Description: a text\n Version: 9 stands here, and is no field\n .\n Package: neither",
    "Conffiles:\n /etc/a 0123456789abcdef0123456789abcdef\n /etc/Version: 0123456789abcdef0123456789abcdef obsolete",
    "Depends: libc6 (>= 2.36),\n libother",
    "X-Own-Field: Version: 3",
)


def stanza(chance, number):
    """One stanza as some tool could write it: fields in any order and case, spaces where they mean nothing."""
    fields = [
        "Status: " + chance.choice(STATES),
        "Priority: optional",
        "Section: misc",
        "Maintainer: Nobody <nobody@debian.example>",
        "Architecture: " + chance.choice(("amd64", "all", "i386")),
        "Version: " + chance.choice(VERSIONS),
        *chance.sample(EXTRA, chance.randint(0, 4)),
    ]
    sources = [field for field in fields if field.startswith("Source")]
    fields = [field for field in fields if field not in sources[1:]]
    if not any(field.startswith("Description") for field in fields):
        fields.append("Description: a text")
    chance.shuffle(fields)
    fields.insert(0, "Package: p" + str(number))
    lines = []
    written = chance.choice((str, str, str.lower, str.upper))
    for field in fields:
        name, value = field.split(":", 1)
        lines.append(written(name) + ":" + chance.choice(("", "", "\t", "  ")) + value + chance.choice(("", "", " ")))
    return "\n".join(lines) + "\n"


def database(chance):
    gaps = ("\n", "\n", "\n\n", "\n\n\n")
    return "".join(stanza(chance, number) + chance.choice(gaps) for number in range(60))


@pytest.mark.parametrize("seed", range(8))
def test_a_database_has_the_packages_that_dpkg_query_lists(tmp_path, seed):
    program = shutil.which("dpkg-query")
    if program is None:
        pytest.skip("this machine has no dpkg")
    folder = tmp_path / "var/lib/dpkg"
    folder.mkdir(parents=True)
    text = MADE.read_text() if seed == 0 else database(random.Random(seed))
    (folder / "status").write_text(text)
    shown = "${db:Status-Eflag} ${db:Status-Status}\t${Package}\t${Version}\t${Architecture}\t${Source}\n"
    done = subprocess.run([program, "--admindir", str(folder), "-W", "-f", shown], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    lines = [line.split("\t") for line in done.stdout.decode().splitlines()]
    listed = [tuple(line[1:]) for line in lines if line[0] == "ok installed"]

    found = [
        (fact["name"], fact["version"], fact["architecture"], fact["source"])
        for fact in os_packages(LocalTree(str(tmp_path)))
        if fact["kind"] == "os-package"
    ]

    assert sorted(found) == sorted(listed)
    assert len(listed) >= 3
