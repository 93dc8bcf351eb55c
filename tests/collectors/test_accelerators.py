"""The driver and devices of a live place: what real machines print, and what is said where they do not answer."""

import sys
import time
from pathlib import Path

import pytest

from envparity.collectors.accelerators import SMI_MOST_BYTES, accelerators, smi_log
from envparity.collectors.tree import LocalTree

LOADED = b"""NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.54.03  Tue Jun  6 22:20:39 UTC 2023
GCC version:  gcc version 11.4.0 (Ubuntu 11.4.0-1ubuntu1~22.04.2)
"""
OPEN = b"""NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (dvs-builder@host)
GCC version:  gcc version 11.4.0 (Ubuntu 11.4.0-1ubuntu1~22.04.2)
"""
INFORMATION = b"Model: \t\t NVIDIA A100-SXM4-80GB\nIRQ:   \t\t 101\nGPU UUID: \t GPU-00000000\nDevice Minor: \t 0\n"
DRIVER = {"/proc/driver/nvidia/version": LOADED, "/dev/nvidiactl": None}

# The words of the tool where it fails, with its exit status.
MISMATCH = "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 535.86\n"
LOST = "Unable to determine the device handle for GPU 0000:09:00.0: Unknown Error\n"
NO_DRIVER = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA "
    "driver is installed and running.\n\n"
)
NO_DEVICES = "No devices were found\n"
OLD_FIELD = 'Field "compute_cap" is not a valid field to query.\n'


def of_kind(facts, kind):
    return [fact for fact in facts if fact["kind"] == kind]


def stack(facts):
    """What the facts add up to, as `codec` joins them."""
    whole = {}
    for fact in of_kind(facts, "accelerators"):
        for key, value in fact.items():
            whole[key] = whole.get(key, []) + value if isinstance(value, list) else value
    whole.pop("kind", None)
    return whole


def gaps(facts):
    return [(fact["gap"], fact["item"], fact["reason"]) for fact in of_kind(facts, "gap")]


@pytest.fixture
def smi(tmp_path):
    """A function that puts a stand-in for `nvidia-smi` into a folder, and gives the folder."""

    def make(log="", status=0, capabilities="", capabilities_status=0, before=""):
        (tmp_path / "log").write_text(log)
        (tmp_path / "capabilities").write_text(capabilities)
        script = tmp_path / "nvidia-smi"
        lines = [
            "#!/bin/sh",
            before,
            f'if [ "$1" = -q ]; then cat {tmp_path}/log; exit {status}; fi',
            f"cat {tmp_path}/capabilities; exit {capabilities_status}",
        ]
        script.write_text("\n".join(lines) + "\n")
        script.chmod(0o755)
        return (str(tmp_path / "nowhere"), str(tmp_path))

    return make


def test_a_place_without_a_driver_has_no_accelerator_and_nothing_is_started(tree_of, smi, tmp_path):
    folders = smi(before=f"touch {tmp_path}/ran")

    facts = list(accelerators(tree_of({"/etc/os-release": b""}), folders))

    assert facts == [{"kind": "section", "section": "accelerators"}]
    assert not (tmp_path / "ran").exists()


def test_an_a100_that_is_cut_into_slices(tree_of, smi, data):
    log = (data / "accelerators" / "a100-mig.xml").read_text()

    facts = list(accelerators(tree_of(DRIVER), smi(log, capabilities="00000000:01:00.0, 8.0\n")))

    assert gaps(facts) == []
    assert stack(facts) == {
        "driver": "535.54.03",
        "driver_cuda": "12.2",
        "devices": [
            {
                "vendor": "nvidia",
                "name": "NVIDIA A100-SXM4-80GB",
                "capability": "8.0",
                "memory_bytes": 81920 << 20,
                "mig": "4 of 19968 MiB and 14 multiprocessors",
                "count": 1,
            }
        ],
    }


