"""What of the environment variables is recorded, and what of an address."""

import pytest

from envparity.collectors.urls import public_url
from envparity.collectors.variables import is_listed, settings

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "canary",
    "NVIDIA_API_KEY": "canary",
    "TF_VAR_db_password": "canary",
    "TF_TOKEN_app_terraform_io": "canary",
    "HF_TOKEN": "canary",
    "CUDA_DOWNLOAD_TOKEN": "canary",
    "OMP_PASSWORD": "canary",
    "PYTHON_KEYRING_BACKEND": "canary",
    "PYTHON_GITHUB_TOKEN": "canary",
    "MKL_LICENSE": "https://user:canary@host/license",
    "XLA_FLAGS": "--a https://canary@host/x --b",
    "KMP_AFFINITY": "x" * 5000 + "canary",
    "lower_secret": "canary",
}


def test_no_secret_reaches_the_record():
    assert "canary" not in repr(settings(SECRETS))


def test_listed_variables_have_their_values_and_all_others_their_names():
    fact = settings({"OMP_NUM_THREADS": "2", "LANG": "C.UTF-8", "HOME": "/root", "PYTHONPATH": "/app", "USER": "x"})

    assert fact == {
        "kind": "settings",
        "variables": [
            {"name": "LANG", "value": "C.UTF-8"},
            {"name": "OMP_NUM_THREADS", "value": "2"},
            {"name": "PYTHONPATH", "value": "/app"},
        ],
        "names_only": ["HOME", "USER"],
    }


def test_what_changes_numbers_is_on_the_list():
    for name in ("OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES", "MKL_CBWR", "TF_ENABLE_ONEDNN_OPTS", "TZ", "LC_ALL",
                 "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "PYTHONHASHSEED", "LD_LIBRARY_PATH",
                 "LD_AUDIT", "NCCL_ALGO", "MIOPEN_FIND_MODE", "ROCBLAS_INTERNAL_FP16_ALT_IMPL"):  # fmt: skip
        assert is_listed(name), name


@pytest.mark.parametrize(
    ("url", "public"),
    [
        ("https://user:pass@host/x", "https://host/x"),
        ("https://token@host:8080/x?y", "https://host:8080/x?y"),
        ("https://a@b:c@host/x", "https://host/x"),
        ("ssh://git@host/x.git", "ssh://git@host/x.git"),
        ("ssh://git:pass@host/x.git", "ssh://host/x.git"),
        ("git+https://tok@host/x.git@main#egg=x", "git+https://host/x.git@main#egg=x"),
        ("https://${USER}:${TOKEN}@host/x", "https://${USER}:${TOKEN}@host/x"),
        ("https://${USER}:real@host/x", "https://host/x"),
        ("https://host/x?X-Amz-Signature=abc&ref=main", "https://host/x?X-Amz-Signature=***&ref=main"),
        ("https://host/x?sig=${SIG}", "https://host/x?sig=${SIG}"),
        ("https://host/x?averylongopaquetokenhere", "https://host/x?***"),
        ("https://host/x#access_token=abc", "https://host/x#access_token=***"),
        ("https://conda.host/t/tk-123/channel", "https://conda.host/t/***/channel"),
        ("https://conda.host/t/tk-123/channel/noarch/tk-1.conda", "https://conda.host/t/***/channel/noarch/tk-1.conda"),
        ("https://host/t/tk-123/x.deb", "https://host/t/***/x.deb"),
        ("https://host/pool/main/t/tcl8.6/libtcl_8.deb", "https://host/pool/main/t/tcl8.6/libtcl_8.deb"),
        ("https://host/source/t/tqdm/tqdm-4.0.zip", "https://host/source/t/tqdm/tqdm-4.0.zip"),
        ("https://host?token=a@b", "https://host?token=***"),
        ("https://user:pa/ss@host/x", "https://***"),
        ("https://[::1]:80/x", "https://[::1]:80/x"),
        ("https://proxy/https://user:pass@host", "https://proxy/***"),
        ("https://a@b,https://user:pass@host", "https://***"),
        ("https://user:1,2@host/x", "https://***"),
        ("file:///src/x", "file:///src/x"),
        ("no address: at all", "no address: at all"),
    ],
)
def test_an_address_loses_what_may_be_a_secret(url, public):
    assert public_url(url) == public
