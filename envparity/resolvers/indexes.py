"""Which package indexes a lock asks, in which order, and which distribution is of which."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from envparity.errors import UsageError
from envparity.network import address_fault, printable
from envparity.resolvers.problems import PYPI

_NAMED = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)=(?P<url>.*)", re.DOTALL)


@dataclass(frozen=True)
class Index:
    """
    The root of a simple index, and the name that it is called by. A user and password in `url` are used, and neither
    printed nor recorded: `shown` is for that.
    """

    name: str
    url: str = field(repr=False)

    @classmethod
    def of(cls, url: str, name: str = "") -> Index:
        """
        The index at an address.

        Raises:
            UsageError: it cannot be asked.
        """
        fault = address_fault(url)
        if fault:
            raise UsageError(
                f"the index `{printable(url)}` cannot be asked: {fault}",
                hint=f"name the root of a simple index, such as {PYPI}",
            )
        root = url if url.endswith("/") else f"{url}/"
        return cls(name or ("pypi" if root == PYPI else printable(root)), root)

    @property
    def shown(self) -> str:
        """The address without what may be a secret."""
        return printable(self.url)

    def __str__(self) -> str:
        return self.shown if self.name == self.shown else f"{self.name} ({self.shown})"


@dataclass(frozen=True)
class Indexes:
    """
    The indexes in their order, the default one first.

    Args:
        pinned: the index of a distribution, by its normalised name; one that is not here may come from any of them.
        configured: what pip or uv would ask here. It is not asked, and only named where something is missing.
    """

    order: tuple[Index, ...] = (Index("pypi", PYPI),)
    pinned: Mapping[str, Index] = field(default_factory=dict)
    configured: tuple[Index, ...] = ()

    @classmethod
    def at(cls, url: str) -> Indexes:
        """One index only."""
        return cls((Index.of(url),))

    @property
    def default(self) -> Index:
        """The one that is asked first."""
        return self.order[0]

    def of(self, name: str) -> tuple[Index, ...]:
        """Those that a distribution may come from."""
        return (self.pinned[name],) if name in self.pinned else self.order

    @property
    def named(self) -> tuple[Index, ...]:
        """All that are asked, each once."""
        return tuple({index.url: index for index in (*self.order, *self.pinned.values())}.values())

    @property
    def unasked(self) -> tuple[Index, ...]:
        """What is configured here for pip or uv, and not asked."""
        asked = {index.shown for index in self.named}
        return tuple(index for index in self.configured if index.shown not in asked)


def indexes(named: Sequence[str], pins: Sequence[str] = (), configured: Indexes | None = None) -> Indexes:
    """
    The indexes that a command line names: `URL` or `NAME=URL`, and `from-config` for those of pip and uv.

    The first plain address is the default index; without one it is PyPI. All others are extra, and are asked after it.

    Args:
        pins: `NAME=INDEX`, a distribution and the name or the address of its index.
        configured: what pip and uv would ask here.

    Raises:
        UsageError: an address that cannot be asked, two indexes of one name, or a pin to an index that is not there.
    """
    plain: list[Index] = []
    extra: list[Index] = []
    pinned: dict[str, Index] = {}
    for text in named:
        if text == FROM_CONFIG:
            found = configured or Indexes()
            plain.append(found.default)
            extra += found.order[1:]
            pinned |= found.pinned
            continue
        match = None if text.startswith(("http:", "https:")) else _NAMED.fullmatch(text)
        (extra if match else plain).append(Index.of(match["url"], match["name"]) if match else Index.of(text))
    order = tuple({index.url: index for index in (*(plain or [Index.of(PYPI)]), *extra)}.values())
    known = (*order, *pinned.values())
    for index in known:
        if any(other.name == index.name and other.url != index.url for other in known):
            raise UsageError(
                f"two indexes are called `{index.name}`",
                hint="give each a name of its own: `--index NAME=URL`",
            )
    pinned |= dict(_pin(text, known) for text in pins)
    return Indexes(order, pinned, configured.order if configured is not None else ())


FROM_CONFIG = "from-config"
"""What `--index` takes for the indexes that pip and uv are configured with."""


def _pin(text: str, known: Sequence[Index]) -> tuple[str, Index]:
    from packaging.utils import canonicalize_name

    name, mark, wanted = text.partition("=")
    if not mark or not name.strip() or not wanted.strip():
        raise UsageError(f"`--index-for {printable(text)}` is no NAME=INDEX", hint="as in `--index-for demo=corp`")
    found = next((index for index in known if wanted in (index.name, index.shown, index.shown.rstrip("/"))), None)
    if found is None:
        names = ", ".join(f"`{index.name}`" for index in known)
        raise UsageError(
            f"`--index-for {name}=…` names the index `{printable(wanted)}`, which is not among those of `--index`",
            hint=f"there is {names}; `--index NAME=URL` adds one",
        )
    return canonicalize_name(name.strip()), found