@pytest.mark.parametrize(
    ("file", "driver", "cuda", "name", "mebibytes", "count"),
    [
        ("tesla-t4.xml", "515.105.01", "11.7", "Tesla T4", 15360, 1),
        ("gtx-1660-ti.xml", "418.43", "10.1", "Graphics Device", 5912, 1),
        ("two-a5000.xml", "590.44.01", "13.1", "NVIDIA RTX A5000", 24564, 2),
        (
            "rtx-pro-6000.xml",
            "590.44.01",
            "13.1",
            "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition",
            97887,
            1,
        ),
    ],
)
def test_each_schema_of_the_log_is_read(data, file, driver, cuda, name, mebibytes, count):
    facts = list(smi_log((data / "accelerators" / file).read_bytes(), {}))

    (device,) = stack(facts)["devices"]
    assert (stack(facts)["driver"], stack(facts)["driver_cuda"]) == (driver, cuda)
    assert (device["name"], device["memory_bytes"], device["count"]) == (name, mebibytes << 20, count)
    assert "mig" not in device
    assert [item for _, item, _ in gaps(facts)] == ["capability"]


def test_neither_serial_numbers_nor_the_names_of_processes_are_kept(data):
    """They name a person's machine and what somebody else runs there."""
    kept = str(list(smi_log((data / "accelerators" / "two-a5000.xml").read_bytes(), {})))

    for private in ("0123456789012", "GPU-1234", "llama", "100477"):
        assert private not in kept


def test_two_cards_of_one_name_and_different_capability_or_memory_stay_two(data):
    log = (data / "accelerators" / "two-a5000.xml").read_bytes()
    known = {"00000000:81:00.0": "8.6", "00000000:C1:00.0": "8.9"}

    devices = stack(list(smi_log(log, known)))["devices"]

    assert [(device["capability"], device["count"]) for device in devices] == [("8.6", 1), ("8.9", 1)]


def test_a_driver_that_does_not_know_capabilities_leaves_a_gap_and_not_a_guess(tree_of, smi, data):
    log = (data / "accelerators" / "tesla-t4.xml").read_text()

    facts = list(accelerators(tree_of(DRIVER), smi(log, capabilities=OLD_FIELD, capabilities_status=2)))

    assert stack(facts)["devices"][0]["capability"] == ""
    assert [(kind, item) for kind, item, _ in gaps(facts)] == [("not-recorded", "capability")]


def test_a_warning_around_the_log_does_not_hide_it(data):
    log = (data / "accelerators" / "tesla-t4.xml").read_bytes()
    warning = b"WARNING: infoROM is corrupted at gpu 0000:00:1E.0\n"

    assert stack(list(smi_log(warning + log + warning, {})))["driver"] == "515.105.01"


@pytest.mark.parametrize(("version", "driver"), [(LOADED, "535.54.03"), (OPEN, "580.95.05")])
def test_both_kernel_modules_name_the_driver(tree_of, smi, version, driver):
    tree = tree_of({"/proc/driver/nvidia/version": version})

    assert stack(list(accelerators(tree, smi(NO_DEVICES, 6))))["driver"] == driver


def test_no_devices_were_found_is_a_fact(tree_of, smi):
    """A container that was given none: its process can use none."""
    facts = list(accelerators(tree_of({"/proc/driver/nvidia/version": LOADED}), smi(NO_DEVICES, 6)))

    assert stack(facts) == {"driver": "535.54.03", "devices": []}
    assert gaps(facts) == []


def test_no_devices_were_found_beside_a_device_is_a_gap(tree_of, smi):
    """A card that fell off the bus is not a machine without one."""
    facts = list(accelerators(tree_of(dict(DRIVER, **{"/dev/nvidia0": None})), smi(NO_DEVICES, 6)))

    assert gaps(facts) == [("unread", "devices", "nvidia-smi ended with status 6: No devices were found")]


