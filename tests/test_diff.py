"""Comparison and judgement in one value, and the exit status that it stands for."""

from __future__ import annotations

import pytest

from envparity.diff import between
from envparity.errors import IncompleteError
from envparity.values import Distribution, Environment, Gap, GapKind, Origin, Python, Severity, System


def environment(version: str, *gaps: Gap) -> Environment:
    return Environment(
        origin=Origin(kind="venv", reference=f"venv:{version}"),
        python=Python(version="3.11.7"),
        distributions=(Distribution(name="scikit-learn", version=version),),
        gaps=gaps,
    )


UNREAD = Gap(section="settings", kind=GapKind.UNREAD, reason="permission denied")
NOT_RECORDED = Gap(section="cpu", kind=GapKind.NOT_RECORDED, reason="an image cannot carry it")


def test_an_environment_against_itself_passes() -> None:
    report = between(environment("1.4.2"), environment("1.4.2"))

    assert (report.findings, report.status, report.compared) == ((), 0, 2)
    assert report.before_digest == report.after_digest


def test_a_finding_at_the_limit_fails() -> None:
    before, after = environment("1.4.2"), environment("1.5.2")

    assert between(before, after).status == 1
    assert between(before, after, fail_on=Severity.CRITICAL).status == 0


def test_a_side_that_could_not_be_read_is_never_a_pass() -> None:
    whole, part = environment("1.4.2"), environment("1.4.2", UNREAD)

    assert between(whole, part).status == 3
    assert between(part, whole).status == 3
    assert between(part, part).status == 3
    assert not between(whole, part).complete
    assert between(whole, part, allow_incomplete=True).status == 0


def test_a_finding_is_worse_than_an_unread_part() -> None:
    assert between(environment("1.4.2"), environment("1.5.2", UNREAD)).status == 1


def test_what_a_source_cannot_record_fails_only_when_strict() -> None:
    before, after = environment("1.4.2"), environment("1.4.2", NOT_RECORDED)

    assert between(before, after).status == 0
    assert between(before, after, strict=True).status == 3


def test_a_fact_of_one_side_only_fails_only_when_strict() -> None:
    before = environment("1.4.2")
    after = Environment(origin=Origin(kind="oci"), distributions=before.distributions)

    assert between(before, after).status == 0
    assert between(before, after, strict=True).status == 3


def test_nothing_compared_is_an_error_and_not_a_pass() -> None:
    empty = Environment(origin=Origin(kind="requirements", reference="empty.txt"), gaps=(UNREAD,))

    with pytest.raises(IncompleteError, match=r"nothing to compare between venv:1\.4\.2 and empty\.txt") as caught:
        between(environment("1.4.2"), empty)

    assert caught.value.details == ("empty.txt: settings: permission denied",)


def test_an_image_without_a_python_is_no_parity_with_a_training_environment() -> None:
    """A tag that was overwritten by another image must not pass since nothing of it could be compared."""
    system = System(os="linux", id="debian", version_id="12")
    before = Environment(
        origin=Origin(kind="live"), system=system, distributions=(Distribution(name="numpy", version="1.26.4"),)
    )
    image = Environment(origin=Origin(kind="image", reference="docker:bare:1"), system=system)

    report = between(before, image)

    assert report.status == 3
    assert "no Python" in " ".join(report.blocked)
    assert between(before, image, allow_incomplete=True).status == 0
