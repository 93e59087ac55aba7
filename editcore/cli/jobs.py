"""The commands that load a model: each runs one job file, and is one entry of a table."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from editcore.cli.examples import examples
from editcore.cli.paths import FILE, OUT_FILE, OUT_FOLDER
from editcore_lean import uncollected

if TYPE_CHECKING:
    from editcore.planning.jobs import Job


@dataclass(frozen=True)
class Output:
    """An option that names an output of a command, which only some jobs may have."""

    option: str
    type: click.Path
    help: str
    required: bool = True


@dataclass(frozen=True)
class JobCommand:
    """A command that reads one job file and calls one function with the job and the outputs.

    `job` is the class of the job, as "module:name" in `editcore.planning`; `function` is
    "module:name". Both are imported only when the command runs. `help` is the text of its own
    --help, `brief` its line in the list.
    """

    name: str
    job: str
    function: str
    outputs: tuple[Output, ...]
    brief: str
    help: str
    examples: tuple[str, ...]

    def run(self, job: Path, usage: Path | None = None, **outputs: Path) -> None:
        """Run the job in the file `job`, which is checked before anything heavy is imported."""
        from editcore.cli.process.usage import recorded
        from editcore.planning import job_check, jobs
        from editcore.registry.registry import load_registry

        task = jobs.read(self.kind(), job)
        job_check.require(task, load_registry())
        with uncollected():
            function = self.resolve()
        with recorded(usage):
            function(task, *(outputs[output.option] for output in self.outputs))

    def kind(self) -> "type[Job]":
        """The class of the job."""
        import pkgutil

        found: type[Job] = pkgutil.resolve_name(f"editcore.planning.{self.job}")
        return found

    def resolve(self) -> Callable[..., None]:
        """The function itself."""
        import pkgutil

        found: Callable[..., None] = pkgutil.resolve_name(self.function)
        return found

    def command(self) -> click.Command:
        """The command for click."""
        job = click.Option(
            ["--job"],
            required=True,
            type=FILE,
            help="The job file, as `editcore plan` writes it.",
        )
        outputs = [
            click.Option(
                [f"--{output.option}"],
                required=output.required,
                type=output.type,
                help=output.help,
            )
            for output in self.outputs
        ]
        usage = click.Option(
            ["--usage"],
            type=OUT_FILE,
            help="A JSON file for the time and memory that the whole command used.",
        )
        return click.Command(
            self.name,
            callback=self.run,
            params=[job, *outputs, usage],
            help=self.help,
            short_help=self.brief,
            epilog=examples(*self.examples),
        )


TABLE = (
    JobCommand(
        "prefixes",
        job="jobs:PrefixJob",
        function="editcore.runs.artefacts:write_prefixes",
        outputs=(Output("out", OUT_FILE, "The JSON file to write."),),
        brief="Generate the context prefixes of a model.",
        help="Generate with a model the context prefixes that its keys are averaged over, and save "
        "them.",
        examples=(
            "editcore prefixes --job results/jobs/prefixes/model=tiny-gpt2.json --out P.json",
        ),
    ),
    JobCommand(
        "rounding",
        job="jobs:RoundingJob",
        function="editcore.runs.rounding:run",
        outputs=(Output("out", OUT_FILE, "The Parquet file to write."),),
        brief="Measure what rounding a model's weights does.",
        help="Measure what rounding a model's weights to 8 and to 4 bits does to its predictions: "
        "a scale for the damage that edits do.",
        examples=(
            "editcore rounding --job results/jobs/rounding/model=tiny-gpt2.json --out R.parquet",
        ),
    ),
    JobCommand(
        "texts",
        job="jobs:TextJob",
        function="editcore.runs.artefacts:write_texts",
        outputs=(Output("out", OUT_FILE, "The JSON file to write."),),
        brief="Let a model write the texts that C is estimated from.",
        help="Let a model write texts, from which C, the second moment of its keys, is estimated "
        "if the study names no file of texts.\n\nAn interrupted run resumes from its checkpoint.",
        examples=(
            "editcore texts --job results/jobs/texts/model=M/1a2b3c4d.json --out texts.json",
        ),
    ),
    JobCommand(
        "moments",
        job="jobs:MomentJob",
        function="editcore.runs.artefacts:write_moments",
        outputs=(Output("out", OUT_FOLDER, "The folder to write, with one file per layer."),),
        brief="Estimate the second moments of a model's keys.",
        help="Estimate C, the second moment of the keys, for each layer that the job lists, in one "
        "pass.\n\nThe log names the time that it takes and, if the job has a tolerance, the tokens "
        "that were read. An interrupted run resumes from its checkpoint. If the job names "
        "published statistics, they are read instead.",
        examples=(
            "editcore moments --job results/jobs/moments/model=tiny-gpt2/1a2b3c4d.json \\",
            "  --out folder",
        ),
    ),
    JobCommand(
        "spectrum",
        job="artefacts.spectra:SpectrumJob",
        function="editcore.runs.artefacts:write_spectra",
        outputs=(Output("out", OUT_FOLDER, "The folder to write, with one file per layer."),),
        brief="Decompose the second moments of a model's keys.",
        help="Compute the eigenvalues and eigenvectors of C, the second moment of the keys, for "
        "each layer that the job lists.\n\nEditors that keep away from the directions that running "
        "text uses read them. The result is bound to the model and to the file of C.",
        examples=(
            "editcore spectrum --job results/jobs/spectra/model=tiny-gpt2/1a2b3c4d.json \\",
            "  --out folder",
        ),
    ),
    JobCommand(
        "anchor",
        job="artefacts.anchors:AnchorJob",
        function="editcore.runs.artefacts:write_anchor",
        outputs=(Output("out", OUT_FILE, "The safetensors file to write."),),
        brief="Find the norm of v* in a model before any edit.",
        help="Search for v* of many facts in the unedited model, and save the norms.\n\nWrappers "
        "such as nas compare the v* of edits with them. The result is bound to the model, the "
        "search and the facts.",
        examples=(
            "editcore anchor --job results/jobs/anchors/model=tiny-gpt2/1a2b3c4d.json \\",
            "  --out anchor.safetensors",
        ),
    ),
    JobCommand(
        "train",
        job="jobs:TrainJob",
        function="editcore.runs.artefacts:train_editor",
        outputs=(Output("out", OUT_FILE, "The safetensors file to write."),),
        brief="Train an editor for a model.",
        help="Train an editor that has to be trained for a model, and save the result.\n\nAn "
        "interrupted run resumes from its checkpoint. Other studies of the same model can name the "
        "file in the editor's options instead of training again.",
        examples=(
            "editcore train --job results/jobs/train/model=tiny-gpt2/1a2b3c4d.json \\",
            "  --out trained.safetensors",
        ),
    ),
    JobCommand(
        "values",
        job="jobs:ValueJob",
        function="editcore.runs.artefacts:write_values",
        outputs=(Output("out", OUT_FILE, "The safetensors file to write."),),
        brief="Search for v* of the cases of one shard.",
        help="Search for v*, the values that make a model predict the new objects, and save them."
        "\n\nEditors that differ only in their keys share these values.",
        examples=(
            "editcore values --out shard-000.safetensors \\",
            "  --job results/jobs/values/model=M/values-1a2b3c4d/dataset=hard/shard-000.json",
        ),
    ),
    JobCommand(
        "edit",
        job="jobs:EditJob",
        function="editcore.runs.edit:run",
        outputs=(
            Output("out", OUT_FILE, "The Parquet file to write, one row per case."),
            Output("deltas", OUT_FILE, "The safetensors file of weight changes."),
            Output(
                "answers",
                OUT_FILE,
                "The Parquet file of free answers, if the job asks for them.",
                required=False,
            ),
        ),
        brief="Edit the cases of one shard and measure each edited model.",
        help="Edit the cases of one shard, each from the unedited model, and measure each edited "
        "model.",
        examples=(
            "editcore edit --out shard-000.parquet --deltas shard-000.safetensors \\",
            "  --job results/jobs/edits/model=tiny-gpt2/editor=E/dataset=hard/shard-000.json",
        ),
    ),
    JobCommand(
        "sequence",
        job="jobs:SequenceJob",
        function="editcore.runs.sequence.run:run",
        outputs=(
            Output("out", OUT_FILE, "The Parquet file to write, one row per step."),
            Output("deltas", OUT_FILE, "The safetensors file of all weight changes."),
        ),
        brief="Edit facts one after another, measuring the model.",
        help="Edit facts one after another in one model, and measure the model along the way."
        "\n\nAn interrupted run resumes from its last checkpoint, a hidden file next to --out.",
        examples=(
            "editcore sequence --out seed-0.parquet --deltas seed-0.safetensors \\",
            "  --job results/jobs/sequences/model=tiny-gpt2/editor=E/dataset=hard/seed-0.json",
        ),
    ),
    JobCommand(
        "downstream",
        job="stages.jobs:DownstreamJob",
        function="editcore.runs.finished.downstream:run",
        outputs=(Output("out", OUT_FILE, "The Parquet file to write, one row per edit and task."),),
        brief="Evaluate edited models on lm-eval tasks.",
        help="Evaluate a model and selected edited models on lm-eval tasks; edited models are not "
        "written to disk.\n\nThe edits must be finished: their rows and weight changes are read.",
        examples=(
            "editcore downstream --job results/jobs/downstream/model=tiny-gpt2.json \\",
            "  --out scores.parquet",
        ),
    ),
    JobCommand(
        "survive",
        job="stages.jobs:SurvivalJob",
        function="editcore.runs.finished.survival:run",
        outputs=(
            Output("out", OUT_FILE, "The Parquet file to write, one row per edit and treatment."),
        ),
        brief="Measure what rounding, pruning and fine-tuning leave of edits.",
        help="Round, prune and fine-tune selected edited models, and measure what is left of the "
        "edits; treated models are not written to disk.\n\nThe edits must be finished: their rows "
        "and weight changes are read. Edits that are not weight changes are left out.",
        examples=(
            "editcore survive --job results/jobs/survival/model=tiny-gpt2.json \\",
            "  --out survival.parquet",
        ),
    ),
    JobCommand(
        "layers",
        job="stages.jobs:LayersJob",
        function="editcore.runs.layers:run",
        outputs=(
            Output("out", OUT_FILE, "The Parquet file to write, one row per case and layer."),
        ),
        brief="Compare bare and mean keys at every layer.",
        help="Compare the key of each subject in the bare prompt with its mean key after the "
        "prefixes, at every layer of a model.\n\nWhere the two differ, an update with mixed keys "
        "has a small denominator and is large.",
        examples=(
            "editcore layers --job results/jobs/layers/model=tiny-gpt2.json --out layers.parquet",
        ),
    ),
    JobCommand(
        "mechanism",
        job="stages.jobs:MechanismJob",
        function="editcore.runs.mechanism.run:run",
        outputs=(Output("out", OUT_FOLDER, "The folder to write, with one file per table."),),
        brief="Measure why edits collapse one model.",
        help="Run the experiments on keys, denominators, prefixes and positions; each writes one "
        "table.",
        examples=(
            "editcore mechanism --job results/jobs/mechanism/model=tiny-gpt2.json \\",
            "  --out results/mechanism/model=tiny-gpt2",
        ),
    ),
)


JOB_COMMANDS = {entry.name: entry.command() for entry in TABLE}


def renamed(old: str, command: click.Command) -> click.Command:
    """A command under its old name: hidden from --help, with a warning on the error stream."""
    return click.Command(
        old,
        callback=command.callback,
        params=command.params,
        help=command.help,
        hidden=True,
        deprecated=f"It is now called {command.name!r}; the next release removes the old name.",
    )
