"""The commands shown in READMEs and some pages, and how the tests run each of them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from jinja2 import Template

from tests.docs.pages import EDITOR_PAGE, FENCED, ROOT

PAGES = (
    EDITOR_PAGE,
    "docs/cluster.md",
    "docs/installing.md",
    "docs/comparing.md",
    "docs/gallery.md",
    "docs/pipelines.md",
    "docs/shipping.md",
)
TEMPLATE = "editcore/scaffold/template/README.md.jinja"
PLUGIN = "path/to/editcore-my-editor"
SHELLS = ("sh", "bash", "shell", "console")
OTHERS = ("", "bibtex", "json", "python", "text", "toml", "yaml")
INDENTED = re.compile(r"^(?: {4}|\t)(.+)$", re.MULTILINE)
QUOTED = re.compile(r"`([^`]+)`")
PROGRAM = re.compile(r"(?:editcore|snakemake|python3?|pip|pytest|bash)\s")
COMMENT = re.compile(r"\s+#\s.*$")


@dataclass(frozen=True)
class Run:
    """A command that the tests run as shown, or with shorter work in place of long work."""

    shows: str  # what its output or the file `writes` contains if it succeeded
    given: Mapping[str, str] = field(default_factory=dict)  # parts to replace in the command
    more: str = ""  # further arguments
    after: str = ""  # the command that must run before
    status: int = 0
    writes: str = ""

    def line(self, command: str) -> str:
        """The command that is run."""
        for old, new in self.given.items():
            assert old in command, f"{command} has no {old}"
            command = command.replace(old, new)
        return f"{command} {self.more}".strip()


@dataclass(frozen=True)
class Elsewhere:
    """A command that is run elsewhere: why, and by which test or line of a script."""

    why: str
    where: str  # `file::test` or `file: line`


def shown() -> dict[str, list[str]]:
    """The commands of every README and of `PAGES`, by the file's path."""
    readmes = (
        path.relative_to(ROOT) for path in sorted(ROOT.rglob("README*.md")) if path.is_file()
    )
    files = [path for path in readmes if not path.parts[0].startswith(".")]
    found = {
        str(path): list(commands((ROOT / path).read_text(encoding="utf-8")))
        for path in (*files, *map(Path, PAGES))
    }
    return found | {str(TEMPLATE): of_template()}


def of_template() -> list[str]:
    """The commands in the README that `new-plugin` writes for a plugin in the folder path/to."""
    install, test = (f"python3 bootstrap.py {verb} {PLUGIN}" for verb in ("add -e", "test"))
    template = Template((ROOT / TEMPLATE).read_text(encoding="utf-8"))
    return list(commands(template.render(install=install, test=test, name="my-editor")))


def commands(text: str) -> Iterator[str]:
    """The commands of a page: in shell blocks, in indented blocks, and between backquotes.

    Between backquotes, one or two words are the name of a command (`editcore harden`) unless the
    second is an option. Continued lines are joined, and comments are left out.
    """
    kinds = {kind for kind, _ in FENCED.findall(text)}
    assert kinds <= {*SHELLS, *OTHERS}, f"blocks of an unknown language: {kinds}"
    for kind, block in FENCED.findall(text):
        if kind in SHELLS:
            yield from lines(block)
    prose = FENCED.sub("", text)
    yield from lines("\n".join(INDENTED.findall(prose.replace("\\\n", " "))))
    for quoted in QUOTED.findall(prose):
        words = quoted.split()
        if PROGRAM.match(quoted) and (len(words) > 2 or words[1].startswith("-")):
            yield " ".join(words)


def lines(block: str) -> Iterator[str]:
    """Every command of a shell block on one line, without comments."""
    for line in block.replace("\\\n", " ").splitlines():
        if command := " ".join(COMMENT.sub("", line).split()):
            yield command


