"""The plan of an image, as a person and a program read it."""

from __future__ import annotations

import json

import msgspec
import pytest

from envparity.report import plan
from envparity.report.text import Style, cells
from envparity.values import LayerTold, PlanTold, Step
from tests.report.hostile import ATTACKS


def told(title: str = "model.joblib") -> PlanTold:
    return PlanTold(
        platform="linux/amd64",
        layers=(
            LayerTold(step=Step.BASE, title="debian:bookworm", why="changes least", holds=("a 1", "b 2")),
            LayerTold(
                step=Step.MODEL, title=title, why="this image alone", unpacked_bytes=10**7, packed_bytes=9 * 10**6
            ),
        ),
        most_layers=24,
        unserved=(("tests", 5 * 10**7), ("docs", 0), ("static", 10**6)),
        unseen=3,
        strip=("static",),
        conda_unseen=1,
    )


def test_a_plan_says_what_is_not_known() -> None:
    lines = plan.text(told()).splitlines()

    assert lines[1].split() == ["base", "debian:bookworm", "?", "?", "changes", "least"]
    assert lines[2].split() == ["model", "model.joblib", "10.0", "~9.0", "this", "image", "alone"]
    assert "at least 10.0 MB unpacked" in " ".join(lines)
    assert "Left out of the wheels: 1.0 MB of static libraries" in " ".join(lines)
    assert "50.0 MB of tests, 0.0 MB of docs; `--strip tests` leaves it out, with its byte code." in " ".join(lines)
    assert "3 wheels are not in the cache" in " ".join(lines)
    assert "1 conda package is not in the cache, and was not looked into." in " ".join(lines)
    assert "serves by" not in " ".join(lines)
    assert "a 1, b 2" in plan.text(told(), verbose=True)


def test_a_plan_says_by_whose_word_an_image_serves() -> None:
    served = msgspec.structs.replace(told(), serve="fastapi", by_lock=True)

    of_lock = " ".join(plan.text(served).split())
    of_builder = " ".join(plan.text(msgspec.structs.replace(served, by_lock=False)).split())

    assert "serves by fastapi, as the lock was made for; `--serve none` leaves it out." in of_lock
    assert "serves by fastapi, as --serve says." in of_builder
    assert json.loads(plan.json(served))["serve"] == "fastapi"


@pytest.mark.parametrize("attack", ATTACKS, ids=range(len(ATTACKS)))
def test_the_name_of_a_model_is_data_and_no_line_is_wider_than_the_place(attack: str) -> None:
    lines = plan.text(told(attack), Style(width=80), verbose=True).split("\n")

    assert all(line.isprintable() and cells(line) <= 80 for line in lines)
    assert json.loads(plan.json(told(attack)))["layers"][1]["unpacked_bytes"] == 10**7
