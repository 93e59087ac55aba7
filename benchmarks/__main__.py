"""Compares editcore's speed with the reference: `python -m benchmarks sweep --shape gpt2-small`."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks.grading import costs
from benchmarks.growth import growth
from benchmarks.memory import peaks
from benchmarks.moments import Comparison
from benchmarks.precisions import compare as compare_precisions
from benchmarks.products import speeds
from benchmarks.race.race import race as run_race
from benchmarks.race.worker import Spec
from benchmarks.results import OUT, finish, machine, numbers
from benchmarks.second_moment import costs as second_moment_costs
from benchmarks.sequence import race as race_sequence
from benchmarks.shapes import SHAPES, build
from benchmarks.start import start as compare_starts
from benchmarks.sweep import Sweep
from benchmarks.workload import bundled, published
from editcore.config.study import Precision
from editcore.datasets.readers import read_texts
from editcore.errors import EditcoreError
from editcore.models.loading import load_model, load_tokenizer
from editcore.models.memory import use_sparingly
from editcore.planning.jobs import PerplexitySpec

PRECISION = click.option(
    "--precision",
    type=click.Choice(["float32", "tf32", "bfloat16"]),
    default="float32",
    show_default=True,
    help="Precision of editcore's frozen model; the reference always uses float32.",
)
THREADS = click.option(
    "--threads", type=int, default=None, help="Number of threads; by default torch's choice."
)
PUBLISHED = click.option(
    "--published",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Use COUNTERFACT, ME-PPL_50 and GPT-2's tokenizer from this folder.",
)
OPTIONS = (
    click.option(
        "--shape", type=click.Choice(list(SHAPES)), default="gpt2-small", show_default=True
    ),
    click.option("--device", default="cpu", show_default=True, help="cpu or cuda."),
    PRECISION,
    THREADS,
    PUBLISHED,
    OUT,
)


def options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of both comparisons."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Compare editcore with the reference implementation, on the same cases, in one process.

    \b
    examples:
      python -m benchmarks sweep --shape gpt2-small --json sweep.json
      python -m benchmarks sweep --shape tiny-gpt2 --growth 1,4,16,64,1000
      python -m benchmarks sweep --shape gpt2-xl --device cuda --precision bfloat16
      python -m benchmarks sequence --shape gpt2-small --edits 50
      python -m benchmarks moments --model path/to/model --layers 7 --real texts.jsonl
      python -m benchmarks race --peer path/to/EasyEdit --model path/to/model --layer 5
      python -m benchmarks grading --model path/to/model --layer 7
      python -m benchmarks products --model path/to/model
      python -m benchmarks precisions --model path/to/model --layer 5
      python -m benchmarks start
      python -m benchmarks second-moment --model tiny-gpt2 --layers 2
      python -m benchmarks memory --model gpt2-small --cases 1,4,12,24
      python -m benchmarks growth --axis cases --cases 10,100,1000
    """


@main.command()
@options
@click.option(
    "--rounds", default=3, show_default=True, help="Rounds; each runs both implementations."
)
@click.option("--cases", default=8, show_default=True, help="New cases in each round.")
@click.option(
    "--growth", default="1,4,16,64", show_default=True, help="Cases in one sweep of editcore."
)
@click.option(
    "--depths", default="6,12,24", show_default=True, help="Blocks of the model, for editcore."
)
def sweep(
    shape: str, out: Path | None, rounds: int, cases: int, growth: str, depths: str, **given: Any
) -> None:
    """Edit each fact from the original weights, and measure perplexity on 50 texts after each."""
    workload, how = prepare(given)
    run = Sweep(shape, build(shape, **how), workload)
    found = {"shape": shape, **run.race(rounds, cases), "both_editors": run.both_editors(cases)}
    found["growth"] = {"cases": run.growth(numbers(growth)), "depth": {}}
    if SHAPES[shape].model_type:
        for depth in numbers(depths):
            deeper = Sweep(shape, build(shape, **how, depth=depth), workload)
            deeper.fast.sweep(workload.cases(0, 1))
            found["growth"]["depth"][str(depth)] = deeper.growth([4])["4"]
    finish(found | machine(given), out)


