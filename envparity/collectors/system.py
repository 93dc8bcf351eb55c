"""The operating system: what an image carries of it (release, libc, machine), and what only the host knows."""

from __future__ import annotations

import os
import struct
from typing import Iterator

from envparity.collectors.shapes import Fact, Tree
from envparity.collectors.tree import gap, why
from envparity.collectors.virtual import container, virtualisation

_MACHINES = {3: "i686", 21: "ppc64le", 22: "s390x", 40: "armv7l", 62: "x86_64", 183: "aarch64", 243: "riscv64"}
_LIBRARY_FOLDERS = ("/lib", "/usr/lib", "/lib64", "/usr/lib64")
_DIGITS = b"0123456789."


def system(tree: Tree, live: bool) -> Iterator[Fact]:
    """
    Observe release, machine and libc. `live` asks the running kernel and libc; otherwise both are read from the bytes
    of the tree's libc.
    """
    yield from os_release(tree)
    if live:
        found = {"kind": "system", "os": os.uname().sysname.lower(), "machine": os.uname().machine}
        libc = running_libc(tree)
    else:
        found = {"kind": "system", "os": "linux"}
        libc = tree_libc(tree)
    found.update(libc)
    yield found
    if "libc" not in libc:
        yield gap("system", "unread" if live else "not-recorded", "no libc was found", "libc")


def os_release(tree: Tree) -> Iterator[Fact]:
    """Observe `/etc/os-release`, else `/usr/lib/os-release` (https://www.freedesktop.org/software/systemd/man/os-release.html)."""
    failed = ""
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        try:
            if tree.kind(path) is None:
                continue
            text = tree.read(path, 1 << 20).decode("utf-8", "replace")
        except OSError as error:
            failed = path + ": " + why(error)
            continue
        values = {}
        for line in text.split("\n"):
            key, equals, value = line.strip().partition("=")
            if equals and not key.startswith("#"):
                values[key] = _unquoted(value)
        yield {
            "kind": "system",
            "id": values.get("ID", ""),
            "version_id": values.get("VERSION_ID", ""),
            "codename": values.get("VERSION_CODENAME", ""),
            "name": values.get("PRETTY_NAME", "") or values.get("NAME", ""),
        }
        return
    yield gap("system", "unread" if failed else "not-recorded", failed or "there is no os-release", "os-release")


def tree_libc(tree: Tree) -> Fact:
    """The libc of a tree that is only read: `libc`, `libc_version` and `machine`, as far as its bytes say them."""
    for path in _candidates(tree):
        try:
            if tree.kind(path) != "file":
                continue
            data = tree.read(path, 64 << 20)
        except OSError:
            continue
        name = path.rsplit("/", 1)[1]
        found = {"machine": machine_of(data)} if machine_of(data) else {}
        if name.startswith("ld-musl-"):
            return dict(found, libc="musl", libc_version=_musl_version(data))
        mark = data.find(b"GNU C Library")
        start = data.find(b"release version ", mark) + len(b"release version ")
        if mark >= 0 and start > mark and start - mark < 400:
            end = start
            while data[end : end + 1] and data[end] in _DIGITS:
                end += 1
            return dict(found, libc="glibc", libc_version=data[start:end].decode("ascii").rstrip("."))
    return {}


def machine_of(data: bytes) -> str:
    """`uname -m` as the header of an ELF file says it; empty where it is none."""
    if data[:4] != b"\x7fELF" or len(data) < 20:
        return ""
    number = struct.unpack_from("<H" if data[5] == 1 else ">H", data, 18)[0]
    return _MACHINES.get(number, "")


def host(tree: Tree) -> Iterator[Fact]:
    """
    Observe the kernel, the cores and memory in bytes that this process may use (affinity, limits of its cgroup) and
    those that the machine has, and in what it runs: hypervisor and container.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    physical = os.cpu_count()
    cores = len(affinity(0)) if affinity else physical
    memory = machine_memory = None
    for line in _text(tree, "/proc/meminfo").split("\n"):
        if line.startswith("MemTotal:"):
            memory = machine_memory = int(line.split()[1]) * 1024
    for folder in _cgroups(tree):
        quota, _, period = _text(tree, folder + "/cpu.max").strip().partition(" ")
        if not quota:
            quota = _text(tree, folder + "/cpu.cfs_quota_us").strip()
            period = _text(tree, folder + "/cpu.cfs_period_us").strip()
        if quota.isdigit() and period.isdigit() and int(period) > 0:
            cores = min(cores or 1 << 20, max(1, -(-int(quota) // int(period))))
        for name in ("/memory.max", "/memory.limit_in_bytes"):
            limit = _text(tree, folder + name).strip()
            if limit.isdigit():
                memory = min(memory or 1 << 53, int(limit))
    yield {
        "kind": "host",
        "kernel": os.uname().release,
        "cores": cores,
        "cores_physical": physical,
        "memory_bytes": memory,
        "memory_physical_bytes": machine_memory,
        "virtualisation": virtualisation(tree),
        "container": container(tree),
    }


def running_libc(tree: Tree) -> Fact:
    """The libc of this process: `libc` and `libc_version`, as far as they are known."""
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (AttributeError, ValueError, OSError):
        name = version = ""
    if name == "glibc":
        return {"libc": name, "libc_version": version}
    return {key: value for key, value in tree_libc(tree).items() if key != "machine"}


def _candidates(tree: Tree) -> Iterator[str]:
    for folder in _LIBRARY_FOLDERS:
        try:
            names = tree.entries(folder)
        except OSError:
            continue
        for name in names:
            if name.startswith("ld-musl-") and name.endswith(".so.1"):
                yield folder + "/" + name
        yield folder + "/libc.so.6"
        # A multiarch system holds several: the one that the machine's own Python uses comes first in practice.
        for name in sorted(names, key=lambda name: (name.startswith("i386"), name)):
            if name.endswith(("-linux-gnu", "-linux-gnueabihf")):
                yield folder + "/" + name + "/libc.so.6"


def _musl_version(data: bytes) -> str:
    at = 0
    while True:
        at = data.find(b"\x001.", at)
        if at < 0:
            return ""
        end = data.find(b"\0", at + 1)
        text = data[at + 1 : end]
        if text.count(b".") == 2 and len(text) < 12 and all(byte in _DIGITS for byte in text):
            return text.decode("ascii")
        at += 1


def _unquoted(value: str) -> str:
    value = value.strip()
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    return value.replace('\\"', '"').replace("\\$", "$").replace("\\`", "`").replace("\\\\", "\\")


def _text(tree: Tree, path: str) -> str:
    try:
        return tree.read(path, 1 << 20).decode("ascii", "replace")
    except OSError:
        return ""


def _cgroups(tree: Tree) -> Iterator[str]:
    yield "/sys/fs/cgroup"
    yield "/sys/fs/cgroup/cpu"
    yield "/sys/fs/cgroup/memory"
    for line in _text(tree, "/proc/self/cgroup").split("\n"):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        parts = [part for part in path.split("/") if part and part != ".."]
        if controllers not in ("", "memory") and "cpu" not in controllers.split(","):
            continue
        root = "/sys/fs/cgroup" + ("/" + controllers if controllers else "")
        for depth in range(1, len(parts) + 1):
            yield root + "/" + "/".join(parts[:depth])
