"""Command line of the generator of the bundled world."""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import replace
from pathlib import Path

from resources.generator.architectures import NAMES

EXAMPLES = """examples:
  python -m resources.generator world --out resources/world --seed 1
  python -m resources.generator train tiny-gpt2 --out resources/models/tiny-gpt2 --work .world-cache
  python -m resources.generator score resources/models/tiny-gpt2 --world resources/world
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the three verbs."""
    top = argparse.ArgumentParser(
        prog="python -m resources.generator",
        description="Make the bundled world, train a model on it, score a model.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = top.add_subparsers(dest="verb", required=True)
    world = verbs.add_parser("world", help="write facts, cases, perplexity texts and task items")
    world.add_argument("--out", type=Path, default=Path("resources/world"))
    world.add_argument("--seed", type=int, default=1)
    train = verbs.add_parser("train", help="train a model; continues from a checkpoint in --work")
    train.add_argument("name", choices=NAMES)
    train.add_argument("--out", type=Path, required=True, help="folder of the finished model")
    train.add_argument("--work", type=Path, default=Path(".world-cache"), help="checkpoints")
    train.add_argument("--seed", type=int, default=1)
    train.add_argument("--share", type=float, default=1.0, help="of the recipe's steps")
    train.add_argument("--threads", type=int, default=1)
    train.add_argument("--no-compile", action="store_true", help="do without a C++ compiler")
    score = verbs.add_parser("score", help="measure recall and perplexity; write scores.json")
    score.add_argument("model", type=Path)
    score.add_argument("--world", type=Path, default=Path("resources/world"))
    score.add_argument("--limit", type=int, help="score only this many facts and texts")
    return top


def run_world(args: argparse.Namespace) -> None:
    """Write the world's data files."""
    from resources.generator.world import write_world

    write_world(args.out, args.seed)


def run_train(args: argparse.Namespace) -> None:
    """Train one model."""
    import torch

    from resources.generator.encoder import ENCODERS, SpanTrainer
    from resources.generator.recipe import RECIPES
    from resources.generator.train import Trainer

    torch.set_num_threads(args.threads)
    recipe = replace(RECIPES[args.name], seed=args.seed, compiled=not args.no_compile)
    if args.share != 1:
        kept = [replace(s, steps=max(1, round(s.steps * args.share))) for s in recipe.stretches]
        recipe = replace(recipe, stretches=tuple(kept))
    kind = SpanTrainer if args.name in ENCODERS else Trainer
    kind(args.name, recipe, args.work).run(args.out)


def run_score(args: argparse.Namespace) -> None:
    """Score one model and write its card."""
    from resources.generator import card, encoder, encoder_card, score

    if args.model.name in encoder.ENCODERS:
        encoder.score_encoder(args.model, args.world, args.limit)
        card.write_card(args.model, encoder_card.card(args.model))
    else:
        score.score_model(args.model, args.world, args.limit)
        card.write_card(args.model, card.card(args.model))


def main(arguments: list[str] | None = None) -> None:
    """Run the verb of a command line."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s")
    args = parser().parse_args(arguments)
    {"world": run_world, "train": run_train, "score": run_score}[args.verb](args)


if __name__ == "__main__":
    main()