def test_a_mismatch_of_driver_and_library_names_both(tree_of, smi):
    tree = tree_of(dict(DRIVER, **{"/proc/driver/nvidia/gpus/0000:01:00.0/information": INFORMATION}))

    facts = list(accelerators(tree, smi(MISMATCH, 18)))

    assert stack(facts)["contradictions"] == [
        "the loaded kernel module of the NVIDIA driver is 535.54.03, and the library beside it is 535.86"
    ]
    assert stack(facts)["devices"] == [{"vendor": "nvidia", "name": "NVIDIA A100-SXM4-80GB", "count": 1}]
    ((kind, item, reason),) = gaps(facts)
    assert (kind, item) == ("unread", "devices")
    assert "status 18: Failed to initialize NVML: Driver/library version mismatch" in reason


@pytest.mark.parametrize(
    ("words", "status"),
    [(LOST, 255), (NO_DRIVER, 9), ("Failed to initialize NVML: Unknown Error\n", 255), ("", 1)],
)
def test_what_the_tool_says_when_it_fails_is_the_reason(tree_of, smi, words, status):
    facts = list(accelerators(tree_of(DRIVER), smi(words, status)))

    ((kind, item, reason),) = gaps(facts)
    assert (kind, item) == ("unread", "devices")
    assert reason.startswith(f"nvidia-smi ended with status {status}: ")
    assert (words.split("\n")[0] or "it said nothing")[:60] in reason


def test_a_tool_that_hangs_is_given_up_with_what_it_started(tree_of, smi, tmp_path):
    """A driver in trouble lets `nvidia-smi` hang for ever; a snapshot must not hang with it."""
    folders = smi(before=f"echo $$ >> {tmp_path}/pids; sleep 600 & echo $! >> {tmp_path}/pids; wait")

    facts = list(accelerators(tree_of(DRIVER), folders, limit_s=1.0))

    assert gaps(facts) == [("unread", "devices", "nvidia-smi did not answer within 1 seconds")]
    for pid in (tmp_path / "pids").read_text().split():
        # A process that was killed needs a moment of the processor to end; it would have slept for ten minutes.
        for _ in range(600):
            if has_ended(pid):
                break
            time.sleep(0.1)
        assert has_ended(pid)


def has_ended(pid):
    try:
        return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_tool_that_never_stops_printing_is_bounded(tree_of, smi):
    facts = list(accelerators(tree_of(DRIVER), smi(before="exec yes")))

    assert gaps(facts) == [("unread", "devices", f"nvidia-smi printed more than {SMI_MOST_BYTES} bytes")]


def test_a_tool_that_does_not_start_says_so(tree_of, tmp_path):
    (tmp_path / "nvidia-smi").write_bytes(b"\x7fELF of another machine")
    (tmp_path / "nvidia-smi").chmod(0o755)

    ((kind, _, reason),) = gaps(list(accelerators(tree_of(DRIVER), (str(tmp_path),))))

    assert kind == "unread"
    assert "does not start: Exec format error" in reason


def test_the_tool_is_looked_for_in_the_systems_folders_alone(tree_of, smi, tmp_path, monkeypatch):
    """PATH belongs to the target: a program of its own by that name would run."""
    smi(before=f"touch {tmp_path}/ran")
    monkeypatch.setenv("PATH", str(tmp_path))

    facts = list(accelerators(tree_of(DRIVER), (str(tmp_path / "nowhere"),)))

    assert not (tmp_path / "ran").exists()
    ((kind, item, reason),) = gaps(facts)
    assert (kind, item) == ("unread", "devices")
    assert "no nvidia-smi in" in reason
    assert "`utility`" in reason


def test_the_tool_gets_no_variable_of_ours(tree_of, smi, tmp_path, monkeypatch):
    monkeypatch.setenv("API_TOKEN", "hunter2")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/x")

    list(accelerators(tree_of(DRIVER), smi(NO_DEVICES, 6, before=f"env >> {tmp_path}/env")))

    seen = (tmp_path / "env").read_text()
    assert "hunter2" not in seen
    assert "/opt/x" not in seen
    assert "LC_ALL=C" in seen


