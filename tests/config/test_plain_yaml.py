"""YAML is read as plain data of limited size; anything else is one error that names its place."""

import time

import pytest

from editcore.cli.check import parsed
from editcore.config.plain_yaml import parse_yaml
from editcore.errors import ConfigError

LISTS = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9))
MERGES = "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 9))


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("a: {b: [1, two, 3.5, true, ~]}", {"a": {"b": [1, "two", 3.5, True, None]}}),
        ("base: &b {x: 1}\nmore: {<<: *b, y: 2}", {"base": {"x": 1}, "more": {"x": 1, "y": 2}}),
        ("2024-01-31", "2024-01-31"),
        ("", None),
        ("!!int '7'", 7),
    ],
)
def test_plain_data_are_what_yaml_says(text: str, data: object) -> None:
    assert parse_yaml(text, "study.yaml") == data


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "expected the node content"),
        ("!!bool x", "this is not a valid bool"),
        ("!!int x", "this is not a valid int"),
        ("1" * 5000, "this is not a valid int"),
        (f"0x{'f' * 200}", "this number is too large"),
        ("!!set [1]", "the tag .* is not allowed here"),
        ("!!map [1]", "this is not a valid mapping"),
        ("!!timestamp x", "the tag .* is not allowed here"),
        ("!!binary '='", "the tag .* is not allowed here"),
        ("!!python/object/apply:os.getcwd []", "the tag .* is not allowed here"),
        ("a: 1\na: 2", "the key 'a' appears twice"),
        ("&a [*a]", "an alias is inside what it names"),
        ("[" * 60 + "]" * 60, "more than 40 levels of nesting"),
        ("[" * 5000, "nesting|recursion|expected"),
        (f"a0: &a0 [x, x]\n{LISTS}", "more than 100,000 values, aliases counted"),
        (f"a0: &a0 {{x: 1}}\n{MERGES}", "more than 100,000 values, aliases counted"),
        ("x" * 100_001, "100,001 characters are too many"),
        ("\x00", "special characters are not allowed"),
    ],
)
def test_anything_else_is_one_error_with_its_place(text: str, reason: str) -> None:
    started = time.monotonic()
    with pytest.raises(ConfigError, match=rf"(?s)^study\.yaml: .*({reason})"):
        parse_yaml(text, "study.yaml")
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("value", ["{", "!!bool x", "!!set [1]", "!!map [1]", "!!timestamp x"])
def test_an_option_of_check_is_read_in_the_same_way(value: str) -> None:
    with pytest.raises(ConfigError, match=r"^--set layer: "):
        parsed([f"layer={value}"])
