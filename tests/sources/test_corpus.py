"""Files that tools wrote: each is read with the counts of somebody who counted by other means, or refused by name."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from envparity.errors import EnvparityError, ExitStatus
from envparity.sources import Options, read
from envparity.values import Environment
from tests.corpus import EXPECTED, FILES, FOLDER, SECTIONS, SOURCES, Expected

MAY_BE_COPIED = {"Apache-2.0", "MIT", "BSD-3-Clause", "Apache-2.0 OR MIT"}


def options_of(target: str) -> Options:
    """The options of a target that is written as on the command line."""
    words = target.split()
    stated = dict(zip(words[::2], words[1::2], strict=True))
    return Options(
        base_dir=FOLDER,
        platform=stated.get("--platform", ""),
        python_version=stated.get("--python-version", ""),
        extras=(stated["--extra"],) if "--extra" in stated else None,
        groups=(stated["--group"],) if "--group" in stated else None,
    )


def versions(environment: Environment) -> set[str]:
    """Everything in an Environment that has a name, as `name=version`; a range has no version."""
    packages = [item for section in SECTIONS.values() for item in getattr(environment, section) or ()]
    return {f"{item.name}={item.version}" for item in packages}


@pytest.mark.parametrize("case", EXPECTED, ids=lambda case: f"{case.file} {case.target}".strip())
def test_a_file_is_read_with_the_counts_of_somebody_else_or_refused_by_name(case: Expected) -> None:
    """A reader that loses a package in a hundred gives a diff that sends somebody to look for it."""
    if case.refused:
        with pytest.raises(EnvparityError) as caught:
            read(case.file, options=options_of(case.target))
        assert caught.value.status in {ExitStatus.USAGE, ExitStatus.MALFORMED}
        assert case.refused in str(caught.value)
        assert caught.value.hint
        return

    environment = read(case.file, options=options_of(case.target))

    counts = {column: getattr(environment, section) for column, section in SECTIONS.items()}
    assert {column: "-" if items is None else str(len(items)) for column, items in counts.items()} == {
        column: getattr(case, column) for column in SECTIONS
    }
    assert set(case.spots.split()) <= versions(environment)
    assert environment.complete


def test_every_file_is_expected_and_has_two_spots_where_it_has_two_things() -> None:
    """Nothing that lies there is without a claim about it."""
    assert {case.file for case in EXPECTED} | {"cog/with-requirements/requirements.txt"} == set(FILES)
    for case in EXPECTED:
        listed = sum(int(count) for count in case[2:5] if count.isdecimal())
        if listed > 1 and not case.file.startswith("environment-yml/pangeo-data"):  # a file of ranges
            assert len(case.spots.split()) == 2, case


def test_every_file_may_be_copied_and_is_as_it_was() -> None:
    """An editor that mends a line end mends the trap with it."""
    digests = {file: hashlib.sha256((FOLDER / file).read_bytes()).hexdigest() for file in FILES}

    assert digests == {file: sha256 for file, (_, sha256) in SOURCES.items()}
    assert {licence for licence, _ in SOURCES.values()} <= MAY_BE_COPIED


def test_the_corpus_stays_small_enough_to_be_cloned() -> None:
    assert sum(Path(FOLDER, file).stat().st_size for file in FILES) <= 1_500_000
