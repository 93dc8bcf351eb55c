"""Which file of an index a distribution was installed from."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from envparity.resolvers.matching import build_of, same_wheel, tags_of, wheels_of
from envparity.resolvers.simple import IndexFile
from envparity.values import Distribution

INTERPRETERS = st.sampled_from(["cp311", "CP311", "py3", "py2.py3", "py3.py2", "pp310", "py3.py3"])
ABIS = st.sampled_from(["cp311", "abi3", "none", "none.abi3"])
PLATFORMS = st.sampled_from(["any", "manylinux_2_17_x86_64.manylinux2014_x86_64", "manylinux2014_x86_64", "win_amd64"])
ENDS = st.tuples(INTERPRETERS, ABIS, PLATFORMS).map("-".join)
NAMES = st.builds(
    "{}-{}{}-{}{}".format,
    st.sampled_from(["demo", "Demo", "other"]),
    st.sampled_from(["1.0", "1", "1.1", "01.0"]),
    st.sampled_from(["", "-1", "-2x"]),
    ENDS,
    st.sampled_from([".whl", ".whl", ".tar.gz", ""]),
)


@given(st.lists(NAMES | ENDS, max_size=6, unique=True), st.lists(ENDS, max_size=3), st.sampled_from(["", "1", "2x"]))
def test_the_file_is_the_one_of_equal_version_build_and_set_of_tags(
    names: list[str], recorded: list[str], build: str
) -> None:
    """However its name spells them; names are looked at twice, and the quick look must let none of these go."""
    files = [IndexFile(filename=name, url=name, hashes={}) for name in names]
    distribution = Distribution(name="demo", version="1.0", wheel_tags=tuple(recorded), wheel_build=build)

    found = same_wheel(distribution, files, "https://index.test/simple/")

    every = wheels_of("demo", Version("1.0"), files)
    wanted = tuple(file for file, its, tags in every if tags == tags_of(recorded) and its == build_of(build))
    assert found == wanted if wanted else not isinstance(found, tuple)