def test_a_driver_of_the_host_of_which_a_container_got_nothing(tree_of):
    facts = list(accelerators(tree_of({"/proc/driver/nvidia/version": LOADED}), ("/nowhere",)))

    ((kind, item, reason),) = gaps(facts)
    assert (kind, item) == ("not-recorded", "devices")
    assert "no device is given to this place" in reason


BOMB = """<?xml version="1.0"?>
<!DOCTYPE nvidia_smi_log [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<nvidia_smi_log><driver_version>&b;</driver_version></nvidia_smi_log>"""


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (BOMB, "it declares an entity"),
        ("<html><body>not it</body></html>", "it is not a log of nvidia-smi"),
        ("<nvidia_smi_log>" + "<gpu>" * 40, "it is not a log of nvidia-smi"),
        ("<nvidia_smi_log><gpu>", "no element found"),
        ("", "no element found"),
        ("\x00\xff", "syntax error"),
    ],
)
def test_a_log_that_is_hostile_or_cut_is_refused(tree_of, smi, log, reason):
    with pytest.raises(ValueError, match=reason):
        list(smi_log(log.encode("latin-1"), {}))

    ((kind, item, said),) = gaps(list(accelerators(tree_of(DRIVER), smi(log))))
    assert (kind, item) == ("unread", "devices")
    assert reason in said


def test_the_dtd_that_the_log_names_is_not_fetched(tmp_path):
    """An address in a document is a request that its writer makes us send."""
    (tmp_path / "x.dtd").write_text("<!ENTITY driver '1.0'>")
    log = f'<!DOCTYPE nvidia_smi_log SYSTEM "{tmp_path}/x.dtd"><nvidia_smi_log>'
    log += "<driver_version>&driver;</driver_version></nvidia_smi_log>"

    assert stack(list(smi_log(log.encode(), {}))) == {"devices": []}


@pytest.mark.parametrize("name", ["", "N/A", "Unknown Error", "ERR!"])
def test_a_device_without_a_name_is_a_gap(name):
    log = f'<nvidia_smi_log><gpu id="00000000:01:00.0"><product_name>{name}</product_name></gpu></nvidia_smi_log>'

    facts = list(smi_log(log.encode(), {}))

    assert stack(facts) == {"devices": []}
    ((kind, item, reason),) = gaps(facts)
    assert (kind, item) == ("unread", "devices")
    assert "00000000:01:00.0" in reason


def test_memory_that_is_no_number_is_not_known():
    log = "<nvidia_smi_log><gpu id='1'><product_name>X1</product_name><fb_memory_usage><total>%s</total>"
    log += "</fb_memory_usage></gpu></nvidia_smi_log>"
    for text in ("N/A", "Insufficient Permissions", "9" * 30 + " MiB", "1 GiB", ""):
        assert "memory_bytes" not in stack(list(smi_log((log % text).encode(), {})))["devices"][0]


def test_slices_of_several_sizes_are_listed_the_largest_first():
    one = "<mig_device><fb_memory_usage><total>%s</total></fb_memory_usage></mig_device>"
    mig = "".join(one % size for size in ("4864 MiB", "19968 MiB", "4864 MiB", ""))
    log = (
        "<nvidia_smi_log><gpu id='1'><product_name>X1</product_name><mig_mode><current_mig>Enabled</current_mig>"
        "</mig_mode><mig_devices>%s</mig_devices></gpu></nvidia_smi_log>"
    )

    (cut,) = stack(list(smi_log((log % mig).encode(), {})))["devices"]
    (uncut,) = stack(list(smi_log((log % "None").encode(), {})))["devices"]

    assert cut["mig"] == "1 of 19968 MiB, 2 of 4864 MiB, 1 of unknown size"
    assert uncut["mig"] == "no slices"


