"""One tree of errors: every class has its own code, and the strongest of several statuses wins."""

from __future__ import annotations

from envparity import errors
from envparity.errors import EnvparityError, ExitStatus, worst


def _tree(root: type[EnvparityError]) -> list[type[EnvparityError]]:
    return [root, *(found for child in root.__subclasses__() for found in _tree(child))]


def test_every_class_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in _tree(EnvparityError)]

    assert len(set(codes)) == len(codes)


def test_all_of_them_live_in_one_file() -> None:
    assert {kind.__module__ for kind in _tree(EnvparityError)} == {errors.__name__}


def test_the_strongest_of_several_statuses_wins() -> None:
    assert worst(1, 3, 5, 4) is ExitStatus.INTEGRITY
    assert worst(1, 3, 4) is ExitStatus.MALFORMED
    assert worst(3, 1) is ExitStatus.FINDINGS
    assert worst(0, 3) is ExitStatus.UNFINISHED
    assert worst() is ExitStatus.OK


def test_the_place_grows_while_an_error_unwinds() -> None:
    error = EnvparityError("expected a string", where="size").inside("wheels[0]").inside("packages[3]")

    assert str(error) == "expected a string (at packages[3].wheels[0].size)"
