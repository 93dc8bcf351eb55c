"""The seeds of the random generators that a process shares, or the digest of their state where no seed is kept."""

from __future__ import annotations

import hashlib
from types import ModuleType
from typing import Any, Callable, Iterator, Mapping

from envparity.collectors.shapes import Fact
from envparity.collectors.tree import gap


def seeds(modules: Mapping[str, object]) -> Iterator[Fact]:
    """
    Observe the generators of libraries that stand in `modules` (`sys.modules`). Nothing is imported and drawn.

    Python's own and numpy's keep no seed, but a state of 2.5 kB: of it the sha256. Two runs whose states end equal have
    drawn the same numbers. (PYTHONHASHSEED is recorded with the environment variables.)

    Yields:
        One `numerics` with `seeds`. For one that fails a gap, not an unread one: no prediction needs it.
    """
    readers: list[tuple[str, str, Callable[[Any], object]]] = [
        ("python.random", "random", lambda random: _digest(random.getstate())),
        ("numpy.random", "numpy.random.mtrand", lambda mtrand: _digest(mtrand._rand.get_state(legacy=False))),
        ("torch.initial_seed", "torch", lambda torch: torch.initial_seed()),
        ("tensorflow.global_seed", "tensorflow.python.eager.context", _of_tensorflow),
        ("keras.global_seed", "keras.src.backend.common.global_state", _of_keras),
    ]
    found = []
    for name, module, read in readers:
        if not isinstance(modules.get(module), ModuleType):
            continue
        try:
            value = read(modules[module])
        except Exception as error:  # noqa: BLE001 - the code of a library, which may raise anything
            yield gap("numerics", "not-recorded", "%s: %s" % (type(error).__name__, str(error)[:200]), name)
        else:
            found += [] if value is None else [{"name": name, "value": str(value)}]
    yield {"kind": "numerics", "seeds": found}


def _of_tensorflow(context: Any) -> object:
    # To ask where there is no context yet would make one.
    return None if context._context is None else context.global_seed()


def _of_keras(state: Any) -> object:
    return vars(state.GLOBAL_STATE_TRACKER).get("global_random_seed")


def _digest(state: object) -> str:
    hashed = hashlib.sha256()
    _add(hashed, state)
    return "sha256:" + hashed.hexdigest()


def _add(hashed: Any, value: Any) -> None:
    if isinstance(value, dict):
        for key in sorted(value):
            _add(hashed, key)
            _add(hashed, value[key])
    else:
        hashed.update(value.tobytes() if hasattr(value, "tobytes") else repr(value).encode())
        hashed.update(b";")
