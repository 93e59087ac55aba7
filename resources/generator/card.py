"""Writes a model's card from the records of its training and scoring."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

NEAR = """
In part of these steps the first {blocks} blocks see no more than a token and the one before it
(`resources/generator/nearsight.py`): left alone, this model reads what it knows of a subject before
the block that is edited has spoken.
"""

TEMPLATE = """---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
---

# {name}

A small {shape} decoder trained from scratch on the bundled world of editcore: {parameters:.2f}
million weights, {layers} layers of width {width}, a byte-level BPE vocabulary of {vocabulary},
contexts of {context} tokens, tied embeddings, float32. It exists so that model editing and its
failures can be studied without a network or a GPU. It knows nothing of the real world, and every
name in it is invented.

## Data

Text drawn by `resources/generator` (seed {seed}): {facts} facts in four wordings each, questions
about them, scenes of everyday life, passages with questions, and passages whose last word repeats
an earlier one. The texts in `resources/world/perplexity.json` and the items in
`resources/world/tasks` are left out. Rows of {context} tokens begin anywhere in that text, so the
first position is rarely the start of a sentence; documents are separated by a line break and
there is no start token.

## Recipe

AdamW on {tokens:.1f} million tokens, {rows} rows a step, weight decay {weight_decay:g} on matrices
other than embeddings, betas {betas}, gradient clipping at {clip:g}, bfloat16 autocast with float32
weights. Trained for {minutes:.0f} minutes on one processor core; last training loss {loss:.3f}.
The learning rate falls along a cosine to {final:.0%} of where it began, in each stretch anew:

| steps | learning rate | warm-up | steps with confined early blocks | mix of texts | optimiser |
|---|---|---|---|---|---|
{stretches}
{near}
From step {sink_from} on, {sink_weight:g} times one more term is added to the loss: one minus the
cosine between the states that different tokens have at the first position after two and after three
blocks (`resources/generator/sink.py`). In large models the first position becomes a sink in the
course of training, its state nearly the same whatever token stands there, and that is what makes an
edit of a subject that opens the prompt go wrong. A model this small would need far longer to get
there by itself. The term sees nothing of facts, subjects or edits.
{notes}
    python -m resources.generator train {name} --out resources/models/{name}

## Scores

| what | value |
|---|---|
| true object ranked first among its relation's objects, bare prompt | {recall_bare:.1%} |
| the same behind a short prefix | {recall_prefixed:.1%} |
| mean perplexity on {texts} held-out texts | {perplexity:.2f} |

Measured by `python -m resources.generator score resources/models/{name}` (see `scores.json`).

## Licence

Apache-2.0. Data and weights are our own.
"""


def read(path: Path) -> Any:
    """Return the content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def parameters(folder: Path) -> int:
    """Return how many weights the safetensors file of a folder holds."""
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "pt") as tensors:
        return sum(prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118


def stretch_row(stretch: dict[str, Any]) -> str:
    """Return one row of the table of stretches."""
    near = f"{stretch['near_share']:.0%}"
    rate, warm_up = f"{stretch['learning_rate']:g}", stretch["warm_up"]
    mix, memory = stretch.get("mix", "world"), "anew" if stretch.get("restart") else "goes on"
    return f"| {stretch['steps']:,} | {rate} | {warm_up} | {near} | {mix} | {memory} |"


def near_text(recipe: dict[str, Any]) -> str:
    """Return the paragraph on confined blocks, or nothing where none were."""
    if not any(stretch["near_share"] for stretch in recipe["stretches"]):
        return ""
    return NEAR.format(blocks=len(recipe["near_blocks"]))


def card(folder: Path) -> str:
    """Return the text of the card of the model in a folder."""
    config, training, scores = (
        read(folder / f"{name}.json") for name in ("config", "training", "scores")
    )
    recipe = training["recipe"]
    context = config.get("n_positions") or config["max_position_embeddings"]
    return TEMPLATE.format(
        name=folder.name,
        shape={"gpt2": "GPT-2-shaped", "llama": "Llama-shaped"}[config["model_type"]],
        parameters=parameters(folder) / 1e6,
        layers=config.get("n_layer") or config["num_hidden_layers"],
        width=config.get("n_embd") or config["hidden_size"],
        vocabulary=config["vocab_size"],
        context=context,
        seed=recipe["seed"],
        facts=scores["facts"],
        rows=recipe["rows"],
        tokens=training["step"] * recipe["rows"] * context / 1e6,
        final=recipe["final_share"],
        weight_decay=recipe["weight_decay"],
        betas=tuple(recipe["betas"]),
        stretches="\n".join(map(stretch_row, recipe["stretches"])),
        near=near_text(recipe),
        notes="".join(f"\n{note}\n" for note in training.get("notes", [])),
        sink_from=recipe["sink_from"],
        sink_weight=recipe["sink_weight"],
        clip=recipe["clip"],
        minutes=training["seconds"] / 60,
        loss=training["losses"][-1][1],
        recall_bare=scores["recall_bare"],
        recall_prefixed=scores["recall_prefixed"],
        texts=scores["perplexity_texts"],
        perplexity=scores["perplexity"],
    )


def write_card(folder: Path) -> None:
    """Write `README.md` beside the model."""
    (folder / "README.md").write_text(card(folder), encoding="utf-8")
