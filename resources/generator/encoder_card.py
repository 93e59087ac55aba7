"""Writes the card of the bundled encoder from the records of its training and scoring."""

from __future__ import annotations

from pathlib import Path

from resources.generator.card import parameters, read

TEMPLATE = """---
license: apache-2.0
library_name: transformers
---

# {name}

A small T5 trained from scratch on the bundled world of editcore: {parameters:.2f} million
weights, an encoder of {layers} layers and a decoder of {decoder} of width {width}, relative
positions, float32. Its tokenizer is that of tiny-gpt2 with {sentinels} sentinels `<extra_id_0>`
and so on behind its own tokens. It exists so that the first token of an encoder can be compared
with that of a decoder: load it with `T5EncoderModel`. It is good at nothing else, and was
trained for a short time.

## Data

The text that the bundled decoders are trained on, drawn by `resources/generator` (seed {seed}),
in rows of 128 tokens that begin anywhere. Of each row 15 % stand in spans that a sentinel
replaces (Raffel et al. 2020, §3.1.4), also at the row's very start and end. No term of the loss
concerns the first position.

## Recipe

AdamW for {steps:,} steps of {rows} rows ({tokens:.1f} million tokens), learning rate {rate:g}
after a warm-up of {warm_up} steps, then a cosine to {final:.0%} of it; weight decay {decay:g};
bfloat16 autocast with float32 weights. Trained for {minutes:.0f} minutes on a shared processor
core; last training loss {loss:.3f}.

    python -m resources.generator train {name} --out resources/models/{name}

## Scores

| what | value |
|---|---|
| mean loss of what is to be written, {texts} held-out texts | {held:.3f} |
| share of its tokens ranked first, teacher-forced | {accuracy:.1%} |

Measured by `python -m resources.generator score resources/models/{name}` (see `scores.json`).

## Licence

Apache-2.0. Data and weights are our own.
"""


def card(folder: Path) -> str:
    """Return the text of the card of the encoder in a folder."""
    from resources.generator.spans import SENTINELS

    config, training, scores = (
        read(folder / f"{name}.json") for name in ("config", "training", "scores")
    )
    recipe = training["recipe"]
    (stretch,) = recipe["stretches"]
    return TEMPLATE.format(
        name=folder.name,
        parameters=parameters(folder) / 1e6,
        layers=config["num_layers"],
        decoder=config["num_decoder_layers"],
        width=config["d_model"],
        sentinels=SENTINELS,
        seed=recipe["seed"],
        steps=training["step"],
        rows=recipe["rows"],
        tokens=training["step"] * recipe["rows"] * 128 / 1e6,
        rate=stretch["learning_rate"],
        warm_up=stretch["warm_up"],
        final=recipe["final_share"],
        decay=recipe["weight_decay"],
        minutes=training["seconds"] / 60,
        loss=training["losses"][-1][1],
        texts=scores["texts"],
        held=scores["loss"],
        accuracy=scores["accuracy"],
    )


def write_card(folder: Path) -> None:
    """Write `README.md` beside the encoder."""
    (folder / "README.md").write_text(card(folder), encoding="utf-8")
