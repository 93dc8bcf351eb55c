"""Accelerators of a live place: the driver and the devices."""

from __future__ import annotations

import json
import os
import re
from typing import Any, Iterator

from envparity.collectors.shapes import Fact, Tree
from envparity.collectors.toolkits import short_text, toolkits
from envparity.collectors.tree import gap, why

SMI_FOLDERS = (
    "/usr/bin",
    "/bin",
    "/usr/local/bin",
    "/usr/local/nvidia/bin",
    "/usr/lib/wsl/lib",
    "/run/current-system/sw/bin",
)
"""Where an administrator, a container's runtime or WSL puts `nvidia-smi`. PATH is the target's own, and never asked."""

# A driver without persistence starts each device before it answers: a second or two a device is normal.
SMI_LIMIT_S = 10.0
SMI_MOST_BYTES = 8 << 20

_UNREAD_DEVICES = (
    ("/dev/davinci_manager", "Ascend"),
    ("/dev/neuron0", "AWS Neuron"),
    ("/dev/hl0", "Habana"),
    ("/dev/accel/accel0", "a compute accelerator"),
    ("/dev/nvhost-ctrl", "NVIDIA Jetson"),
)
_NO_SMI = "no nvidia-smi in " + ", ".join(SMI_FOLDERS)


def accelerators(tree: Tree, folders: tuple[str, ...] = SMI_FOLDERS, limit_s: float = SMI_LIMIT_S) -> Iterator[Fact]:
    """
    Observe the accelerators of the live place that `tree` is the root of.

    Where the kernel shows no driver, a few look-ups are all that this costs. `nvidia-smi` is started, by its absolute
    path in `folders`, only where a driver of NVIDIA's is loaded, with a time limit; no library is loaded into this
    process. AMD's devices are read from sysfs: `rocm-smi` and `amd-smi` are Python programs, and starting them would
    run what the target has put on their path.
    """
    yield {"kind": "section", "section": "accelerators"}
    yield from toolkits(tree)
    yield from nvidia(tree, folders, limit_s)
    yield from amd(tree)
    for path, maker in _UNREAD_DEVICES:
        if tree.kind(path) is not None:
            yield gap(
                "accelerators", "not-recorded", "%s (%s) is there, and is not read yet" % (maker, path), "devices"
            )


def nvidia(tree: Tree, folders: tuple[str, ...], limit_s: float) -> Iterator[Fact]:
    """Observe the driver and the devices of NVIDIA, as far as `/proc` and `nvidia-smi` say them; gaps for the rest."""
    loaded = short_text(tree, "/proc/driver/nvidia/version")
    on_wsl = tree.kind("/dev/dxg") is not None and tree.kind("/usr/lib/wsl/lib/nvidia-smi") is not None
    reachable = tree.kind("/dev/nvidiactl") is not None
    if not (loaded or on_wsl or reachable):
        return
    # NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build ...
    version = re.search(r"NVRM version:.*?\s(\d{2,4}(?:\.\d+)+)\s", loaded + "\n")
    driver = version.group(1) if version else ""
    if driver:
        yield {"kind": "accelerators", "driver": driver}
    elif not on_wsl:
        yield gap("accelerators", "unread", "/proc/driver/nvidia/version does not name a version", "driver")
    program = next((path for path in (folder + "/nvidia-smi" for folder in folders) if os.access(path, os.X_OK)), "")
    if not program:
        if reachable:
            yield from _named_by_kernel(tree)
            yield gap(
                "accelerators", "unread", _NO_SMI + "; a container needs the driver capability `utility`", "devices"
            )
        else:
            yield gap("accelerators", "not-recorded", _NO_SMI + ", and no device is given to this place", "devices")
        return
    said, capabilities = _answers(
        [[program, "-q", "-x"], [program, "--query-gpu=pci.bus_id,compute_cap", "--format=csv,noheader"]], limit_s
    )
    if isinstance(said, tuple) and said[0] == 0:
        try:
            yield from smi_log(said[1], _by_bus(capabilities))
            return
        except (ImportError, ValueError) as error:
            said = "what `nvidia-smi -q -x` printed could not be read: %s" % error
    yield from _failed(tree, said, driver, reachable)