NODES = "/sys/class/kfd/kfd/topology/nodes/"
MI350X = {
    "/dev/kfd": None,
    "/sys/module/amdgpu/version": b"6.14.14\n",
    NODES + "0/properties": b"cpu_cores_count 64\nsimd_count 0\nvendor_id 0\ngfx_target_version 0\n",
    NODES + "0/name": b"\n",
}
for _number in (1, 2):
    MI350X[f"{NODES}{_number}/properties"] = (
        b"cpu_cores_count 0\nsimd_count 1024\nvendor_id 4098\ndevice_id 30112\ngfx_target_version 90500\n"
        b"drm_render_minor %d\n" % (127 + _number)
    )
    MI350X[f"{NODES}{_number}/mem_banks/0/properties"] = b"heap_type 1\nsize_in_bytes 309220868096\nflags 0\n"
    MI350X[f"/sys/class/drm/renderD{127 + _number}/device/product_name"] = b"AMD Instinct MI350X\n"


def test_devices_of_amd_are_read_from_the_kernel(tree_of):
    facts = list(accelerators(tree_of(MI350X), ()))

    assert gaps(facts) == []
    assert stack(facts) == {
        "driver": "6.14.14",
        "devices": [
            {
                "vendor": "amd",
                "name": "AMD Instinct MI350X",
                "capability": "gfx950",
                "memory_bytes": 309220868096,
                "count": 2,
            }
        ],
    }


@pytest.mark.parametrize(("packed", "isa"), [(b"90010", "gfx90a"), (b"110501", "gfx1151"), (b"90402", "gfx942")])
def test_the_last_digit_of_an_isa_is_hexadecimal(tree_of, packed, isa):
    """`rocm examine` once named another card for it (ROCm/rocm-cli#343)."""
    node = b"vendor_id 4098\ngfx_target_version %s\n" % packed

    facts = list(accelerators(tree_of({"/dev/kfd": None, NODES + "1/properties": node}), ()))

    assert [(device["name"], device["capability"]) for device in stack(facts)["devices"]] == [(isa, isa)]
    assert [item for _, item, _ in gaps(facts)] == ["driver"]


def test_devices_of_amd_that_this_place_may_not_use_are_not_its_devices(tree_of):
    files = {path: content for path, content in MI350X.items() if path != "/dev/kfd"}

    assert stack(list(accelerators(tree_of(files), ()))) == {}


def test_graphics_of_the_processor_do_not_take_the_place_of_the_cards_driver(tree_of, smi, data):
    log = (data / "accelerators" / "a100-mig.xml").read_text()

    facts = list(accelerators(tree_of(dict(MI350X, **DRIVER)), smi(log)))

    assert stack(facts)["driver"] == "535.54.03"
    assert stack(facts)["runtimes"] == [["amdgpu", "6.14.14"]]
    assert {device["vendor"] for device in stack(facts)["devices"]} == {"nvidia", "amd"}


def test_an_accelerator_that_nobody_reads_yet_is_named(tree_of):
    ((kind, item, reason),) = gaps(list(accelerators(tree_of({"/dev/neuron0": None}), ())))

    assert (kind, item) == ("not-recorded", "devices")
    assert "AWS Neuron" in reason


def test_this_machine_is_read_without_a_fault():
    facts = list(accelerators(LocalTree()))

    assert facts[0] == {"kind": "section", "section": "accelerators"}


def test_a_python_without_an_xml_parser_says_so(tree_of, smi, data, monkeypatch):
    """Debian's python3-minimal has none."""
    import xml.parsers.expat

    monkeypatch.setitem(sys.modules, "xml.parsers.expat", None)
    monkeypatch.delattr(xml.parsers, "expat")
    log = (data / "accelerators" / "tesla-t4.xml").read_text()

    ((kind, item, reason),) = gaps(list(accelerators(tree_of(DRIVER), smi(log))))

    assert (kind, item) == ("unread", "devices")
    assert "could not be read: " in reason
    assert "expat" in reason
