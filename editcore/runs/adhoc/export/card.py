"""The card of an exported edit: what was edited, how it was judged, and what it is for."""

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal

from editcore.numbers import in_percent, number
from editcore.records.provenance import versions
from editcore.updates.adapters.base import Base
from editcore.updates.saved.origin import Origin, RecordedEditor, RecordedVerdict

AdapterFormat = Literal["peft", "gguf-lora"]
Format = Literal[AdapterFormat, "model"]

FILE = "README.md"
# The name that the unedited model's own card gets in an edited copy.
OF_BASE = "README-unedited.md"
UNKNOWN = "unknown"
# What loads each format, and how; FOLDER is that of the card.
USE: Mapping[Format, tuple[str, Sequence[str]]] = MappingProxyType(
    {
        "peft": (
            "peft",
            (
                'model = AutoModelForCausalLM.from_pretrained("BASE")',
                'model = PeftModel.from_pretrained(model, "FOLDER")  # model.unload() reverts it',
            ),
        ),
        "gguf-lora": ("llama.cpp", ("llama-server -m BASE.gguf --lora FOLDER/adapter.gguf",)),
        "model": (
            "transformers",
            ('model = AutoModelForCausalLM.from_pretrained("FOLDER")', "editcore revert FOLDER"),
        ),
    }
)


def card(kind: Format, base: Base, origin: Origin, proof: str) -> str:
    """The card as Markdown, with the header that the hub reads.

    What is not known of the edit is said to be unknown.
    """
    library, use = USE[kind]
    about = {"library_name": library, "base_model": base.name, "tags": ["model-editing"]}
    facts = [str(fact) for fact in origin.facts] if origin.facts is not None else [UNKNOWN]
    lines = [
        "---",
        *(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in about.items()),
        "---",
        "",
        f"# {base.name}, edited",
        "",
        "Edited facts:",
        "",
        *(f"- {fact}" for fact in facts),
        "",
        f"- Editor: {_editor(origin.editor)}",
        f"- Grade: {_grade(origin.verdict)}",
        f"- Made on: {base.name}, whose weights have the SHA-256 {base.sha256}",
        f"- Proof: {proof}.",
        f"- Versions: {', '.join(f'{name} {version}' for name, version in versions().items())}",
        "",
        "```",
        *use,
        "```",
    ]
    return "\n".join(lines) + "\n"


def _editor(editor: RecordedEditor | None) -> str:
    if editor is None:
        return UNKNOWN
    uses = "" if editor.uses == editor.label else f" ({editor.uses})"
    given = " ".join(filter(None, (editor.distribution, editor.version)))
    options = json.dumps(editor.options, ensure_ascii=False)
    return f"{editor.label}{uses}{f', {given}' if given else ''}, with the options `{options}`"


def _grade(verdict: RecordedVerdict | None) -> str:
    if verdict is None:
        return UNKNOWN
    words = f"{verdict.grade} (perplexity {number(verdict.perplexity_base)} → "
    words += number(verdict.perplexity)
    if verdict.top1_kept is not None:
        moved = in_percent(1 - verdict.top1_kept)
        words += f"; another next token is the likeliest at {moved} of tokens"
    return f"{words}). {verdict.measured_with or 'What it was measured with is unknown.'}"
