"""Copies of native libraries: each is compared with its like, and what one side lacks is unknown."""

from __future__ import annotations

from envparity import codec
from envparity.compare import compare, compared
from envparity.values import Basis, Change, Environment, NativeLibrary, NumericLibrary, Numerics, Origin


def environment(*libraries: NativeLibrary, numerics: Numerics | None = None) -> Environment:
    return Environment(origin=Origin(kind="test"), native_libraries=libraries, numerics=numerics)


def openblas(owner: str, version: str = "", **more: str) -> NativeLibrary:
    return NativeLibrary(
        name="libopenblas.so", role="blas", product="openblas", owner_kind="wheel", owner=owner, version=version, **more
    )


def differences(before: Environment, after: Environment) -> list[tuple[str, str, Change, str, str]]:
    found = compare(before, after)
    return [(item.item, item.field, item.change, item.before, item.after) for item in found]


def test_each_copy_is_compared_with_that_of_its_owner() -> None:
    """K17: numpy and scipy carry one OpenBLAS each; a change of one of them must not hide behind the other."""
    before = environment(openblas("numpy", "0.3.27"), openblas("scipy", "0.3.27"))
    after = environment(openblas("numpy", "0.3.27"), openblas("scipy", "0.3.30"))

    assert differences(before, after) == [("openblas of scipy", "version", Change.CHANGED, "0.3.27", "0.3.30")]


def test_without_a_version_what_was_linked_is_compared() -> None:
    before = environment(openblas("numpy", build_id="aa"))

    assert differences(before, environment(openblas("numpy", build_id="bb"))) == [
        ("openblas of numpy", "build_id", Change.CHANGED, "aa", "bb")
    ]
    assert compared(before, before)


def test_what_only_one_side_could_look_into_is_unknown_and_no_change() -> None:
    """An image is not opened for the build-id of its files: that says nothing of them."""
    for looked in (openblas("numpy", "0.3.27"), openblas("numpy", build_id="aa")):
        ((_, _, change, before, after),) = differences(environment(looked), environment(openblas("numpy")))
        assert (change, bool(before), after) == (Change.UNKNOWN, True, "")


def test_a_second_copy_and_one_of_nobody_are_added() -> None:
    before = environment(openblas("numpy", "0.3.27"))
    odd = NativeLibrary(name="libodd.so", basis=Basis.LOADED, overridden_by="LD_PRELOAD", build_id="cc")

    assert differences(before, environment(openblas("numpy", "0.3.27"), openblas("scipy", "0.3.27"), odd)) == [
        ("libodd.so of nobody", "version", Change.ADDED, "", "cc"),
        ("openblas of scipy", "version", Change.ADDED, "", "0.3.27"),
    ]


def test_what_a_package_of_the_system_brought_is_compared_as_that_package() -> None:
    system = NativeLibrary(
        name="libgomp.so.1.0.0", role="openmp", product="libgomp", owner_kind="dpkg", owner="libgomp1"
    )

    assert differences(environment(system), environment()) == []


def test_who_asked_does_not_decide_the_content() -> None:
    """A lock names its snapshot by this digest: taken inside the training or outside of it, it is one lock."""
    outside = environment(openblas("numpy", "0.3.27"))
    inside = environment(
        openblas("numpy", "0.3.27", basis=Basis.LOADED),
        NativeLibrary(name="libc.so.6", basis=Basis.LOADED, owner_kind="dpkg", owner="libc6"),
        numerics=Numerics(libraries=(NumericLibrary(product="openblas", kernel="Haswell", threads=8),)),
    )

    assert codec.content_digest(inside) == codec.content_digest(outside)
    assert codec.content_digest(environment(openblas("numpy", "0.3.30"))) != codec.content_digest(outside)
