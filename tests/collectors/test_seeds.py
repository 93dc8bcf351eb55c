"""The random generators of a process: seeds where a library keeps one, else the digest of a state."""

from __future__ import annotations

import random
import sys
import types

from envparity.collectors.seeds import seeds


def package(name, **contents):
    made = types.ModuleType(name)
    vars(made).update(contents)
    return made


def told(modules):
    *gaps, numerics = seeds(modules)
    return {item["name"]: item["value"] for item in numerics["seeds"]}, gaps


def test_equal_states_have_equal_digests_and_one_draw_makes_another():
    """Two trainings that end in one state have drawn the same numbers; this is how one sees it."""
    kept = random.getstate()
    try:
        random.seed(7)
        first, _ = told({"random": random})
        random.seed(7)
        again, _ = told({"random": random})
        random.random()
        further, _ = told({"random": random})
    finally:
        random.setstate(kept)

    assert first == again != further
    assert first["python.random"].startswith("sha256:")
    assert len(first["python.random"]) == len("sha256:") + 64


def test_to_look_draws_no_number():
    kept = random.getstate()

    told(sys.modules)

    assert random.getstate() == kept


class Array:
    """An array as far as its bytes go."""

    def __init__(self, data):
        self.data = data

    def tobytes(self):
        return self.data


class Generator:
    def __init__(self, data, position):
        self.state = {"bit_generator": "MT19937", "state": {"key": Array(data), "pos": position}, "has_gauss": 0}

    def get_state(self, legacy):
        assert legacy is False
        return self.state


def test_every_part_of_a_state_is_in_its_digest():
    """numpy's, of which the position says how many numbers of a block are used up."""
    digests = {
        told({"numpy.random.mtrand": package("mtrand", _rand=Generator(data, position))})[0]["numpy.random"]
        for data, position in ((b"one", 1), (b"one", 2), (b"two", 1))
    }

    assert len(digests) == 3


def test_a_seed_that_a_library_keeps_is_told_as_it_is():
    context = package("context", _context=object(), global_seed=lambda: 42)
    tracker = types.SimpleNamespace(global_random_seed=43)
    modules = {
        "torch": package("torch", initial_seed=lambda: 41),
        "tensorflow.python.eager.context": context,
        "keras.src.backend.common.global_state": package("global_state", GLOBAL_STATE_TRACKER=tracker),
    }

    assert told(modules) == (
        {"torch.initial_seed": "41", "tensorflow.global_seed": "42", "keras.global_seed": "43"},
        [],
    )


def test_what_nobody_seeded_is_not_told_and_no_context_of_tensorflow_is_made():
    def made():
        raise AssertionError("to ask would make one")

    modules = {
        "tensorflow.python.eager.context": package("context", _context=None, global_seed=made),
        "keras.src.backend.common.global_state": package("state", GLOBAL_STATE_TRACKER=types.SimpleNamespace()),
    }

    assert told(modules) == ({}, [])


def test_a_generator_that_fails_leaves_the_snapshot_complete():
    """No prediction is made from it, so that it is not worth the exit status of an unread fact."""
    found, gaps = told({"torch": package("torch"), "random": random, "numpy.random.mtrand": object()})

    assert found.keys() == {"python.random"}
    assert [(gap["gap"], gap["section"], gap["item"]) for gap in gaps] == [
        ("not-recorded", "numerics", "torch.initial_seed")
    ]
