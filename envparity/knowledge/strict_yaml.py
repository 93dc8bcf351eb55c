"""YAML as it is meant: no aliases, no duplicate keys, one document, no surprise types for versions."""

from __future__ import annotations

from typing import Any

from envparity.errors import MalformedError

_DEPTH = 20


def load_yaml(data: bytes, what: str) -> Any:
    """
    The plain value of one YAML document.

    Versions stay strings only where they are quoted: YAML reads `3.10` as the number 3.1. The schema that the value is
    converted to refuses numbers where a text is due, so that the mistake is named, and never guessed right.

    Raises:
        MalformedError: not UTF-8, not YAML, an alias, a duplicate key, several documents, too deep; names the line.
    """
    import yaml

    class Strict(yaml.SafeLoader):
        depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            peek: Any = self.peek_event
            event = peek()
            problem = ""
            if isinstance(event, yaml.events.AliasEvent):
                problem = "aliases are not allowed"
            elif self.depth == _DEPTH:
                problem = f"more than {_DEPTH} levels deep"
            if problem:
                raise yaml.composer.ComposerError(None, None, problem, event.start_mark)
            self.depth += 1
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen = set()
            for key, _ in node.value:
                if key.tag != "tag:yaml.org,2002:str":
                    problem = f"a key must be a text, and `{key.value}` is none: quote it"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                if key.value in seen:
                    problem = f"the key `{key.value}` is there twice"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value)
            return super().construct_mapping(node, deep)

    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedError(f"{what} is not UTF-8: byte {error.start} is 0x{data[error.start]:02x}") from error
    try:
        # Strict is a SafeLoader: it makes plain values only.
        loader = Strict(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = " ".join(filter(None, (error.context, error.problem)))
        raise MalformedError(f"{what} is not valid YAML: {problem}", where=where) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise MalformedError(f"{what} is not valid YAML: {str(error).splitlines()[0]}") from error
