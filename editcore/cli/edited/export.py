"""The commands that export an edit for other programs, and check what an adapter is for."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from editcore.cli.edited.folders import PATH, case_of, delta_file, folder_of, folder_to_edit
from editcore.cli.examples import examples
from editcore.cli.paths import FOLDER, OUT_FOLDER
from editcore.cli.steps import say
from editcore.errors import ConfigError

if TYPE_CHECKING:
    from editcore.runs.adhoc.export.card import Format


@click.command(
    short_help="Export an edit as an adapter or as a model.",
    epilog=examples(
        "editcore export edit path/to/model --format peft --out adapter",
        "editcore export edit path/to/model --format gguf-lora --out adapter",
        "editcore export edit path/to/model --format model --out edited",
    ),
)
@click.argument("delta", type=PATH)
@click.argument("model")
@click.option(
    "--format",
    "kind",
    required=True,
    type=click.Choice(["peft", "model", "gguf-lora"]),
    help="A LoRA adapter for peft and vLLM, a whole model, or an adapter for llama.cpp.",
)
@click.option("--out", required=True, type=OUT_FOLDER, help="The new folder to write.")
@click.option("--case", type=int, help="Which case of DELTA; needed if it contains several.")
@click.option("--each", is_flag=True, help="An adapter for every case, in folders case-N.")
@click.option(
    "--rank",
    type=click.IntRange(min=1),
    help="Replace changes of a higher rank by the closest ones of this rank.",
)
def export(
    delta: Path,
    model: str,
    kind: "Format",
    out: Path,
    case: int | None,
    each: bool,
    rank: int | None,
) -> None:
    """Write DELTA, as `check --save`, `guard` or a study wrote it, in a form that others can serve.

    MODEL is the unedited model: a folder, a bundled name or a .gguf file. What is written is read
    again and compared with the edited model, and only kept if it is the same. An adapter leaves the
    model as it is: unloading it takes the edit out. Its editcore.json has the SHA-256 of the
    model's weights, which `editcore fits` compares.

    Exit status: 0 if the export was proved, 2 after an error; then nothing is at --out.
    """
    from editcore.updates.delta_cases import cases_in

    if kind == "model" and (each or rank is not None):
        raise ConfigError("--each and --rank are for adapters; leave them out")
    if each and case is not None:
        raise ConfigError("--each exports every case; leave --case out")
    folder = folder_to_edit(model, out)
    file = delta_file(delta)
    cases = cases_in(file) if each else [case_of(file, case)]
    # Imported after all checks, because importing torch takes seconds.
    from editcore.runs.adhoc.export.run import edits_in, export_adapters, export_model
    from editcore.updates.adapters.base import Base

    edits = edits_in(file, cases)
    base = Base.of(model, folder)
    if kind == "model":
        proof = export_model(edits[0], base, out)
        click.echo(_sentence(out, "an edited model", proof))
        return
    named = {f"case-{edit.case}" if each else ".": edit for edit in edits}
    what = f"an adapter for {base.name}"
    for name, proof in export_adapters(kind, named, base, out, rank, say).items():
        click.echo(_sentence(out / name, what, proof))


def _sentence(place: Path, what: str, proof: str) -> str:
    return f"{place}: {what}. Proof: {proof}."


@click.command(
    short_help="Check that an exported adapter is for a model.",
    epilog=examples("editcore fits adapter path/to/model"),
)
@click.argument("adapter", type=FOLDER)
@click.argument("model")
def fits(adapter: Path, model: str) -> None:
    """Compare the weights of MODEL with those that ADAPTER was exported for.

    Exit status: 0 if they are the same, 2 if they differ or cannot be read.
    """
    from editcore.updates.adapters.base import require_base

    base = require_base(adapter, model, folder_of(model))
    click.echo(f"{adapter} is for {model}: its weights have the SHA-256 {base.sha256}")
