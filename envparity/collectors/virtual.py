"""In what a process runs: which hypervisor below the kernel, and which container around the process."""

from __future__ import annotations

from typing import Mapping

from envparity.collectors.shapes import Tree

# What the firmware's tables say of the maker, as systemd-detect-virt(1) reads them; the first that fits counts.
_MAKERS = (
    ("amazon ec2", "amazon"), ("google", "google"), ("kvm", "kvm"), ("openstack", "kvm"), ("rhev", "kvm"),
    ("digitalocean", "kvm"), ("vmware", "vmware"), ("vmw", "vmware"), ("innotek", "oracle"), ("virtualbox", "oracle"),
    ("xen", "xen"), ("bochs", "bochs"), ("parallels", "parallels"), ("bhyve", "bhyve"), ("qemu", "qemu"),
    ("hyper-v", "microsoft"), ("virtual machine", "microsoft"), ("apple virtualization", "apple"),
)  # fmt: skip
_DMI = ("product_name", "sys_vendor", "board_vendor", "bios_vendor")
_GROUPS = (
    ("kubepods", "kubernetes"),
    ("libpod", "podman"),
    ("docker", "docker"),
    ("lxc", "lxc"),
    ("containerd", "containerd"),
)


def virtualisation(tree: Tree) -> str:
    """
    The hypervisor: `kvm`, `xen`, `vmware`, `microsoft`, …; `other` where the processor only says that there is one;
    `none`; empty where nothing tells.
    """
    hypervisor = _first_line_of(tree, "/sys/hypervisor/type")
    if hypervisor:
        return hypervisor
    said = " ".join(_first_line_of(tree, "/sys/class/dmi/id/" + name) for name in _DMI).lower()
    found = next((name for mark, name in _MAKERS if mark in said), "")
    if found:
        return found
    try:
        cpuinfo = tree.read("/proc/cpuinfo", 16 << 20)
    except OSError:
        return ""
    flags = next((line for line in cpuinfo.split(b"\n") if line.startswith(b"flags")), None)
    if flags is None:  # not x86, whose flags alone tell
        return "none" if said.strip() else ""
    return "other" if b"hypervisor" in flags.split() else "none"


def container(tree: Tree, environ: Mapping[str, str] | None = None) -> str:
    """
    The kind of container: `docker`, `podman`, `kubernetes`, `lxc`, `systemd-nspawn`, `wsl`, …; `other` where there is
    one of an unknown kind, `none` where there is none.

    Read from what managers leave: `/run/systemd/container` and the variable `container` of the first process
    (https://systemd.io/CONTAINER_INTERFACE), `/.dockerenv`, `/run/.containerenv`, the mounted service account of
    Kubernetes, and the names of the first process's cgroups.
    """
    if (environ or {}).get("KUBERNETES_SERVICE_HOST") or _there_is(tree, "/run/secrets/kubernetes.io/serviceaccount"):
        return "kubernetes"
    told = _first_line_of(tree, "/run/systemd/container")
    for entry in _bytes(tree, "/proc/1/environ").split(b"\0"):
        if entry.startswith(b"container="):
            told = told or entry[10:60].decode("ascii", "replace")
    groups = (_bytes(tree, "/proc/1/cgroup") + _bytes(tree, "/proc/self/cgroup")).decode("utf-8", "replace")
    known = told or next((name for mark, name in _GROUPS if mark in groups), "")
    if known:
        return {"oci": "other"}.get(known, known)
    if _there_is(tree, "/run/.containerenv"):
        return "podman"
    if _there_is(tree, "/.dockerenv"):
        return "docker"
    if "microsoft" in _first_line_of(tree, "/proc/sys/kernel/osrelease").lower():
        return "wsl"
    return "none"


def _first_line_of(tree: Tree, path: str) -> str:
    return _bytes(tree, path).decode("utf-8", "replace").partition("\n")[0].strip()


def _bytes(tree: Tree, path: str) -> bytes:
    try:
        return tree.read(path, 1 << 16)
    except OSError:
        return b""


def _there_is(tree: Tree, path: str) -> bool:
    try:
        return tree.kind(path) is not None
    except OSError:
        return True
