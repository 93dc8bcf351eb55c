"""The interpreter that runs, and the one of a tree that is only read: their answers must agree."""

import os
import struct
import subprocess
from pathlib import Path

import pytest

from envparity.collectors.bundle import parse_answer, program
from envparity.collectors.interpreter import dynamic_section, home_of, image_interpreter, python_on_path
from envparity.collectors.running import platform_tags, provenance
from envparity.collectors.tree import LocalTree

NONCE = "0123456789abcdef"


def observed(tree, env_path, **more):
    facts = list(image_interpreter(tree, env_path, **more))
    found = [fact for fact in facts if fact["kind"] == "python" and "version" in fact]
    gaps = [fact for fact in facts if fact["kind"] == "gap"]
    return (found[0] if found else {}), [(gap["gap"], gap["reason"]) for gap in gaps]


def elf(text=b"", needed=(), runpath="", rpath=""):
    """A minimal 64-bit executable: one segment over everything, and a dynamic section."""
    strings, entries = b"\0", []
    for tag, value in [(1, name) for name in needed] + [(29, runpath), (15, rpath)]:
        if value:
            entries.append((tag, len(strings)))
            strings += value.encode() + b"\0"
    start = 64 + 2 * 56
    dynamic = start + len(strings)
    pairs = b"".join(struct.pack("<qQ", *entry) for entry in [*entries, (5, start), (0, 0)])
    header = (
        b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    )
    total = dynamic + len(pairs)
    segments = struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, total, total, 4096)
    segments += struct.pack("<IIQQQQQQ", 2, 6, dynamic, dynamic, 0, len(pairs), len(pairs), 8)
    return header + segments + strings + pairs + text


def test_read_and_running_agree_on_every_python_here(python):
    done = subprocess.run([python, "-I", "-S", "-"], input=program(NONCE), capture_output=True)
    facts = parse_answer(done.stdout, NONCE, done.stderr)
    (running,) = [fact for fact in facts if fact["kind"] == "python" and "version" in fact]
    folder = str(Path(python).parent)
    if os.path.realpath(python_on_path(LocalTree(), folder)) != os.path.realpath(python):
        pytest.skip("PATH would find another Python in that folder")
    read, gaps = observed(LocalTree(), folder)

    names = ("version", "implementation", "soabi", "debug", "free_threaded", "prefix", "base_prefix", "path", "stdlib")
    places = ("executable", "libpython", "provenance")
    assert {key: read.get(key) for key in names + places} == {key: running.get(key) for key in names + places}
    assert {kind for kind, _ in gaps} == {"not-recorded"}


def test_a_running_interpreter_says_what_python_itself_says(python):
    ask = (
        "import sys, sysconfig, platform; print([sys.version.split()[0], platform.python_compiler(), "
        "sysconfig.get_config_var('SOABI'), sys.base_prefix, sys.implementation.name])"
    )
    said = subprocess.run([python, "-I", "-c", ask], stdout=subprocess.PIPE).stdout.decode().strip()
    done = subprocess.run([python, "-I", "-S", "-"], input=program(NONCE), stdout=subprocess.PIPE)
    (fact,) = [fact for fact in parse_answer(done.stdout, NONCE) if fact["kind"] == "python" and "version" in fact]

    assert repr([fact[key] for key in ("version", "compiler", "soabi", "base_prefix", "implementation")]) == said


def test_the_platform_tags_are_those_of_packaging():
    tags = pytest.importorskip("packaging.tags")

    name, version = os.confstr("CS_GNU_LIBC_VERSION").split()

    assert sorted(platform_tags(name, version)) == sorted(tags.platform_tags())


def test_a_system_with_musl_has_tags_of_its_own():
    machine = os.uname().machine
    tags = [f"linux_{machine}", f"musllinux_1_2_{machine}", f"musllinux_1_1_{machine}", f"musllinux_1_0_{machine}"]

    assert platform_tags("musl", "1.2.4") == tags
    assert platform_tags("", "") == tags[:1]