def smi_log(data: bytes, capabilities: dict[str, str]) -> Iterator[Fact]:
    """
    The facts of what `nvidia-smi -q -x` prints (schemas 4 to 13; https://docs.nvidia.com/deploy/nvidia-smi/).

    Its DOCTYPE names a DTD that is never fetched; a document that declares an entity is refused. Serial numbers, UUIDs
    and the names of processes are passed over. Alike devices are one, with their `count`.

    Args:
        capabilities: compute capability by PCI address, which the document does not hold.

    Raises:
        ValueError: it is not such a document.
    """
    top, gpus = _parsed(data)
    fact: Fact = {"kind": "accelerators"}
    for key, name in (("driver", "driver_version"), ("driver_cuda", "cuda_version")):
        if re.match(r"\d+\.\d", top.get(name, "")):
            fact[key] = top[name]
    devices: dict[str, Fact] = {}
    for gpu in gpus:
        name = gpu.get("product_name", "")
        bus = gpu["id"]
        if not re.search("[A-Za-z]", name) or name in ("N/A", "ERR!", "Unknown Error", "GPU is lost"):
            reason = "nvidia-smi says `%s` of the device at %s" % (name or "nothing", bus or "an unknown place")
            yield gap("accelerators", "unread", reason, "devices")
            continue
        device: Fact = {"vendor": "nvidia", "name": name, "capability": capabilities.get(bus.upper(), "")}
        memory = _memory_bytes(gpu.get("fb_memory_usage/total", ""))
        if memory:
            device["memory_bytes"] = memory
        if gpu.get("mig_mode/current_mig") == "Enabled":
            device["mig"] = _slices(gpu["slices"])
        key = json.dumps(device, sort_keys=True)
        devices.setdefault(key, dict(device, count=0))["count"] += 1
    fact["devices"] = list(devices.values())
    yield fact
    if any(not device["capability"] for device in devices.values()):
        yield gap("accelerators", "not-recorded", "this nvidia-smi does not tell the compute capability", "capability")


def amd(tree: Tree) -> Iterator[Fact]:
    """
    Observe AMD's devices from the topology of its driver
    (https://www.kernel.org/doc/html/latest/gpu/amdgpu/; `kfd_topology.c`), where `/dev/kfd` lets this place use them.
    """
    if tree.kind("/dev/kfd") is None:
        return
    version = short_text(tree, "/sys/module/amdgpu/version").strip()
    if tree.kind("/proc/driver/nvidia/version") is not None:
        # A processor with graphics of its own, beside a card of NVIDIA's: `driver` is that card's.
        yield {"kind": "accelerators", "runtimes": [["amdgpu", version]] if version else []}
    elif version:
        yield {"kind": "accelerators", "driver": version}
    else:
        yield gap(
            "accelerators", "not-recorded", "the kernel's own amdgpu has no other version than the kernel's", "driver"
        )
    nodes = "/sys/class/kfd/kfd/topology/nodes"
    devices: dict[str, Fact] = {}
    try:
        names = tree.entries(nodes)
    except OSError as error:
        yield gap("accelerators", "unread", why(error), "devices")
        return
    for node in (nodes + "/" + name for name in names):
        values = _pairs(tree, node + "/properties")
        target = values.get("gfx_target_version", 0)
        if not target or values.get("vendor_id") != 0x1002:
            continue
        # Packed as decimals; the step is a hexadecimal digit: 90010 is gfx90a.
        isa = "gfx%d%x%x" % (target // 10000, target // 100 % 100, target % 100)
        product = "/sys/class/drm/renderD%d/device/product_name" % values.get("drm_render_minor", 0)
        name = short_text(tree, product).strip() or short_text(tree, node + "/name").strip() or isa
        device: Fact = {"vendor": "amd", "name": name, "capability": isa}
        memory = _frame_buffer(tree, node + "/mem_banks")
        if memory:
            device["memory_bytes"] = memory
        devices.setdefault(json.dumps(device, sort_keys=True), dict(device, count=0))["count"] += 1
    yield {"kind": "accelerators", "devices": list(devices.values())}


def _failed(tree: Tree, said: Any, driver: str, reachable: bool) -> Iterator[Fact]:
    """What is known where `nvidia-smi` gave no document: its status and words, or a text that says why."""
    text = said if isinstance(said, str) else said[1].decode("utf-8", "replace")
    if "No devices were found" in text and not any(tree.kind("/dev/nvidia%d" % number) for number in range(16)):
        yield {"kind": "accelerators", "devices": []}
        return
    library = re.search(r"NVML library version: (\d+(?:\.\d+)+)", text)
    if "version mismatch" in text:
        yield {
            "kind": "accelerators",
            "contradictions": [
                "the loaded kernel module of the NVIDIA driver is %s, and the library beside it is %s"
                % (driver or "of another version", library.group(1) if library else "of another version")
            ],
        }
    yield from _named_by_kernel(tree)
    words = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:200]
    if not isinstance(said, str):
        words = "nvidia-smi ended with status %d: %s" % (said[0], words or "it said nothing")
    yield gap("accelerators", "unread", words, "devices")