@main.command()
@click.option(
    "--peer",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The root folder of a toolkit's code: the papers' (or a fork of it), or EasyEdit.",
)
@click.option(
    "--model",
    default="gpt2-small",
    show_default=True,
    help=f"A shape with random weights ({', '.join(SHAPES)}), or any source of a model.",
)
@click.option("--layer", default=5, show_default=True, help="The layer that is edited.")
@click.option("--rounds", default=3, show_default=True, help="Rounds; each runs both sides.")
@click.option("--cases", default=4, show_default=True, help="New cases in each round.")
@click.option("--texts", default=50, show_default=True, help="Texts for perplexity.")
@PRECISION
@THREADS
@PUBLISHED
@OUT
def race(
    peer: Path,
    model: str,
    layer: int,
    rounds: int,
    cases: int,
    texts: int,
    precision: Precision,
    threads: int | None,
    folder: Path | None,
    out: Path | None,
) -> None:
    """Edit the same facts with another toolkit's own ROME and with editcore, in turn.

    Both sides run in processes of their own, with the same weights, context templates and settings,
    without C. After each edit, perplexity is measured: by editcore in its way, for the toolkit in
    the plain way, since toolkits have no measurement of their own.
    """
    spec = Spec(model, layer, precision, texts, "", published=str(folder) if folder else None)
    try:
        found = run_race(replace(spec, threads=threads), peer, cases, rounds)
    except EditcoreError as error:
        raise click.ClickException(str(error)) from error
    given = {"device": "cpu", "precision": precision, "folder": folder}
    finish({"model": model, "layer": layer, **found, **machine(given)}, out)


@main.command()
@options
@click.option("--edits", default=50, show_default=True, help="Number of sequential edits.")
def sequence(shape: str, out: Path | None, edits: int, **given: Any) -> None:
    """Edit facts one after another in one model, and measure perplexity on 50 texts after each."""
    workload, how = prepare(given)
    found = {"shape": shape, **race_sequence(shape, build(shape, **how), workload, edits)}
    finish(found | machine(given), out)


@main.command()
@click.option("--model", "source", required=True, help="A folder, or any other source of a model.")
@click.option("--layers", default="7", show_default=True, help="Layers to edit, one at a time.")
@click.option(
    "--real",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of real texts, with more than twice as many tokens as are used.",
)
@click.option(
    "--other",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of other texts, named after its folder.",
)
@click.option("--tokens", default=40_000, show_default=True, help="Tokens that each C is from.")
@click.option("--cases", default=20, show_default=True, help="Hard facts, and as many normal ones.")
@click.option(
    "--texts", default=10, show_default=True, help="Texts that perplexity is measured on."
)
@click.option(
    "--json", "out", type=click.Path(dir_okay=False, path_type=Path), help="Also write JSON."
)
@PRECISION
def moments(
    source: str,
    layers: str,
    real: Path,
    other: Path | None,
    tokens: int,
    cases: int,
    texts: int,
    out: Path | None,
    precision: Precision,
) -> None:
    """Compare C from a model's own texts with C from real ones, and with no C, in ROME's edits.

    Facts and perplexity texts are those of resources/real.
    """
    model = load_model("model", source, precision=precision)
    facts, running = Path("resources/real/facts.json"), Path("resources/real/perplexity.json")
    compared = Comparison.of(model, source, facts, cases, running, texts)
    by_source = compared.moments(numbers(layers), tokens, real, other)
    found = {f"layer {n}": compared.at(n, by_source) for n in numbers(layers)}
    finish({"tokens": tokens, "texts": texts, **found}, out)


@main.command()
@click.option("--model", "source", required=True, help="A folder, or any other source of a model.")
@click.option("--layer", default=2, show_default=True, help="The layer that is edited.")
@click.option("--edits", default=8, show_default=True, help="Edits measured together.")
@click.option("--rounds", default=5, show_default=True, help="Rounds, of which the median counts.")
@click.option(
    "--texts", default=50, show_default=True, help="Texts that perplexity is measured on."
)
@click.option(
    "--path",
    default="resources/real/perplexity.json",
    show_default=True,
    help="The file of texts.",
)
@PRECISION
def grading(
    source: str,
    layer: int,
    edits: int,
    rounds: int,
    texts: int,
    path: str,
    precision: Precision,
) -> None:
    """Time an edit's perplexity pass without and with its grade, and the warning's sample."""
    model = load_model("model", source, precision=precision)
    spec = PerplexitySpec(path=path, texts=texts)
    finish({"texts": texts, "edits": edits, **costs(model, layer, spec, edits, rounds)}, None)


@main.command()
@click.option("--model", "source", required=True, help="A folder, or any other source of a model.")
@click.option("--rows", default="64,256,1024", show_default=True, help="Rows of the inputs.")
@click.option("--rounds", default=9, show_default=True, help="Rounds; each has every product once.")
@THREADS
def products(source: str, rows: str, rounds: int, threads: int | None) -> None:
    """Time the products of a model's down-projection and head, in float32 and bfloat16."""
    if threads:
        torch.set_num_threads(threads)
    given = {"device": "cpu", "precision": "float32", "folder": None}
    found = speeds(load_model("model", source), numbers(rows), rounds)
    finish({**found, **machine(given)}, None)