DEBIAN = {
    "/bin": "usr/bin",
    "/usr/bin/python3": "python3.11",
    "/usr/bin/python3.11": elf(b"\x003.11.2\x00\x001.2.13\x00"),
    "/usr/lib/python3.11/os.py": b"",
    "/usr/lib/python3/dist-packages/x": b"",
    "/usr/local/lib/python3.11/dist-packages/y": b"",
    "/etc/debian_version": b"12\n",
}


def test_debians_python_has_its_two_folders_of_packages(tree_of):
    fact, _ = observed(tree_of(DEBIAN), "/usr/local/bin:/usr/bin:/bin")

    assert (fact["version"], fact["prefix"], fact["provenance"]) == ("3.11.2", "/usr", "debian")
    assert fact["path"][3:] == ["/usr/local/lib/python3.11/dist-packages", "/usr/lib/python3/dist-packages"]


def test_a_virtual_environment_in_an_image_has_its_own_folder_and_the_base_behind_it(tree_of):
    tree = tree_of(
        dict(
            DEBIAN,
            **{
                "/opt/env/pyvenv.cfg": b"home = /usr/bin\ninclude-system-site-packages = false\n",
                "/opt/env/bin/python3": "/usr/bin/python3.11",
                "/opt/env/lib/python3.11/site-packages/z.pth": b"/opt/app\nimport evil\n",
                "/opt/app/x.py": b"",
            },
        )
    )
    fact, gaps = observed(tree, "/opt/env/bin:/usr/bin")

    assert (fact["prefix"], fact["base_prefix"], fact["stdlib"]) == ("/opt/env", "/usr", "/usr/lib/python3.11")
    assert fact["path"][3:] == ["/opt/env/lib/python3.11/site-packages", "/opt/app"]
    assert ("not-recorded", "it has lines that are code; named, never run") in gaps


LIBRARY = "libpython3.11.so.1.0"
SHARED = {
    "/usr/local/bin/python3": "python3.11",
    "/usr/local/bin/python3.11": elf(needed=["libc.so.6", LIBRARY]),
    "/usr/local/lib/" + LIBRARY: elf(b"\x003.11.7\x00"),
    "/usr/lib/x86_64-linux-gnu/" + LIBRARY: elf(b"\x003.11.2\x00"),
    "/usr/local/lib/python3.11/os.py": b"",
}


@pytest.mark.parametrize(
    ("more", "library_path", "version"),
    [
        ({}, "", "3.11.2"),
        ({}, "/usr/local/lib", "3.11.7"),
        ({"/etc/ld.so.cache": b"glibc\0x\0/usr/local/lib/libpython3.11.so.1.0\0"}, "", "3.11.7"),
        ({"/usr/local/bin/python3.11": elf(needed=[LIBRARY], runpath="$ORIGIN/../lib")}, "", "3.11.7"),
        ({"/usr/local/bin/python3.11": elf(needed=[LIBRARY], rpath="/nowhere:/usr/local/lib")}, "", "3.11.7"),
        ({"/usr/local/bin/python3.11": elf(needed=[LIBRARY], runpath="/root/.pyenv/lib")}, "", "3.11.2"),
    ],
)
def test_the_version_is_that_of_the_libpython_that_the_loader_picks(tree_of, more, library_path, version):
    """A relocated 3.11.7 on a base with Debian's libpython3.11 starts, and is 3.11.2: the wrong one, silently."""
    fact, gaps = observed(tree_of(dict(SHARED, **more)), "/usr/local/bin", library_path=library_path)

    assert fact["version"] == version
    assert "unread" not in [kind for kind, _ in gaps]


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"/usr/bin/python3": b"#!/bin/sh\n"}, "it is no ELF file, and nothing is run to ask it"),
        (
            {"/usr/bin/python3.11": elf(needed=[LIBRARY])},
            f"it needs {LIBRARY}, which no folder that its loader looks into has",
        ),
        ({"/usr/bin/python3.11": elf()}, "its bytes say no version"),
        (
            {"/usr/bin/python3.11": elf(b"\x003.11.2\x00\x003.11.7\x00")},
            "its bytes say several versions (3.11.2, 3.11.7)",
        ),
        ({"/usr/bin/python3": "pypy3.10", "/usr/bin/pypy3.10": elf()}, "the version of PyPy is not read from its file"),
    ],
)
def test_a_version_that_cannot_be_read_is_unread_and_never_guessed(tree_of, files, reason):
    fact, gaps = observed(tree_of(files), "/usr/bin")

    assert ("unread", reason) in gaps
    assert "version" not in fact


