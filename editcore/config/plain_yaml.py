"""YAML as plain data, bounded: the one way in which this project reads it."""

from typing import Any

import yaml

from editcore.errors import ConfigError

# A config has a few hundred nodes. Aliases can make a short text stand for millions.
LONGEST_TEXT = 100_000
DEEPEST = 40
MOST_NODES = 100_000
LARGEST_BITS = 128

PLAIN_TAGS = ("null", "bool", "int", "float", "str", "seq", "map", "merge", "value")
PREFIX = "tag:yaml.org,2002:"
# What constructors raise for a text that does not fit its tag, such as `!!bool x`.
UNFIT = (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError)


class PlainLoader(yaml.SafeLoader):
    """Reads null, booleans, numbers, texts, lists and mappings whose keys are all different."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """As the safe loader does; what does not fit its tag is an error that has its place."""
        try:
            value = super().construct_object(node, deep)
        except UNFIT:
            tag = node.tag.removeprefix(PREFIX)
            raise self._unfit(f"this is not a valid {tag}", node) from None
        if isinstance(value, int) and value.bit_length() > LARGEST_BITS:
            raise self._unfit("this number is too large", node)
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As the safe loader does, each key once, where YAML's readers keep the last."""
        if not isinstance(node, yaml.MappingNode):
            raise self._unfit("this is not a valid mapping", node)
        seen: dict[Any, yaml.Node] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen and key.tag != f"{PREFIX}merge":
                raise yaml.constructor.ConstructorError(
                    f"the key {key.value!r} appears twice, first",
                    seen[key.value].start_mark,
                    "and again",
                    key.start_mark,
                )
            seen[key.value] = key
        return super().construct_mapping(node, deep)

    @staticmethod
    def _unfit(problem: str, node: yaml.Node) -> yaml.constructor.ConstructorError:
        return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)

    def refuse(self, node: yaml.Node) -> Any:
        """A tag that makes no plain data."""
        raise self._unfit(f"the tag {node.tag!r} is not allowed here; leave it out", node)


# Sets, dates, bytes and other tags have no place in JSON, which jobs are written in.
PlainLoader.yaml_constructors = {
    tag: make
    for tag, make in yaml.SafeLoader.yaml_constructors.items()
    if tag is not None and tag.removeprefix(PREFIX) in PLAIN_TAGS
} | {None: PlainLoader.refuse}
PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag != f"{PREFIX}timestamp"]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse_yaml(text: str, where: str, loader: type[PlainLoader] = PlainLoader) -> Any:
    """The plain data in a YAML text; `ConfigError`, naming `where`, for anything else.

    Refused are also a text, a depth or a number of values (aliases written out) beyond what any
    study needs, and data that contains itself. A date stays the text that it is.
    """
    if len(text) > LONGEST_TEXT:
        raise ConfigError(f"{where}: {len(text):,} characters are too many for a YAML file")
    try:
        reader = loader(text)
        reader.name = where
        try:
            root = reader.get_single_node()
            _count(root, {}, 0)
            return None if root is None else reader.construct_document(root)
        finally:
            reader.dispose()
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{where}: this is not valid YAML: {error}; correct that line") from None


def _count(node: yaml.Node | None, counted: dict[int, int], depth: int) -> int:
    """How many nodes a node stands for, with its aliases written out; `ValueError` for too many."""
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if (known := counted.get(id(node))) is not None:
        if known == 0:
            raise ValueError(f"an alias is inside what it names (line {_line(node)})")
        return known
    if depth > DEEPEST:
        raise ValueError(f"more than {DEEPEST} levels of nesting (line {_line(node)})")
    counted[id(node)] = 0
    inner = (part for each in node.value for part in (each if isinstance(each, tuple) else (each,)))
    total = 1 + sum(_count(part, counted, depth + 1) for part in inner)
    if total > MOST_NODES:
        raise ValueError(f"more than {MOST_NODES:,} values, aliases counted (line {_line(node)})")
    counted[id(node)] = total
    return total


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
