"""`environment.yml`: what a loader of YAML makes of it, and that no text breaks out of its quotes."""

from __future__ import annotations

import pytest
import yaml

from envparity.sources import Options, read
from envparity.values import Variable
from envparity.writers.environment_yml import environment
from tests.values import SOME_SHA256
from tests.writers.samples import contents, pinned


def test_python_comes_from_conda_and_every_wheel_from_pip_with_its_hash() -> None:
    exported = environment(contents(pinned("demo"), pinned("helper", url=""), name="prod"))

    assert yaml.safe_load(exported.text) == {
        "name": "prod",
        "channels": ["conda-forge", "nodefaults"],
        "dependencies": [
            "python==3.11.7",
            "pip",
            {
                "pip": [
                    f"demo==1.0 --hash=sha256:{SOME_SHA256}",
                    f"./pylock.artifacts/helper-1.0-py3-none-any.whl --hash=sha256:{SOME_SHA256}",
                ]
            },
        ],
        "variables": {"OMP_NUM_THREADS": "2"},
    }
    assert exported.left_out == (
        "Python 3.11.7 (./pylock.artifacts/cpython-3.11.7.tar.gz)",
        "1 OS package of debian:bookworm",
        "1 model",
    )


def test_a_lock_without_distributions_and_settings_has_no_empty_tables() -> None:
    """conda refuses a `pip:` of nothing."""
    text = environment(contents(lock={"distributions": (), "settings": ()})).text

    assert yaml.safe_load(text)["dependencies"] == ["python==3.11.7", "pip"]
    assert "variables" not in text


@pytest.mark.parametrize(
    "value",
    ["no", "3.10", 'a"b\\c', "x\nchannels: [evil]", "# no comment", "a\x85b\u2028c", "größer \N{ROCKET}", "\x7f\t", ""],
)
def test_every_value_of_a_setting_is_read_as_the_text_that_it_is(value: str) -> None:
    given = contents(lock={"settings": (Variable("NAME: x", value),)})

    assert yaml.safe_load(environment(given).text)["variables"] == {"NAME: x": value}


def test_the_name_has_no_character_that_conda_refuses() -> None:
    assert yaml.safe_load(environment(contents(name="my team#1:2")).text)["name"] == "my-team-1-2"


def test_our_own_reader_finds_the_pins_in_it(tmp_path) -> None:
    (tmp_path / "environment.yml").write_text(environment(contents(pinned("demo"), pinned("helper", "2.0"))).text)

    found = read("environment.yml", options=Options(base_dir=tmp_path))

    pins = {item.name: (item.specifier or item.version, item.hashes) for item in found.distributions or ()}
    assert pins == {
        "demo": ("1.0", (f"sha256:{SOME_SHA256}",)),
        "helper": ("2.0", (f"sha256:{SOME_SHA256}",)),
    }
    assert found.python is not None
