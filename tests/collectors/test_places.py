"""The operating system, its packages, the processor, and the local file system that they are read from."""

import os
import struct
import subprocess

import pytest

from envparity.collectors.cpu import cpu, cpu_of, isa_level
from envparity.collectors.dpkg import os_packages
from envparity.collectors.system import host, os_release, system, tree_libc
from envparity.collectors.tree import LocalTree

DEBIAN = b'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n# x\n'


def elf(machine, text):
    return b"\x7fELF\x02\x01" + bytes(12) + struct.pack("<H", machine) + bytes(44) + text


GLIBC = b"\0GNU C Library (Debian GLIBC 2.36-9+deb12u10) stable release version 2.36.\nCopyright\0"


def of_kind(facts, kind):
    return [fact for fact in facts if fact["kind"] == kind]


def test_the_release_is_read_from_either_place_and_its_quotes_are_taken_off(tree_of):
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        (fact,) = os_release(tree_of({path: DEBIAN}))

        assert fact == {
            "kind": "system",
            "id": "debian",
            "version_id": "12",
            "codename": "bookworm",
            "name": "Debian GNU/Linux 12 (bookworm)",
        }


def test_a_release_that_links_out_of_the_tree_or_is_missing_is_a_gap(tree_of, tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "os-release").symlink_to("/etc/passwd")
    for tree in (tree_of({}), LocalTree(str(tmp_path))):
        (gap,) = os_release(tree)
        assert (gap["gap"], gap["reason"]) == ("not-recorded", "there is no os-release")
    (unread,) = os_release(tree_of({"/etc/os-release/x": b""}))
    assert (unread["gap"], unread["item"]) == ("unread", "os-release")


@pytest.mark.parametrize(
    ("path", "data", "found"),
    [
        (
            "/lib/x86_64-linux-gnu/libc.so.6",
            elf(62, GLIBC),
            {"machine": "x86_64", "libc": "glibc", "libc_version": "2.36"},
        ),
        ("/usr/lib64/libc.so.6", elf(183, GLIBC), {"machine": "aarch64", "libc": "glibc", "libc_version": "2.36"}),
        (
            "/lib/ld-musl-x86_64.so.1",
            elf(62, b"\x001.2.4\0"),
            {"machine": "x86_64", "libc": "musl", "libc_version": "1.2.4"},
        ),
        ("/lib/other", b"", {}),
    ],
)
def test_the_libc_of_a_tree_is_read_from_its_bytes(tree_of, path, data, found):
    assert tree_libc(tree_of({path: data})) == found


def test_a_tree_without_libc_has_a_gap(tree_of):
    facts = list(system(tree_of({"/etc/os-release": DEBIAN}), live=False))

    assert [(gap["gap"], gap["item"]) for gap in of_kind(facts, "gap")] == [("not-recorded", "libc")]


def test_the_libc_that_runs_here_is_the_one_that_its_file_says():
    live = {key: value for fact in system(LocalTree(), live=True) for key, value in fact.items()}
    read = tree_libc(LocalTree())

    assert (live["libc"], live["libc_version"], live["machine"]) == (
        read["libc"],
        read["libc_version"],
        read["machine"],
    )
    assert live["machine"] == os.uname().machine


def test_the_host_is_bounded_by_its_control_group(tree_of):
    files = {
        "/proc/meminfo": b"MemTotal:       16000 kB\n",
        "/proc/self/cgroup": b"0::/a/b\n",
        "/sys/fs/cgroup/cpu.max": b"max 100000\n",
        "/sys/fs/cgroup/a/cpu.max": b"50000 100000\n",
        "/sys/fs/cgroup/a/b/memory.max": b"1048576\n",
    }
    (fact,) = host(tree_of(files))
    old = {"/sys/fs/cgroup/cpu/cpu.cfs_quota_us": b"-1\n", "/sys/fs/cgroup/cpu/cpu.cfs_period_us": b"100000\n"}
    (free,) = host(tree_of(old))

    assert (fact["cores"], fact["memory_bytes"]) == (1, 1 << 20)
    assert (fact["cores_physical"], fact["memory_physical_bytes"]) == (os.cpu_count(), 16000 * 1024)
    assert (free["cores"], free["memory_bytes"]) == (len(os.sched_getaffinity(0)), None)
    assert fact["kernel"] == os.uname().release