def _named_by_kernel(tree: Tree) -> Iterator[Fact]:
    """The names of the devices as the kernel module says them (`Model: ...`); nothing else is known without NVML."""
    counts: dict[str, int] = {}
    try:
        for bus in tree.entries("/proc/driver/nvidia/gpus"):
            found = re.search(
                r"^Model:\s+(\S.*?)\s*$", short_text(tree, "/proc/driver/nvidia/gpus/%s/information" % bus), re.M
            )
            if found:
                counts[found.group(1)] = counts.get(found.group(1), 0) + 1
    except OSError:
        pass
    if counts:
        devices = [{"vendor": "nvidia", "name": name, "count": count} for name, count in counts.items()]
        yield {"kind": "accelerators", "devices": devices}


def _answers(commands: list[list[str]], limit_s: float) -> list[Any]:
    """
    What each of the commands, all started at once, answered: its exit status and output; or a text that says why there
    is none. Their environment holds no variable of ours. Whoever is late is killed, with what it started.
    """
    import selectors
    import signal
    import subprocess
    import time

    # Google's images have the driver's libraries here, and no entry for them in ld.so.conf.
    own = "/usr/local/nvidia/lib64:/usr/local/nvidia/lib"
    clean = {"PATH": ":".join(SMI_FOLDERS), "LC_ALL": "C", "LD_LIBRARY_PATH": own}
    found: list[Any] = [""] * len(commands)
    running: dict[int, Any] = {}
    deadline = time.monotonic() + limit_s
    with selectors.DefaultSelector() as ready:
        for index, argv in enumerate(commands):
            try:
                running[index] = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    env=clean,
                    cwd="/",
                    start_new_session=True,
                )
            except OSError as error:
                found[index] = "%s does not start: %s" % (argv[0], why(error))
            else:
                ready.register(running[index].stdout.fileno(), selectors.EVENT_READ, index)
        output = dict.fromkeys(running, b"")
        while ready.get_map() and time.monotonic() < deadline:
            for key, _ in ready.select(max(0.0, deadline - time.monotonic())):
                piece = os.read(key.fd, 1 << 16)
                output[key.data] += piece
                if not piece or len(output[key.data]) > SMI_MOST_BYTES:
                    ready.unregister(key.fd)
        late = {key.data for key in ready.get_map().values()}
    for index, process in running.items():
        if index in late:
            found[index] = "nvidia-smi did not answer within %g seconds" % limit_s
        elif len(output[index]) > SMI_MOST_BYTES:
            found[index] = "nvidia-smi printed more than %d bytes" % SMI_MOST_BYTES
        try:
            if found[index]:
                os.killpg(process.pid, signal.SIGKILL)
            status = process.wait(1.0)
        except (OSError, subprocess.TimeoutExpired):
            # One that hangs inside the kernel's driver cannot even be killed; it is left behind.
            found[index] = found[index] or "nvidia-smi closed its output and did not end"
        else:
            found[index] = found[index] or (status, output[index])
        process.stdout.close()
    return found


