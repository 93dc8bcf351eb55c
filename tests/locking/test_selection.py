"""What of a training environment an image sets too."""

from __future__ import annotations

import msgspec
import pytest

from envparity.locking import declared, selection
from envparity.values import Change, Difference, Settings, Variable
from tests.values import a_lock, training


def settings_of(time_zone: str, packages: tuple[str, ...] = (), **variables: str) -> list[tuple[str, str]]:
    environment = training(settings=Settings(variables=tuple(Variable(*pair) for pair in variables.items())))
    assert environment.system is not None
    system = msgspec.structs.replace(environment.system, time_zone=time_zone)
    found = selection.settings(msgspec.structs.replace(environment, system=system), packages)
    return [(item.name, item.value) for item in found]


@pytest.mark.parametrize(
    ("time_zone", "variables", "zone"),
    [
        ("Europe/Berlin", {}, "Europe/Berlin"),  # of /etc/localtime
        ("Europe/Berlin", {"TZ": "Europe/Berlin"}, "Europe/Berlin"),
        ("UTC", {"TZ": "UTC"}, "UTC"),
        ("CET-1CEST,M3.5.0,M10.5.0/3", {"TZ": "CET-1CEST,M3.5.0,M10.5.0/3"}, "CET-1CEST,M3.5.0,M10.5.0/3"),
        ("Asia/Tokyo", {"TZ": "/home/ada/zone"}, "Asia/Tokyo"),
    ],
)
def test_a_time_without_a_zone_means_the_moment_that_it_meant_in_training(
    time_zone: str, variables: dict[str, str], zone: str
) -> None:
    assert settings_of(time_zone, **variables) == [("TZ", zone)]


def test_utc_is_what_an_image_has_anyway() -> None:
    assert settings_of("UTC") == settings_of("") == settings_of("/home/ada/zone") == []


def test_threads_and_a_locale_that_every_base_has_are_set() -> None:
    found = settings_of("UTC", OMP_NUM_THREADS="2", LC_ALL="de_DE.UTF-8", LANG="C.UTF-8", MKL_PATH="/home/ada")

    assert found == [("LANG", "C.UTF-8"), ("OMP_NUM_THREADS", "2")]


def test_another_locale_is_set_where_the_image_has_its_tables() -> None:
    """Without them the C library takes `C` and says nothing, and the image would say that it has what it has not."""
    assert settings_of("UTC", LC_ALL="de_DE.UTF-8") == []
    assert settings_of("UTC", ("libc6", "locales-all"), LC_ALL="de_DE.UTF-8") == [("LC_ALL", "de_DE.UTF-8")]


def test_a_zone_that_the_lock_sets_is_no_setting_that_training_lacked() -> None:
    """Which zone it gives is compared all the same, as a fact of the system."""
    added = Difference(section="settings", item="TZ", field="value", change=Change.ADDED, after="Europe/Berlin")
    zone = Difference(
        section="system", item="system", field="time_zone", change=Change.CHANGED, before="UTC", after="Europe/Berlin"
    )
    lock = a_lock(settings=(Variable("TZ", "Europe/Berlin"),))

    kept, said = declared.undeclared((added, zone), lock, {}, ())

    assert kept == (zone,)
    assert said == ["set by the lock: TZ"]
    assert declared.undeclared((added,), a_lock(), {}, ())[0] == (added,)