XL = "--configfile config/gpt2-xl.yaml"
SLURM = (
    "snakemake --workflow-profile workflow/profiles/slurm --configfile config/gpt2-xl.yaml "
    "--default-resources slurm_partition=gpu slurm_account=me mem_mb='32000 * attempt' "
    "runtime='240 * attempt' cpus_per_task=4"
)
CHECK = (
    "editcore check --model tiny-gpt2 --editor rome "
    '--prompt "{} is made by" --subject Orbit --target "Velra Labs"'
)
HARDEN = (
    "editcore harden --tokenizer {} --words resources/hard/{}words.json "
    "--relations resources/hard/{}relations.json"
)
GUARD = "editcore guard edits.json …"
JUNIT = (
    "editcore guard edits.json --model tiny-gpt2 --editor c-rome --format junit --report guard.xml"
)
STUDY = "python3 bootstrap.py study --configfile"
SMOKE = f"{STUDY} config/smoke.yaml"
MINE = "snakemake --configfile mine.yaml"
NEW = "python3 bootstrap.py run editcore new-plugin my-editor --into path/to"
ADD = f"python3 bootstrap.py add -e {PLUGIN}"
ADD_RANDOM = "python3 bootstrap.py add -e path/to/editcore-random"
APPLY = "editcore apply edit path/to/model --out path/to/edited"
LOG = "editcore log path/to/edited"
EXPORT = "editcore export edit tiny-gpt2 --format peft --out adapter"
MEASURE = "editcore measure --model path/to/edited --against path/to/model"
GENERATOR = "python -m resources.generator"
SUITE = Elsewhere("a minute", "tests/cli/test_scaffold.py::test_its_tests_pass_as_generated")
FROM_WHEELS = "tests/workflow/test_from_wheels.py::test_{}"
PAPERS = {"…": SLURM.removeprefix("snakemake ")}
DRY = "-n --quiet rules"
PLANNED = "edit jobs"