def _by_bus(answer: Any) -> dict[str, str]:
    """`00000000:01:00.0, 8.0` line by line; empty where an older driver refuses the question."""
    if not isinstance(answer, tuple) or answer[0] != 0:
        return {}
    lines = (line.split(",") for line in answer[1].decode("ascii", "replace").split("\n"))
    pairs = ((line[0].strip().upper(), line[1].strip()) for line in lines if len(line) == 2)
    return {bus: capability for bus, capability in pairs if re.match(r"\d+\.\d+$", capability)}


def _parsed(data: bytes) -> tuple[dict[str, str], list[Any]]:
    """The texts at the top of the document, and of each device those by their path below it, with its MIG slices."""
    from xml.parsers import expat

    # Warnings (`infoROM is corrupted`) stand before or after the document.
    data = data[max(0, data.find(b"<?xml")) :]
    end = data.find(b"</nvidia_smi_log>")
    data = data[: end + len(b"</nvidia_smi_log>")] if end >= 0 else data
    path: list[str] = []
    words: list[str] = []
    top: dict[str, str] = {}
    gpus: list[Any] = []

    def refuse(*_: object) -> None:
        raise ValueError("it declares an entity")

    def start(name: str, attributes: dict[str, str]) -> None:
        path.append(name)
        del words[:]
        if path[0] != "nvidia_smi_log" or len(path) > 32 or len(gpus) > 1024:
            raise ValueError("it is not a log of nvidia-smi")
        if path[1:] == ["gpu"]:
            gpus.append({"id": attributes.get("id", ""), "slices": []})
        elif path[1:] == ["gpu", "mig_devices", "mig_device"]:
            gpus[-1]["slices"].append({})

    def end_of(_: str) -> None:
        value = "".join(words).strip()[:200]
        del words[:]
        if len(path) == 2:
            top[path[1]] = value
        elif path[1:4] == ["gpu", "mig_devices", "mig_device"] and len(path) > 4:
            gpus[-1]["slices"][-1]["/".join(path[4:])] = value
        elif path[1:2] == ["gpu"] and len(path) in (3, 4):
            gpus[-1]["/".join(path[2:])] = value
        path.pop()

    parser = expat.ParserCreate()
    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end_of
    parser.CharacterDataHandler = words.append
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise ValueError(str(error)) from None
    return top, gpus


def _slices(slices: list[dict[str, str]]) -> str:
    """`4 of 19968 MiB and 14 multiprocessors`, the largest first."""
    kinds: dict[tuple[int, str], int] = {}
    for item in slices:
        memory = item.get("fb_memory_usage/total", "")
        processors = item.get("device_attributes/shared/multiprocessor_count", "")
        text = "%s and %s multiprocessors" % (memory, processors) if processors.isdigit() else memory or "unknown size"
        key = (-(_memory_bytes(memory) or 0), text)
        kinds[key] = kinds.get(key, 0) + 1
    return ", ".join("%d of %s" % (count, key[1]) for key, count in sorted(kinds.items())) or "no slices"


def _memory_bytes(text: str) -> int | None:
    number, _, unit = text.partition(" ")
    return int(number) << 20 if unit == "MiB" and number.isdigit() and len(number) < 12 else None


def _frame_buffer(tree: Tree, folder: str) -> int:
    try:
        banks = [_pairs(tree, "%s/%s/properties" % (folder, name)) for name in tree.entries(folder)]
    except OSError:
        return 0
    # Heaps 1 and 2 are the device's own memory, seen by the processor or not.
    return sum(bank.get("size_in_bytes", 0) for bank in banks if bank.get("heap_type") in (1, 2))


def _pairs(tree: Tree, path: str) -> dict[str, int]:
    lines = (line.split() for line in short_text(tree, path).split("\n"))
    return {line[0]: int(line[1]) for line in lines if len(line) == 2 and line[1].isdigit() and len(line[1]) < 20}