@main.command()
@click.option("--model", "source", required=True, help="A folder, or any other source of a model.")
@click.option("--layer", default=5, show_default=True, help="The layer that is edited.")
@click.option("--rounds", default=3, show_default=True, help="Rounds; each runs both precisions.")
@click.option("--cases", default=3, show_default=True, help="New facts in each round.")
@click.option("--texts", default=50, show_default=True, help="Texts for perplexity.")
@click.option("--steps", default=20, show_default=True, help="Steps of the search for v*.")
@THREADS
@OUT
def precisions(
    source: str,
    layer: int,
    rounds: int,
    cases: int,
    texts: int,
    steps: int,
    threads: int | None,
    out: Path | None,
) -> None:
    """Time ROME's and C-ROME's edits with perplexity in float32 and bfloat16, by turns."""
    if threads:
        torch.set_num_threads(threads)
    use_sparingly("cpu")
    workload = bundled().with_texts(texts)
    found = compare_precisions(source, workload, layer, rounds, cases, steps)
    given = {"device": "cpu", "precision": "float32 and bfloat16", "folder": None}
    finish({"model": source, "layer": layer, **found, **machine(given)}, out)


@main.command()
@click.option(
    "--model", "source", default="tiny-gpt2", show_default=True, help="Any source of a model."
)
@click.option("--rounds", default=5, show_default=True, help="Rounds; each runs both ways.")
@OUT
def start(source: str, rounds: int, out: Path | None) -> None:
    """Count the processor time of new processes that load a model, leanly and as usual."""
    found = {"rounds": rounds, **compare_starts(source, rounds)}
    finish(found | machine({"device": "cpu", "precision": "float32", "folder": None}), out)


@main.command()
@click.option("--model", "source", required=True, help="A folder, or any other source of a model.")
@click.option("--layers", default="2", show_default=True, help="Layers, measured in one pass.")
@click.option(
    "--texts",
    default="resources/world/moments.json",
    show_default=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of texts.",
)
@click.option("--tokens", default=30_000, show_default=True, help="Tokens read in a round.")
@click.option("--rounds", default=5, show_default=True, help="Rounds; each times both.")
@THREADS
@OUT
def second_moment(
    source: str,
    layers: str,
    texts: Path,
    tokens: int,
    rounds: int,
    threads: int | None,
    out: Path | None,
) -> None:
    """Time the estimation of C against the forward passes up to the deepest layer's keys alone."""
    if threads:
        torch.set_num_threads(threads)
    model = load_model("model", source)
    finish(second_moment_costs(model, numbers(layers), read_texts(texts), tokens, rounds), out)


@main.command()
@click.option(
    "--model",
    default="gpt2-small",
    show_default=True,
    help=f"A shape with random weights ({', '.join(SHAPES)}), or any source of a model.",
)
@click.option("--layer", default=5, show_default=True, help="The layer that is edited.")
@click.option("--cases", default="1,4,12,24", show_default=True, help="Cases in a shard.")
@click.option("--texts", default=50, show_default=True, help="Texts for perplexity.")
@click.option(
    "--steps",
    default=20,
    show_default=True,
    help="Steps of the search for v*; memory does not depend on them.",
)
@PRECISION
@THREADS
@PUBLISHED
@OUT
def memory(
    model: str,
    layer: int,
    cases: str,
    texts: int,
    steps: int,
    precision: Precision,
    threads: int | None,
    folder: Path | None,
    out: Path | None,
) -> None:
    """The peak memory of ROME's edits and their perplexity, by the number of cases in a shard."""
    spec = Spec(model, layer, precision, texts, "", published=str(folder) if folder else None)
    spec = replace(spec, threads=threads, steps=steps)
    found = {"peak memory by cases, MB": peaks(spec, numbers(cases))}
    given = {"device": "cpu", "precision": precision, "folder": folder}
    finish({"model": model, "layer": layer, **found, **machine(given)}, out)


def prepare(given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The workload, and how models are built."""
    if given["threads"]:
        torch.set_num_threads(given["threads"])
    folder = given["folder"]
    tokenizer = load_tokenizer(str(folder / "gpt2")) if folder else None
    how = {"device": given["device"], "precision": given["precision"], "tokenizer": tokenizer}
    return published(folder) if folder else bundled(), how


main.add_command(growth)

if __name__ == "__main__":
    main()
