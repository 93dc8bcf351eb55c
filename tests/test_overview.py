"""What two runtimes are, layer by layer, in few words."""

from __future__ import annotations

from hypothesis import given

from envparity.compare import compare, overview
from envparity.compare import same as same_libraries
from envparity.values import Basis, Distribution, Environment, Layer, Origin
from tests.strategies import environments
from tests.values import training


def test_the_layers_go_from_the_model_down_to_the_processor() -> None:
    found = {layer.name: layer.before for layer in overview(training(), training())}

    assert next(iter(found)) == "Model"
    assert found["Python"] == "3.11.7 cpython"
    assert found["C library"] == "glibc 2.36"
    assert found["Operating system"].startswith("debian 12 x86_64")
    assert found["Processor"] == "GenuineIntel, x86-64-v3"


def test_a_side_that_does_not_say_is_empty() -> None:
    """A page that wrote `0 distributions` for what nobody read would be a claim."""
    declared = Environment(
        origin=Origin(kind="requirements"),
        distributions=(Distribution(name="numpy", basis=Basis.DECLARED, specifier="==1.26.4"),),
        open=True,
    )

    found = {layer.name: layer for layer in overview(training(), declared)}

    assert found["Python"] == Layer(name="Python", before="3.11.7 cpython", after="")
    assert found["Python libraries"].after == "1 library, declared"


@given(environments(), environments())
def test_swapping_the_sides_swaps_the_words(a: Environment, b: Environment) -> None:
    swapped = tuple(Layer(name=layer.name, before=layer.after, after=layer.before) for layer in overview(b, a))

    assert overview(a, b) == swapped


def test_a_library_is_the_same_where_both_sides_have_it_and_no_difference_speaks_of_it() -> None:
    """`1.0` and `1.0.0` are one version; a range that the version lies in is not said to be equal."""
    before = Environment(
        origin=Origin(kind="venv"),
        distributions=tuple(Distribution(name=name, version="1.0") for name in ("a", "b", "c", "d")),
    )
    after = Environment(
        origin=Origin(kind="requirements"),
        distributions=(
            Distribution(name="a", basis=Basis.DECLARED, version="1.0.0"),
            Distribution(name="b", basis=Basis.DECLARED, version="2.0"),
            Distribution(name="c", basis=Basis.DECLARED, specifier=">=1"),
        ),
        open=True,
    )

    assert same_libraries(before, after, compare(before, after)) == ("a 1.0",)
