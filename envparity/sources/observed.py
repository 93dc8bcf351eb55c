"""The Environment of a place that was looked into: what its facts say, and what follows from several of them."""

from __future__ import annotations

from collections.abc import Iterable

from envparity import codec
from envparity.sources.gpu_libraries import with_gpu_libraries
from envparity.sources.reading import Fact
from envparity.sources.tooling import marked
from envparity.values import Environment, Origin


def observed(facts: Iterable[Fact], origin: Origin) -> Environment:
    """The facts as values, tooling marked, and the GPU libraries that packages bring among the accelerators."""
    return with_gpu_libraries(marked(codec.environment(facts, origin)))
