"""In what a process runs: the hypervisor below the kernel, and the container around the process."""

import shutil
import subprocess

import pytest

from envparity.collectors.tree import LocalTree
from envparity.collectors.virtual import container, virtualisation

GUEST = b"processor\t: 0\nflags\t\t: fpu hypervisor sse\n"
METAL = b"processor\t: 0\nflags\t\t: fpu sse\n"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"/proc/cpuinfo": METAL}, "none"),
        ({"/proc/cpuinfo": GUEST}, "other"),
        ({}, ""),
        ({"/proc/cpuinfo": b"processor\t: 0\nFeatures\t: fp asimd\n"}, ""),
        ({"/sys/hypervisor/type": b"xen\n"}, "xen"),
        ({"/sys/class/dmi/id/sys_vendor": b"Amazon EC2\n", "/sys/class/dmi/id/product_name": b"m5.large\n"}, "amazon"),
        ({"/sys/class/dmi/id/product_name": b"Google Compute Engine\n"}, "google"),
        ({"/sys/class/dmi/id/sys_vendor": b"QEMU\n", "/sys/class/dmi/id/product_name": b"Standard PC\n"}, "qemu"),
        ({"/sys/class/dmi/id/product_name": b"KVM\n", "/sys/class/dmi/id/sys_vendor": b"Red Hat\n"}, "kvm"),
        ({"/sys/class/dmi/id/product_name": b"VMware Virtual Platform\n"}, "vmware"),
        ({"/sys/class/dmi/id/product_name": b"Virtual Machine\n", "/proc/cpuinfo": GUEST}, "microsoft"),
        ({"/sys/class/dmi/id/product_name": b"PowerEdge R740\n", "/proc/cpuinfo": METAL}, "none"),
    ],
)
def test_the_hypervisor_is_named_by_what_its_firmware_says(tree_of, files, said):
    assert virtualisation(tree_of(files)) == said


@pytest.mark.parametrize(
    ("files", "environ", "said"),
    [
        ({}, {}, "none"),
        ({"/.dockerenv": b""}, {}, "docker"),
        ({"/run/.containerenv": b""}, {}, "podman"),
        ({"/run/systemd/container": b"systemd-nspawn\n"}, {}, "systemd-nspawn"),
        ({"/proc/1/environ": b"PATH=/bin\0container=lxc\0"}, {}, "lxc"),
        ({"/proc/1/environ": b"container=oci\0"}, {}, "other"),
        ({"/proc/1/cgroup": b"12:cpu:/kubepods/burstable/pod1/abc\n"}, {}, "kubernetes"),
        ({"/proc/self/cgroup": b"0::/system.slice/docker-0123.scope\n"}, {}, "docker"),
        ({"/.dockerenv": b"", "/run/secrets/kubernetes.io/serviceaccount/token": b""}, {}, "kubernetes"),
        ({"/.dockerenv": b""}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "kubernetes"),
        ({"/proc/sys/kernel/osrelease": b"5.15.90.1-microsoft-standard-WSL2\n"}, {}, "wsl"),
    ],
)
def test_a_container_is_known_by_what_its_manager_left(tree_of, files, environ, said):
    assert container(tree_of(files), environ) == said


def test_this_machine_is_virtual_where_systemd_says_so():
    tool = shutil.which("systemd-detect-virt")
    if tool is None:
        pytest.skip("systemd-detect-virt is not installed")
    said = subprocess.run([tool, "--vm"], stdout=subprocess.PIPE).stdout.decode().strip()

    assert (virtualisation(LocalTree()) in ("none", "")) == (said == "none")
