"""Which channel of a conda environment comes first, as its history and its own settings say it."""

import json

import pytest

from envparity.collectors.conda import conda_packages
from envparity.collectors.conda_channels import channels_in_order, settings_of
from envparity.collectors.tree import LocalTree

META = "/opt/conda/envs/m/conda-meta/"


def facts_of(tree):
    return list(conda_packages(tree, ["/opt/conda/envs/m"]))


def named(facts):
    return [fact["channels"] for fact in facts if fact["kind"] == "origin"]


def command(words):
    return f"==> 2025-03-01 10:00:00 <==\n# cmd: {words}\n# conda version: 24.9.2\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("conda create -n m -c conda-forge -c defaults python", ["conda-forge", "defaults"]),
        ("mamba install --channel=nvidia,pytorch --channel conda-forge x", ["nvidia", "pytorch", "conda-forge"]),
        ("conda install -cbioconda x -c=pytorch/label/dev", ["bioconda", "pytorch/label/dev"]),
        (
            "conda install -c https://conda.example/main/ -c /mnt/channel x",
            ["https://conda.example/main", "/mnt/channel"],
        ),
        ("conda install -c ./built -c ../x -c 'a b' x", []),
        ("conda env create -f environment.yml", []),
        ("conda install x -c", []),
    ],
)
def test_a_command_says_its_channels_in_the_order_in_which_they_counted(words, expected):
    """A folder that is relative to where somebody stood says nothing to anybody else."""
    assert channels_in_order(command(words), []) == expected


@pytest.mark.parametrize(
    "text",
    [
        "channels:\n  - conda-forge\n  - defaults\n",
        "# ours\nshow_channel_urls: yes\nchannels:\n- conda-forge  # first\n\n# then\n- 'defaults'\nx: 1\n",
        'channels: [conda-forge, "defaults"]\r\n',
        "channels: [\n  conda-forge,\n  defaults,\n]\n",
        "channel:\n    - conda-forge\n    - defaults",
    ],
)
def test_settings_say_their_channels_in_either_form_of_a_list(text):
    assert channels_in_order("", [text]) == ["conda-forge", "defaults"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "channels:",
        "channels: [conda-forge",
        "channels: {a: b}",
        "default_channels:\n  - x\n",
        "\0\xff",
        "  channels:\n    - x",
    ],
)
def test_settings_that_name_no_channel_name_none(text):
    assert channels_in_order("", [text]) == []


def test_a_command_outranks_settings_and_a_later_one_what_came_before(tree_of):
    """So it was for conda when it chose the packages: `-c` goes before what is configured."""
    history = command("conda create -c conda-forge python") + command("conda install -c pytorch -c conda-forge pytorch")
    tree = tree_of(
        {
            META + "history": history.encode(),
            "/opt/conda/envs/m/.condarc": b"channels: [bioconda, defaults]",
            "/opt/conda/envs/m/condarc": b"channels: [nvidia]",
            "/opt/conda/.condarc": b"channels: [of-the-installation]",
            "/root/.condarc": b"channels: [of-a-user]",
        }
    )

    assert named(facts_of(tree)) == [
        ["pytorch", "conda-forge", "nvidia", "bioconda", "defaults", "of-the-installation"]
    ]


def test_the_settings_of_an_installation_count_for_what_lies_in_its_folder_of_environments():
    assert settings_of("/opt/conda/envs/m") == [
        "/opt/conda/envs/m/condarc",
        "/opt/conda/envs/m/.condarc",
        "/opt/conda/condarc",
        "/opt/conda/.condarc",
    ]
    assert settings_of("/opt/conda/") == ["/opt/conda/condarc", "/opt/conda/.condarc"]
    assert settings_of("/envs/m") == ["/envs/m/condarc", "/envs/m/.condarc"]


def test_where_nothing_says_an_order_nothing_is_said(tree_of):
    assert named(facts_of(tree_of({META + "history": b"# update specs: ['numpy']\n"}))) == []


@pytest.mark.parametrize(
    ("channel", "recorded"),
    [
        ("https://ada:canary@conda.example/main", ["https://conda.example/main"]),
        ("https://conda.example/t/tk-canary/main", ["https://conda.example/t/***/main"]),
        ("t/tk-canary/main", ["t/***/main"]),
        ("https://conda.example/main?token=canary", []),
        ("https://ada:can/ary@conda.example/canary", []),
        ("https://conda.example/t/${TOKEN}/main", ["https://conda.example/t/${TOKEN}/main"]),
        ("ada:canary@conda.example/main", []),
        ("t/tk-canary", []),
    ],
)
def test_no_login_of_a_channel_is_read_on(tree_of, channel, recorded):
    """Snapshots are handed around, and a condarc is where tokens lie."""
    for files in (
        {META + "history": command(f"conda create -c {channel} x").encode()},
        {META + "history": b"", "/opt/conda/envs/m/.condarc": f"channels:\n  - {channel}\n".encode()},
        {META + "history": b"", "/opt/conda/envs/m/.condarc": f"channels: [{channel}]\n".encode()},
    ):
        facts = facts_of(tree_of(files))

        assert "canary" not in json.dumps(facts)
        assert named(facts) == ([recorded] if recorded else [])


def test_settings_that_cannot_be_read_are_told_and_the_packages_are_whole_all_the_same(tmp_path):
    (tmp_path / "conda-meta").mkdir()
    with (tmp_path / ".condarc").open("wb") as file:
        file.truncate(2 << 20)

    facts = list(conda_packages(LocalTree(), [str(tmp_path)]))

    (gap,) = [fact for fact in facts if fact["kind"] == "gap"]
    assert (gap["gap"], gap["item"]) == ("not-recorded", str(tmp_path / ".condarc"))
    assert "larger than" in gap["reason"]
