"""Exports an edit as an adapter or as a model; what is not proved to be the edit is not kept."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from editcore.atomic import new_folder, write_text
from editcore.errors import DataError, at
from editcore.runs.adhoc.export import card
from editcore.runs.adhoc.export.card import AdapterFormat
from editcore.runs.adhoc.export.proof import Bench, prove_gguf, prove_model
from editcore.runs.prepare import Say
from editcore.updates.adapters import gguf_layout, peft_layout
from editcore.updates.adapters.base import Base, note
from editcore.updates.adapters.factors import LoraFactors, lora_factors
from editcore.updates.delta import Delta, factor_bytes, load_deltas
from editcore.updates.saved import weight_files
from editcore.updates.saved.origin import Origin, entry, origin_of
from editcore.updates.saved.weight_change import new_weights, skeleton

# Writes the adapter of an edit into a folder; returns what was proved of it.
Write = Callable[["Edit", LoraFactors, Path], str]
# Facts whose prompts the proof reads.
MOST_TEXTS = 32


@dataclass(frozen=True)
class Edit:
    """One edit of a file of deltas, and what is known of it."""

    file: Path
    case: int
    delta: Delta
    origin: Origin

    @property
    def texts(self) -> list[str]:
        """The prompts of its first facts, with their new objects."""
        facts = (self.origin.facts or ())[:MOST_TEXTS]
        return [f"{fact.prompt.replace('{}', fact.subject)} {fact.target_new}" for fact in facts]


def edits_in(file: Path, cases: Sequence[int]) -> list[Edit]:
    """Some edits of a file; `DataError` if it is damaged."""
    deltas = load_deltas(file, set(cases))
    return [Edit(file, case, deltas[case], origin_of(file, case, deltas[case])) for case in cases]


def export_adapters(
    layout: AdapterFormat,
    edits: Mapping[str, Edit],
    base: Base,
    out: Path,
    rank: int | None,
    say: Say,
) -> dict[str, str]:
    """Write an adapter for each edit, in the folder that its key names below `out`.

    Returns what was proved of each. `rank` is as in `lora_factors`. `out` appears when all are
    proved. Raises `DataError` for an edit that no adapter can hold, `ModelError` if an adapter is
    not the edit or the layout cannot hold it, `ConfigError` if peft is missing.
    """
    if layout == "peft":
        peft_layout.require_peft()
    model = skeleton(base.folder)
    factors: dict[str, LoraFactors] = {}
    for name, edit in edits.items():
        with at(f"case {edit.case}"):
            factors[name] = lora_factors(edit.delta, model, rank)
    write: Write = (
        _as_peft(edits, base, model, say) if layout == "peft" else partial(_as_gguf, base)
    )
    proofs = {}
    with new_folder(out) as hidden:
        for name, edit in edits.items():
            say(f"write and prove the adapter of case {edit.case}")
            folder = hidden / name
            folder.mkdir(exist_ok=True)
            with at(f"case {edit.case}"):
                proofs[name] = write(edit, factors[name], folder)
    return proofs


def export_model(edit: Edit, base: Base, out: Path) -> str:
    """Write a copy of the base with the edit in its weights; returns what was proved of it.

    The files are divided as the base's are, and `editcore revert` restores its weights. `out`
    appears when it is proved. Raises errors as `new_weights` and `edited_copy`, `ModelError` if the
    copy is not the edited model.
    """
    if not edit.delta.updates:
        raise DataError(f"case {edit.case} changes no weights, so there is nothing to export")
    made: dict[str, bytes] = {}
    proved: list[str] = []

    def make(folder: Path) -> dict[str, bytes]:
        made.update(new_weights(edit.delta, folder))
        return made

    def finish(folder: Path) -> None:
        proof = prove_model(folder, base.folder, edit.delta, made)
        if (folder / card.FILE).exists():
            os.replace(folder / card.FILE, folder / card.OF_BASE)
        write_text(folder / card.FILE, card.card("model", base, edit.origin, proof))
        proved.append(proof)

    about = entry(edit.file, edit.case, edit.origin)
    weight_files.edited_copy(make, base.folder, out, about, factor_bytes(edit.delta), finish)
    return proved[0]


def _as_peft(edits: Mapping[str, Edit], base: Base, model: nn.Module, say: Say) -> Write:
    """What writes adapters for peft; the base is loaded once."""
    bench = Bench.open(base, next(iter(edits.values())).origin, say)

    def write(edit: Edit, factors: LoraFactors, folder: Path) -> str:
        peft_layout.write_adapter(factors, folder, model, base.name)
        proof = bench.prove(edit.delta, factors, folder, edit.texts)
        _describe(folder, base, edit, factors, "peft", str(proof), proof.as_dict())
        return str(proof)

    return write


def _as_gguf(base: Base, edit: Edit, factors: LoraFactors, folder: Path) -> str:
    """Write one adapter for llama.cpp; returns its proof."""
    gguf_layout.write_adapter(factors, folder, base)
    proof = prove_gguf(factors, folder, gguf_layout.tensor_names(factors, base.folder))
    _describe(folder, base, edit, factors, "gguf-lora", proof, {"error": factors.error})
    return proof


def _describe(
    folder: Path,
    base: Base,
    edit: Edit,
    factors: LoraFactors,
    layout: AdapterFormat,
    sentence: str,
    proof: Mapping[str, Any],
) -> None:
    """Write the card of an adapter, and the note by which its base is recognised."""
    write_text(folder / card.FILE, card.card(layout, base, edit.origin, sentence))
    about = {
        "format": layout,
        "case": edit.case,
        "rank": factors.rank,
        "proof": proof,
        "edit": edit.origin.model_dump(mode="json"),
    }
    note(folder, base, about)
