"""Reads YAML as plain data of limited size; all YAML in this project is read here."""

from typing import Any

import yaml

from editcore.errors import ConfigError

# A config has a few hundred nodes. Aliases can expand a short text to millions.
LONGEST_TEXT = 100_000
DEEPEST = 40
MOST_NODES = 100_000
LARGEST_BITS = 128

PLAIN_TAGS = ("null", "bool", "int", "float", "str", "seq", "map", "merge", "value")
PREFIX = "tag:yaml.org,2002:"
# Raised by constructors for a text that does not fit its tag, such as `!!bool x`.
UNFIT = (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError)


class PlainLoader(yaml.SafeLoader):
    """Reads null, booleans, numbers, texts, lists and mappings whose keys are all different."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """As in the safe loader, but a value that does not fit its tag is an error."""
        try:
            value = super().construct_object(node, deep)
        except UNFIT:
            tag = node.tag.removeprefix(PREFIX)
            raise self._unfit(f"this is not a valid {tag}", node) from None
        if isinstance(value, int) and value.bit_length() > LARGEST_BITS:
            raise self._unfit("this number is too large", node)
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As in the safe loader, but a repeated key is an error."""
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
        """Raise an error for a tag that is not plain data."""
        raise self._unfit(f"the tag {node.tag!r} is not allowed here; leave it out", node)


# Jobs are written as JSON, which has no sets, dates, bytes or other tagged values.
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
    """The plain data in a YAML text; raises `ConfigError` with `where` for anything else.

    Also refused are a text, nesting or number of values (aliases expanded) larger than any study
    needs, and data that contains itself. Dates remain text.
    """
    if len(text) > LONGEST_TEXT:
        raise ConfigError(
            f"{where}: {len(text):,} characters are too many for a YAML file; give one of at most "
            f"{LONGEST_TEXT:,}"
        )
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
    """The number of nodes, aliases expanded; raises `ValueError` if there are too many."""
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