STATUS = b"""Package: libc6
Status: install ok installed
Architecture: amd64
Source: glibc
Version: 2.36-9+deb12u10
Description: GNU C Library
 Version: not this one

Package: gone
Status: deinstall ok config-files
Version: 1

Package: held
Status: hold ok installed
Version: 2:1.0-1

Package: half
Status: install ok half-configured
Version: 1

Package: torn
Status: install ok
Version: 1

Package: blank
Status: install ok installed

Andr\xe9: nobody
"""


def test_only_installed_packages_count_and_broken_stanzas_are_named(tree_of):
    facts = list(os_packages(tree_of({"/var/lib/dpkg/status": STATUS})))

    assert of_kind(facts, "os-package") == [
        {
            "kind": "os-package",
            "name": "libc6",
            "version": "2.36-9+deb12u10",
            "architecture": "amd64",
            "manager": "dpkg",
            "source": "glibc",
        },
        {
            "kind": "os-package",
            "name": "held",
            "version": "2:1.0-1",
            "architecture": "",
            "manager": "dpkg",
            "source": "",
        },
    ]
    assert [(gap["item"], gap["reason"]) for gap in of_kind(facts, "gap")] == [
        ("half", "it is half-configured (ok)"),
        ("torn", "its Status is broken: 'install ok'"),
        ("blank", "it has no Version"),
        ("/var/lib/dpkg/status", "a stanza without Package: 'Andr\ufffd: nobody'"),
    ]
    assert {gap["gap"] for gap in of_kind(facts, "gap")} == {"unread"}


def test_an_image_without_dpkg_has_its_packages_in_pieces(tree_of):
    tree = tree_of(
        {
            "/var/lib/dpkg/status.d/tzdata": b"Package: tzdata\nVersion: 2024a-0\nArchitecture: all\n",
            "/var/lib/dpkg/status.d/tzdata.md5sums": b"aa  usr/x\n",
        }
    )
    facts = list(os_packages(tree))

    assert [fact["name"] for fact in of_kind(facts, "os-package")] == ["tzdata"]
    assert of_kind(facts, "gap") == []


@pytest.mark.parametrize(
    ("files", "kind", "reason"),
    [
        ({}, "not-recorded", "there is no package database"),
        ({"/lib/apk/db/installed": b"P:musl\n"}, "unread", "a stanza without version: 'P:musl'"),
        ({"/var/lib/pacman/local/x": b""}, "unread", "the database of pacman is not read"),
        ({"/var/lib/dpkg/status/x": b""}, "unread", "No such file or directory"),
        ({"/var/lib/dpkg/status": b" " * (65 << 20)}, "unread", "File too large"),
    ],
)
def test_a_database_that_is_not_read_is_said_to_be(tree_of, files, kind, reason):
    (gap,) = of_kind(os_packages(tree_of(files)), "gap")

    assert (gap["gap"], gap["reason"]) == (kind, reason)


def test_the_packages_of_this_machine_are_those_that_dpkg_lists():
    try:
        shown = "${db:Status-Status} ${Package} ${Version}\n"
        done = subprocess.run(["dpkg-query", "-W", "-f", shown], stdout=subprocess.PIPE)
    except OSError:
        pytest.skip("this machine has no dpkg")
    listed = sorted(line.split()[1:] for line in done.stdout.decode().splitlines() if line.startswith("installed "))
    found = [[fact["name"], fact["version"]] for fact in of_kind(os_packages(LocalTree()), "os-package")]

    assert sorted(found) == listed


V2 = "fpu cx8 cmov fxsr mmx syscall sse sse2 cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3"
V3 = V2 + " avx avx2 bmi1 bmi2 f16c fma abm movbe xsave"


def test_the_level_of_a_processor_is_the_highest_of_which_nothing_is_missing():
    assert isa_level(V2.split()) == "x86-64-v2"
    assert isa_level(V3.split()) == "x86-64-v3"
    assert isa_level((V3 + " avx512f avx512bw avx512cd avx512dq avx512vl").split()) == "x86-64-v4"
    assert isa_level(V3.replace("movbe", "").split()) == "x86-64-v2"
    assert isa_level(V3.replace("ssse3", "").split()) == "x86-64-v1"
    assert isa_level(["asimd"]) == ""


