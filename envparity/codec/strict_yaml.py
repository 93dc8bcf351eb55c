"""
YAML as it is meant: plain values, no duplicate keys, one document, no surprise types for versions.

The values are made of the parser's events, so that every limit holds before anything is built; libyaml parses where
PyYAML has it, which is ten times as fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from envparity.codec.trusted import MOST_BYTES, trusted_text
from envparity.errors import MalformedError

if TYPE_CHECKING:
    from yaml.events import Event, NodeEvent, ScalarEvent

_DEPTH = 20
_FOREIGN_DEPTH = 40
_MOST_REPEATED = 100_000
_TAG = "tag:yaml.org,2002:"
_PLAIN = {f"{_TAG}{name}" for name in ("null", "bool", "int", "float")}


def load_yaml(data: bytes, what: str, *, foreign: bool = False, limit: int = MOST_BYTES) -> Any:
    """
    The plain value of one YAML document: None, bool, int, float, str, list, dict with text keys. Dates stay text.

    Versions stay strings only where they are quoted: YAML reads `3.10` as the number 3.1. The schema that the value is
    converted to refuses numbers where a text is due, so that the mistake is named, and never guessed right.

    Args:
        data: the document.
        what: what errors call it.
        foreign: it was written by another tool, which may use aliases (up to a limit on what they repeat), and keys
            that are numbers or truth values (they are kept as they are written).
        limit: the most bytes that are looked at.

    Raises:
        MalformedError: not UTF-8, not YAML, an alias, a tag of any program, a duplicate key, several documents, too
            deep; names the line.
    """
    import yaml

    text = trusted_text(data, what, limit=limit)
    try:
        return _Builder(text, foreign).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = " ".join(filter(None, (error.context, error.problem)))
        raise MalformedError(f"{what} is not valid YAML: {problem}", where=where) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise MalformedError(f"{what} is not valid YAML: {str(error).splitlines()[0]}") from error


class _Builder:
    """One document, made of events; holds the anchors that were met and how much their aliases repeat."""

    def __init__(self, text: str, foreign: bool) -> None:
        import yaml

        self._yaml = yaml
        self._parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
        self._foreign = foreign
        self._deepest = _FOREIGN_DEPTH if foreign else _DEPTH
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._made = 0
        self._repeated = 0

    def document(self) -> Any:
        events = self._yaml.events
        try:
            self._parser.get_event()
            first = self._parser.get_event()
            if isinstance(first, events.StreamEndEvent):
                return None
            result = self._node(self._parser.get_event(), 0)
            self._parser.get_event()
            after = self._parser.get_event()
            if not isinstance(after, events.StreamEndEvent):
                raise self._error("expected a single document, and another one begins", after)
        finally:
            self._parser.dispose()
        return result

    def _error(self, problem: str, event: Event) -> Exception:
        mark: Any = event.start_mark
        error: Exception = self._yaml.composer.ComposerError(None, None, problem, mark)
        return error

    def _node(self, event: Any, depth: int) -> Any:
        events = self._yaml.events
        if isinstance(event, events.AliasEvent):
            return self._alias(event)
        if depth == self._deepest:
            raise self._error(f"more than {self._deepest} levels deep", event)
        before = self._made + self._repeated
        self._made += 1
        result: Any
        if isinstance(event, events.ScalarEvent):
            result = self._scalar(event)
        elif isinstance(event, events.SequenceStartEvent):
            self._require_tag(event, "seq")
            result = []
            while not isinstance(item := self._parser.get_event(), events.SequenceEndEvent):
                result.append(self._node(item, depth + 1))
        else:
            self._require_tag(event, "map")
            result = {}
            while not isinstance(item := self._parser.get_event(), events.MappingEndEvent):
                key = self._key(item)
                if key in result:
                    raise self._error(f"the key `{key}` is there twice", item)
                result[key] = self._node(self._parser.get_event(), depth + 1)
        if event.anchor:
            self._anchors[event.anchor] = (result, self._made + self._repeated - before)
        return result

    def _alias(self, event: Any) -> Any:
        if not self._foreign:
            raise self._error("aliases are not allowed", event)
        if event.anchor not in self._anchors:
            raise self._error(f"the alias `{event.anchor}` stands for nothing before it", event)
        value, size = self._anchors[event.anchor]
        self._repeated += size
        if self._repeated > _MOST_REPEATED:
            raise self._error(f"aliases repeat more than {_MOST_REPEATED:,} values", event)
        return value

    def _key(self, event: Any) -> str:
        if not isinstance(event, self._yaml.events.ScalarEvent):
            raise self._error("a key must be a text", event)
        if event.value == "<<" and event.implicit[0]:
            raise self._error("merge keys (`<<`) are not allowed", event)
        if not self._foreign and not isinstance(self._scalar(event), str):
            raise self._error(f"a key must be a text, and `{event.value}` is none: quote it", event)
        return str(event.value)

    def _scalar(self, event: ScalarEvent) -> Any:
        value: str = event.value
        if event.tag in {None, "!"}:
            tag = self._resolved(value) if event.tag is None and event.implicit[0] else ""
        else:
            tag = event.tag
            self._require_tag(event, "str", "null", "bool", "int", "float")
        constructor: Any = self._yaml.constructor.SafeConstructor
        if tag == f"{_TAG}null":
            return None
        if tag == f"{_TAG}bool":
            return constructor.bool_values[value.lower()]
        if tag in {f"{_TAG}int", f"{_TAG}float"}:
            node = self._yaml.ScalarNode(tag, value)
            maker = constructor()
            return (maker.construct_yaml_int if tag.endswith("int") else maker.construct_yaml_float)(node)
        return value

    def _resolved(self, value: str) -> str:
        """The type that YAML 1.1 gives to a plain scalar, of those that are wanted here; else it is a text."""
        resolvers: Any = self._yaml.resolver.Resolver.yaml_implicit_resolvers
        for tag, pattern in resolvers.get(value[:1], ()):
            if tag in _PLAIN and pattern.match(value):
                return str(tag)
        return ""

    def _require_tag(self, event: NodeEvent, *names: str) -> None:
        tag: Any = getattr(event, "tag", None)
        if tag not in {None, "!", *(f"{_TAG}{name}" for name in names)}:
            raise self._error(f"the tag `{tag[:80]}` is not one of plain YAML", event)
