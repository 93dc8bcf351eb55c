"""States: worst first, and what is below the required one is refused at once."""

from __future__ import annotations

import msgspec
import pytest

from envparity.errors import RefusedError
from envparity.resolvers import states
from envparity.resolvers.index import Problem
from envparity.values import STATES, LockedDistribution, Proof
from tests.values import a_lock


def in_state(name: str, state: str) -> LockedDistribution:
    (wheel,) = a_lock().distributions
    return msgspec.structs.replace(wheel, name=name, state=state)


def test_a_lock_tells_its_states_worst_first() -> None:
    """Whoever reads one line must have seen the worst; a state of a later version is never taken for a good one."""
    names = {state: f"a-{number}" for number, state in enumerate(reversed((*STATES, "of-a-later-version")))}
    locked = [in_state(name, state) for state, name in names.items()]

    assert [item.state for item in states.proofs(locked)] == ["of-a-later-version", *STATES]


@pytest.mark.parametrize(
    ("least", "refused_states"),
    [
        ("", ()),
        ("matched", ("later", *STATES[: STATES.index("matched")])),
        ("proven", ("later", *STATES[: STATES.index("proven")])),
    ],
)
def test_what_is_below_the_required_state_is_refused_all_at_once(least: str, refused_states: tuple[str, ...]) -> None:
    proofs = tuple(Proof(name=state, version="1", state=state) for state in ("later", *STATES))

    if not least:
        return states.require(proofs, least)
    with pytest.raises(RefusedError) as caught:
        states.require(proofs, least)
    assert [line.partition(" ")[0] for line in caught.value.details] == list(refused_states)
    return None


def test_of_two_things_that_are_said_of_one_name_the_worse_counts() -> None:
    """A file that was changed is no better for a wheel that is on the index."""
    changed = Problem("demo", "1.0", "1 of its files was changed", "install it again", "modified")

    for found in ([changed, in_state("demo", "proven")], [in_state("demo", "proven"), changed]):
        (proof,) = states.proofs(found)
        assert proof.state == "modified"
