"""GPU libraries in the system's own folders, of a live place or of an image."""

import pytest

from envparity.collectors.toolkits import of_image, toolkits

VERSION_JSON = b"""{
   "cuda" : {
      "name" : "CUDA SDK",
      "version" : "12.4.1"
   },
   "cuda_cudart" : {
      "name" : "CUDA Runtime (cudart)",
      "version" : "12.4.127"
   }
}"""


def runtimes(tree):
    return [tuple(pair) for fact in toolkits(tree) for pair in fact.get("runtimes", ())]


def test_a_toolkit_is_read_through_the_links_that_lead_to_it(tree_of):
    """`/usr/local/cuda` leads to `/etc/alternatives/cuda`, and that to the folder with the version."""
    tree = tree_of(
        {
            "/usr/local/cuda": "/etc/alternatives/cuda",
            "/etc/alternatives/cuda": "/usr/local/cuda-12.4",
            "/usr/local/cuda-12": "/usr/local/cuda-12.4",
            "/usr/local/cuda-12.4/version.json": VERSION_JSON,
            "/usr/local/cuda-12.4/compat/libcuda.so.1": "libcuda.so.550.54.15",
            "/usr/local/cuda-12.4/compat/libcuda.so.550.54.15": b"\x7fELF",
            "/usr/local/cuda-11.8/version.json": b'{"cuda": {"version": "11.8.0"}}',
            "/usr/local/cuda-10.2/version.txt": b"CUDA Version 10.2.89\n",
        }
    )

    assert runtimes(tree) == [
        ("cuda", "10.2.89"),
        ("cuda", "11.8.0"),
        ("cuda", "12.4.127"),
        ("cuda-compat", "550.54.15"),
    ]


def test_a_library_has_the_version_that_its_link_names(tree_of):
    folder = "/usr/lib/x86_64-linux-gnu/"
    tree = tree_of(
        {
            folder + "libcudnn.so.9": "libcudnn.so.9.1.0",
            folder + "libcudnn.so.9.1.0": b"\x7fELF",
            folder + "libcudnn.so.8": "/etc/alternatives/libcudnn_so",
            "/etc/alternatives/libcudnn_so": folder + "libcudnn.so.8.9.7",
            folder + "libcudnn.so.8.9.7": b"\x7fELF",
            folder + "libnccl.so.2": "libnccl.so.2.21.5",
            folder + "libnccl.so.2.21.5": b"\x7fELF",
            folder + "libcublas.so.12": b"\x7fELF a file that does not say its version",
            folder + "libcudart.so.12": "gone.so.12.4.127",
        }
    )

    assert runtimes(tree) == [("cudnn", "8.9.7"), ("cudnn", "9.1.0"), ("nccl", "2.21.5")]


def test_rocm_is_read_from_its_own_file(tree_of):
    assert runtimes(tree_of({"/opt/rocm/.info/version": b"6.2.4-109\n"})) == [("rocm", "6.2.4")]


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{", b'{"cuda": 1}', b'{"cuda": {"version": 12}}', b"[" * 100000, b'{"cuda":{"version":"?"}}'],
)
def test_a_version_file_that_says_nothing_is_passed_over(tree_of, content):
    tree = tree_of({"/usr/local/cuda/version.json": content, "/usr/local/cuda/version.txt": b"\xff"})

    assert runtimes(tree) == []


def test_an_image_has_no_driver_and_no_devices_and_says_so(tree_of):
    facts = list(of_image(tree_of({"/usr/local/cuda/version.json": VERSION_JSON})))

    assert facts[0] == {"kind": "section", "section": "accelerators"}
    assert facts[1] == {"kind": "accelerators", "runtimes": [["cuda", "12.4.127"]]}
    assert [(fact["gap"], fact["item"]) for fact in facts[2:]] == [
        ("not-recorded", "driver"),
        ("not-recorded", "devices"),
    ]