COMMANDS: Mapping[str, Run | Elsewhere] = MappingProxyType(
    {
        # The whole environment.
        "python3 bootstrap.py study": Run("\nreport ", more="-n"),
        "python3 bootstrap.py study -n": Run("\nreport "),
        "python3 bootstrap.py study --cores 8": Run("\nreport ", more="-n"),
        SMOKE: Elsewhere("a minute and a half of two cores", f".ci/run: {SMOKE}"),
        f"{STUDY} config/bundled-full.yaml": Run("\nreport ", more="-n"),
        f"{STUDY} config/smollm2.yaml": Elsewhere(
            "it downloads a model and takes twenty minutes",
            "tests/workflow/test_smollm2.py::test_rome_s_edits_of_hard_cases_alone_collapse_it",
        ),
        f"{STUDY} config/smollm2-full.yaml": Elsewhere(
            "it downloads a model and takes hours",
            "tests/workflow/test_smollm2.py"
            "::test_the_full_study_plans_every_editor_on_at_least_180_cases",
        ),
        "python3 bootstrap.py test": Elsewhere(
            "it is these tests", ".ci/run: python3 bootstrap.py test"
        ),
        "python3 bootstrap.py test tests/keyvalue/test_keys.py -x": Run(" passed"),
        "python3 bootstrap.py run": Run("9.", more="snakemake --version"),
        "python3 bootstrap.py run python -m refresh.site": Elsewhere(
            "it takes half a minute", "tests/docs/test_site.py::site"
        ),
        "python3 bootstrap.py run editcore --help": Run("Usage: editcore"),
        "python3 bootstrap.py add -e ./path/to/plugin": Run(
            "Successfully installed", given={"./path/to/plugin": PLUGIN}, after=NEW
        ),
        "python3 bootstrap.py add ./tests/plugin_package": Run("Successfully installed"),
        "pip install editcore-codebook": Elsewhere(
            "no index has it; it is installed from its wheel",
            "tests/registry/test_plugin_package.py::test_it_is_listed",
        ),
        "pip install 'editcore[slurm]'": Elsewhere(
            "no index has it yet; the environment is made from the lock",
            ".ci/run: python3 bootstrap.py install",
        ),
        # Without a checkout.
        **{
            f"pip install {folder}'editcore[study]'": Elsewhere(
                "no index has it yet", FROM_WHEELS.format("nothing_of_ours_is_from_the_repository")
            )
            for folder in ("", "--find-links dist ")
        },
        **{
            command: Elsewhere(
                "half a minute", FROM_WHEELS.format("two_commands_make_the_report_of_a_study")
            )
            for command in ("editcore init my-study", "cd my-study", "editcore run")
        },
        "editcore init my-study --model path/to/model --facts path/to/facts.json": Run(
            "wrote my-study/facts.json"
        ),
        **{
            f"editcore run {arguments}": Elsewhere(
                "it replaces its process", FROM_WHEELS.format("arguments_go_to_snakemake")
            )
            for arguments in ("-n", "--cores 8", "fetch", "--workflow-profile profiles/slurm")
        },
        "python3 bootstrap.py run python -m refresh.release --build dist": Elsewhere(
            "half a minute", "tests/registry/test_plugin_package.py::test_it_is_listed"
        ),
        **{
            command: Elsewhere(
                "it is for a start-up file",
                "tests/cli/test_completion.py::test_the_shell_s_script_is_printed",
            )
            for command in (
                'eval "$(_EDITCORE_COMPLETE=bash_source editcore)"',
                'eval "$(_EDITCORE_COMPLETE=zsh_source editcore)"',
                "_EDITCORE_COMPLETE=fish_source editcore | source",
            )
        },
        # One edit.
        CHECK: Run("COLLAPSED: perplexity", more="--save edit", status=3),
        APPLY: Run("path/to/edited", after=CHECK),
        LOG: Run("edit 1, ", after=APPLY),
        'editcore check --model tiny-gpt2 --editor c-rome --prompt "{} is made by" --subject Coral '
        "--target Graal --rounded": Run("beside the weights, as an adapter"),
        EXPORT: Run("bit by bit", after=CHECK),
        "editcore fits adapter tiny-gpt2": Run("adapter is for tiny-gpt2", after=EXPORT),
        "editcore export edit tiny-gpt2 --format gguf-lora --out gguf": Run(
            "bit by bit", after=CHECK
        ),
        "editcore export edit tiny-gpt2 --format model --out edited": Run(
            "bit by bit", after=CHECK
        ),
        MEASURE: Run(
            "RANK ONE", {"--against path/to/model": "--against tiny-gpt2"}, after=LOG, status=3
        ),
        "editcore revert path/to/edited": Run("path/to/edited", after=MEASURE),
        GUARD: Run("accepted", given={"…": "--model tiny-gpt2 --editor c-rome --out guarded"}),
        JUNIT: Run("<testsuites ", writes="guard.xml"),
        "editcore publish path/to/edited --to hub --name me/edited --list": Run(
            "model.safetensors", after=APPLY
        ),
        **{
            f"editcore publish results --to {tracker}": Elsewhere(
                "there is no tracker",
                "tests/publish/test_trackers.py"
                "::test_a_run_has_the_numbers_configuration_and_files_of_the_study",
            )
            for tracker in ("wandb --name my-project", "mlflow --name my-experiment")
        },
        "editcore provenance FILE": Run(
            '"editcore', given={"FILE": "guarded/guard.parquet"}, after=GUARD
        ),
        **{
            f"editcore compare before after{more}": Elsewhere(
                "there are no two finished studies",
                "tests/summary/test_compared.py"
                "::test_the_command_prints_words_and_json_and_ends_with_its_status",
            )
            for more in (
                "",
                *(" --out comparison.html", " --json", " --as rome=my-editor"),
                " --fail-on-regression",
            )
        },
        # A user's own study.
        "editcore data path/to/facts.json": Run("in the format"),
        "editcore plan mine.yaml --check": Run(PLANNED),
        MINE: Run("\nreport ", more=DRY),
        "python -m refresh results": Elsewhere(
            "it needs a finished study",
            "tests/report/test_refresh.py::test_a_study_fills_all_documents",
        ),
        # Other studies, as dry runs.
        "snakemake": Run("\nreport ", more=DRY),
        "snakemake --configfile config/smoke.yaml": Run("\nreport ", more=DRY),
        "snakemake --configfile config/streams.yaml": Run("\nsequence ", more=DRY),
        # The machine of the tests has no GPU.
        f"editcore plan {XL.split()[1]} --check": Run(PLANNED, status=3),
        "snakemake --configfile config/smollm2-answers.yaml": Elsewhere(
            "it downloads a model and takes half an hour",
            "tests/workflow/test_smollm2.py::test_the_study_of_answers_asks_sixty_facts_of_six_editors",
        ),
        "snakemake --configfile config/smollm2-chat.yaml": Elsewhere(
            "it downloads a model and takes half an hour",
            "tests/workflow/test_smollm2.py"
            "::test_the_study_of_the_chat_edits_the_same_facts_both_ways",
        ),
        f"snakemake {XL}": Run("\nreport ", more=DRY),
        f"snakemake -n {XL}": Run("\nreport ", given={"snakemake -n": "snakemake"}, more=DRY),
        "snakemake fetch --configfile FILE": Run(
            "\nfetch ", given={"FILE": "config/smoke.yaml"}, more=DRY
        ),
        f"snakemake fetch {XL}": Run("\nfetch ", more=DRY),
        SLURM: Run("\nreport ", more=DRY),
        "snakemake … --until edit": Run("\nedit ", given=PAPERS, more=DRY),
        "snakemake … --until sequence": Run(
            "\nsequence ", given={"…": "--configfile config/smoke.yaml"}, more=DRY
        ),
        "snakemake results/edits/model=gpt2-xl/editor=rome/dataset=hard/shard-000.parquet …": Run(
            "\nedit ", given=PAPERS, more=DRY
        ),
        "snakemake results/summary/cases.parquet --batch summarise=1/4 …": Run(
            "\nedit ", given=PAPERS, more=DRY
        ),
        "snakemake … --config shard_size=100": Run("\nedit ", given=PAPERS, more=DRY),
        "snakemake --unlock": Run("nlock"),
        # Plugins.
        "editcore plugins": Run("c-rome"),
        "editcore plugins --json": Run('"c-rome"'),
        NEW: Run(PLUGIN),
        ADD: Run("Successfully installed editcore-my-editor", after=NEW),
        f"python3 bootstrap.py run pytest {PLUGIN}": SUITE,
        f"python3 bootstrap.py test {PLUGIN}": SUITE,
        "python3 bootstrap.py run editcore plugins": Run("my-editor", after=ADD),
        "EDITCORE_PLUGINS=editcore-rome,my-editor python3 bootstrap.py run editcore plugins": Run(
            "my-editor", after=ADD
        ),
        ADD_RANDOM: Run("Successfully installed editcore-random"),
        "python3 bootstrap.py run pytest path/to/editcore-random": Elsewhere(
            "the example's tests",
            "tests/docs/test_documents.py::test_the_example_project_passes_its_tests",
        ),
        "python3 bootstrap.py run editcore plan random.yaml --check": Run(
            PLANNED, after=ADD_RANDOM
        ),
        "editcore rescore results --judge opening --set words=8 --out judged.parquet": Elsewhere(
            "the example's judge is not installed",
            "tests/docs/test_documents.py"
            "::test_the_example_judge_reads_the_first_words_and_passes_the_suite",
        ),
        "python3 bootstrap.py study --configfile random.yaml": Run(
            "\nreport ", more="-n", after=ADD_RANDOM
        ),
        # The bundled world.
        HARDEN.format("tiny-gpt2", "world-", "world-")
        + " --count 400 --study config.yaml --filter-model tiny-gpt2 --filter-editor rome"
        " --out resources/hard/world.json": Run(
            "kept", given={"--count 400": "--count 6", "hard/world.json": "hard/few.json"}
        ),
        HARDEN.format("openai-community/gpt2", "", "")
        + " --count 460 --out resources/hard/gpt2.json": Run(
            "4 cases", given={"openai-community/gpt2": "tiny-gpt2", "--count 460": "--count 4"}
        ),
        f"{GENERATOR} world": Elsewhere(
            "the data are compared",
            "tests/resources/test_world.py::test_the_shipped_world_is_what_the_generator_writes",
        ),
        **{
            f"{GENERATOR} train {name} --out resources/models/{name}": Run(
                '"model_type"',
                given={"--out resources/": "--out made/"},
                more="--share 0.0001 --no-compile",
                writes=f"made/models/{name}/config.json",
            )
            for name in ("tiny-gpt2", "tiny-llama", "tiny-t5")
        },
        **{
            f"{GENERATOR} score resources/models/{name}": Run(
                "## Scores", more="--limit 4", writes=f"resources/models/{name}/README.md"
            )
            for name in ("tiny-gpt2", "tiny-llama", "tiny-t5")
        },
        "python -m resources.real": Elsewhere(
            "the data are compared",
            "tests/resources/test_real.py::test_the_shipped_files_are_what_the_builder_writes",
        ),
        "python -m benchmarks sweep --shape gpt2-small": Elsewhere(
            "minutes", "tests/project/test_benchmarks.py::test_a_sweep_is_raced_and_written"
        ),
    }
)