def test_an_image_without_python_says_so(tree_of):
    _, gaps = observed(tree_of({"/usr/bin/sh": b"", "/usr/bin/python3": "gone"}), "/usr/bin:relative:")

    assert gaps == [("not-recorded", "there is no Python on its PATH (/usr/bin:relative:)")]


def test_the_newest_versioned_name_is_taken_where_there_is_no_other(tree_of):
    tree = tree_of({"/b/python3.9": b"", "/b/python3.11": b"", "/b/python3.11-config": b""})

    assert python_on_path(tree, "/a:/b/") == "/b/python3.11"


def test_a_damaged_executable_has_no_dynamic_section():
    whole = elf(needed=[LIBRARY])
    for length in range(16, len(whole), 7):
        needed, _, _ = dynamic_section(whole[:length])
        assert needed in ([], [LIBRARY])


@pytest.mark.parametrize(
    ("files", "executable", "base", "who"),
    [
        ({"/opt/conda/conda-meta/x.json": b""}, "/opt/conda/bin/python3.11", "/opt/conda", "conda"),
        ({"/var/lib/dpkg/info/python3.11-minimal.list": b""}, "/usr/bin/python3.11", "/usr", "debian"),
        ({}, "/root/.pyenv/versions/3.11.7/bin/python3.11", "/root/.pyenv/versions/3.11.7", "pyenv"),
        ({}, "/x/bin/python3.11", "/h/.local/share/uv/python/cpython-3.11.9-linux-x86_64-gnu", "uv"),
        ({}, "/usr/local/bin/python3.11", "/usr/local", "other"),
    ],
)
def test_who_built_a_python_is_told_by_where_it_lies(tree_of, files, executable, base, who):
    assert provenance(tree_of(files), executable, base) == who


def test_further_pythons_of_an_image_are_listed_and_one_in_two_places_once(tree_of):
    tree = tree_of(
        dict(
            DEBIAN,
            **{
                "/opt/env/pyvenv.cfg": b"home = /usr/bin\n",
                "/opt/env/bin/python3": "/usr/bin/python3.11",
                "/opt/conda/bin/python3.12": elf(b"\x003.12.1\x00"),
            },
        )
    )
    fact, _ = observed(tree, "/usr/local/bin:/opt/env/bin:/usr/bin:/bin:/opt/conda/bin")

    assert (fact["prefix"], fact["others"]) == ("/opt/env", ["/usr/bin/python3", "/opt/conda/bin/python3.12"])


@pytest.mark.parametrize(
    ("variables", "counts"), [({}, True), ({"PYTHONNOUSERSITE": "1"}, False), ({"PYTHONUSERBASE": "/b"}, True)]
)
def test_the_folder_of_an_images_user_counts_as_at_a_start(tree_of, variables, counts):
    base = variables.get("PYTHONUSERBASE", "/home/ada/.local")
    place = base + "/lib/python3.11/site-packages"
    tree = tree_of(dict(DEBIAN, **{place + "/x.py": b"", "/etc/passwd": b"ada:x:1000:1000::/home/ada:/bin/sh\n"}))
    home = home_of(tree, "1000:1000")
    fact, _ = observed(tree, "/usr/bin", variables=dict(variables, PYTHONPATH="/opt/app:rel"), home=home)

    assert (fact["user_site"], place in fact["path"], fact["path"][0]) == (counts, counts, "/opt/app")


def test_the_home_of_a_user_is_in_passwd_and_roots_is_known_without(tree_of):
    tree = tree_of({"/etc/passwd": b"broken\nada:x:1000:1000::/home/ada:/bin/sh\nodd:x:5:5::relative:/bin/sh\n"})

    assert [home_of(tree, user) for user in ("ada", "1000", "odd", "bob", "", "root")] == [
        "/home/ada",
        "/home/ada",
        "",
        "",
        "/root",
        "/root",
    ]
    assert home_of(tree_of({}), "0:0") == "/root"
