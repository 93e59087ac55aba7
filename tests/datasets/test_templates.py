"""Files of context templates."""

import json
from pathlib import Path

import pytest

from editcore.datasets.templates import read_templates
from editcore.errors import DataError


@pytest.mark.parametrize("listed", [True, False], ids=["a JSON list", "lines"])
def test_a_file_has_a_template_on_each_line_or_in_a_list(listed: bool, tmp_path: Path) -> None:
    templates, file = ["{}", "I think. {}", "In 1990, {}"], tmp_path / "templates"
    file.write_text(json.dumps(templates) if listed else "\n".join([*templates, "", ""]))
    assert read_templates(file) == ("I think. {}", "In 1990, {}")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("I think.", "'I think.' does not have exactly one {}"),
        ("{} and {}", "'{} and {}' does not have exactly one {}"),
        ('["{} is", 3]', "3 is not text"),
        ("{}\n\n", "it has no template"),
        ("[1", "Expecting"),
    ],
)
def test_other_content_is_refused_with_the_reason(
    content: str, reason: str, tmp_path: Path
) -> None:
    file = tmp_path / "templates.txt"
    file.write_text(content)
    with pytest.raises(DataError) as refused:
        read_templates(file)
    assert reason in str(refused.value) and str(file) in str(refused.value)