# As kernels print them: a Xeon of the fourth generation in a guest (shortened to the lines and flags that count), and
# the Graviton 2 and 3 of Amazon, whole.
SAPPHIRE_RAPIDS = """processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 143
model name\t: Intel(R) Xeon(R) Platinum 8488C
stepping\t: 8
microcode\t: 0x2b000639
flags\t\t: V3 avx512f avx512bw avx512cd avx512dq avx512vl avx512_vnni amx_tile amx_int8 hypervisor

processor\t: 1
vendor_id\t: GenuineIntel
flags\t\t: fpu
""".replace("V3", V3)
GRAVITON2 = """processor\t: 0
BogoMIPS\t: 243.75
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp ssbs
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: 0xd0c
CPU revision\t: 1

"""
GRAVITON3 = (
    "processor\t: 0\nBogoMIPS\t: 2100.00\nFeatures\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp "
    "cpuid asimdrdm jscvt fcma lrcpc dcpop sha3 sm3 sm4 asimddp sha512 sve asimdfhm dit uscat ilrcpc flagm ssbs paca "
    "pacg dcpodp svei8mm svebf16 i8mm bf16 dgh rng\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x1\n"
    "CPU part\t: 0xd40\nCPU revision\t: 1\n\n"
)


def described(text):
    fact = cpu_of(text)
    return tuple(fact[key] for key in ("vendor", "model", "family", "stepping", "microcode", "isa_level"))


def test_the_first_processor_is_observed():
    assert described(SAPPHIRE_RAPIDS) == (
        "GenuineIntel",
        "Intel(R) Xeon(R) Platinum 8488C",
        "6.143",
        "8",
        "0x2b000639",
        "x86-64-v4",
    )
    assert described(GRAVITON2) == ("ARM", "Neoverse-N1", "8", "0x3.1", "", "")
    assert described(GRAVITON3) == ("ARM", "Neoverse-V1", "8", "0x1.1", "", "")


def test_what_moves_numbers_is_among_the_flags():
    """The same image gives other last digits on a host with AMX or SVE."""
    assert {"amx_tile", "amx_int8", "avx512_vnni"} <= set(cpu_of(SAPPHIRE_RAPIDS)["flags"])
    assert {"sve", "bf16", "asimddp"} <= set(cpu_of(GRAVITON3)["flags"])
    assert "sve" not in cpu_of(GRAVITON2)["flags"]


def test_what_the_kernel_does_not_know_of_a_processor_is_empty():
    assert described("vendor_id\t: AuthenticAMD\nmicrocode\t: unknown\n")[4] == ""
    assert described("CPU implementer\t: 0x41\nCPU part\t: 0xfff\n")[:2] == ("ARM", "part 0xfff")
    assert described("") == ("", "", "", "", "", "")


def test_without_proc_the_processor_is_not_known(tree_of):
    (gap,) = cpu(tree_of({}))

    assert (gap["section"], gap["gap"]) == ("cpu", "not-recorded")


def test_no_link_leads_out_of_a_root(tmp_path):
    """An image unpacked into a folder must not make us read the machine's own files."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "real").write_bytes(b"inside")
    (tmp_path / "up").symlink_to("../../../../../../etc")
    (tmp_path / "etc" / "absolute").symlink_to("/etc/real")
    (tmp_path / "loop").symlink_to("loop")
    tree = LocalTree(str(tmp_path))

    assert tree.read("/up/real") == tree.read("/etc/absolute") == tree.read("/../etc/real") == b"inside"
    assert tree.resolve("/up/absolute") == "/etc/real"
    assert tree.entries("/up") == ["absolute", "real"]
    assert tree.kind("/up/passwd") is None
    assert (tree.kind("/loop"), tree.is_link("/loop"), tree.is_link("/etc/real")) == (None, True, False)
    with pytest.raises(OSError, match="symbolic links"):
        tree.read("/loop")


def test_what_is_no_regular_file_is_never_read(tmp_path):
    os.mkfifo(str(tmp_path / "fifo"))
    tree = LocalTree()

    assert tree.kind(str(tmp_path / "fifo")) == "other"
    assert tree.kind(str(tmp_path)) == "folder"
    assert tree.kind("/a\0b") is None
    for path in (tmp_path / "fifo", tmp_path, "/dev/zero", tmp_path / "absent"):
        with pytest.raises(OSError, match=r"not a regular file|No such file|directory"):
            tree.read(str(path))


def test_a_file_over_the_limit_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")

    assert LocalTree().read(str(tmp_path / "file"), 5) == b"12345"
    with pytest.raises(OSError, match="larger than 4 bytes"):
        LocalTree().read(str(tmp_path / "file"), 4)
