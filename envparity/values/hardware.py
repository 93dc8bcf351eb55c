"""The machine: what an image does not carry, and what the numbers were computed on."""

from __future__ import annotations

from msgspec import Struct

from envparity.values.scalars import Size


class Host(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """
    What an image does not carry. It is never part of the content digest.

    `cores` and `memory_bytes` are what this process may use; `cores_physical` and `memory_physical_bytes` what the
    machine has, where a limit (affinity, cgroup) makes the two differ. `virtualisation` is the hypervisor (`kvm`, …) or
    `none`, `container` the kind of container (`docker`, `kubernetes`, `lxc`, …) or `none`.
    """

    kernel: str = ""
    cores: int | None = None
    cores_physical: int | None = None
    memory_bytes: Size | None = None
    memory_physical_bytes: Size | None = None
    virtualisation: str = ""
    container: str = ""


class Cpu(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """
    The processor that the numbers were computed on. `isa_level` is `x86-64-v1` … `x86-64-v4` where it applies.
    `family`, `stepping` and `microcode` are recorded, and never a difference.
    """

    vendor: str = ""
    model: str = ""
    family: str = ""
    stepping: str = ""
    microcode: str = ""
    isa_level: str = ""
    flags: tuple[str, ...] = ()


class Device(Struct, frozen=True, order=True, omit_defaults=True, kw_only=True):
    """
    One kind of accelerator, and how many alike there are: `capability` is CUDA's compute capability (`8.0`) or the
    name of AMD's ISA (`gfx90a`). `mig` lists the slices where it is cut into some (`2 of 19968 MiB`); empty where not.
    """

    vendor: str
    name: str
    capability: str = ""
    memory_bytes: Size | None = None
    mig: str = ""
    count: int = 1

    @property
    def title(self) -> str:
        """The name, after its maker where it does not begin with it: `NVIDIA A100-SXM4-80GB`, `nvidia Tesla T4`."""
        return self.name if self.name.lower().startswith(self.vendor) else f"{self.vendor} {self.name}"


class Accelerators(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """
    The accelerator stack. `runtimes` are pairs of a library (`cuda`, `cudnn`, `nccl`, `rocm`, …) and a version as each
    place says it: several of one library are normal, and none is preferred. `driver_cuda` is the newest CUDA that the
    driver supports. `driver_floor` is the oldest driver that the installed wheels need, `floor_by` which of them.
    `contradictions` are sentences: what two places say of one thing, where it cannot be both.
    """

    driver: str = ""
    driver_cuda: str = ""
    driver_floor: str = ""
    floor_by: str = ""
    devices: tuple[Device, ...] = ()
    runtimes: tuple[tuple[str, str], ...] = ()
    contradictions: tuple[str, ...] = ()
