"""Nothing that is read can run code, and no name leads out of its folder."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from editcore.config.plain_yaml import PlainLoader
from editcore.config.study import StudyConfig, parse
from editcore.datasets.task_files import _Reader
from editcore.errors import ConfigError
from editcore.planning import paths
from tests.studies import study_config

ROOT = Path(__file__).parents[2]
SHIPPED = ("bootstrap.py", "editcore", "plugins", "resources", "benchmarks", "workflow")
UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
UNSAFE_CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen",
    "torch.load", "torch.save", "torch.hub.load", "pandas.read_pickle", "pd.read_pickle",
    "yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "yaml.unsafe_load_all",
}  # fmt: skip
SAFE_LOADERS = {"PlainLoader", "_Reader"}
# Labels that must not be allowed.
ESCAPES = ("..", ".", "../up", "/etc", "a/b", "a\\b", "~", "", " ", "a\n", "a\x00", "{x}", "é", "*")


def modules() -> Iterator[tuple[Path, ast.AST]]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", *SHIPPED], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.split("\0"):
        if name.endswith(".py") and (ROOT / name).is_file():
            yield Path(name), ast.parse((ROOT / name).read_text(encoding="utf-8"))


def dangers(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported = {alias.name.split(".")[0] for alias in node.names}
            yield from imported & UNSAFE_MODULES
        elif isinstance(node, ast.ImportFrom) and node.module in UNSAFE_MODULES:
            yield node.module
        elif isinstance(node, ast.Call):
            yield from dangers_of_call(node)


def dangers_of_call(call: ast.Call) -> Iterator[str]:
    name, named = ast.unparse(call.func), {k.arg: ast.unparse(k.value) for k in call.keywords}
    if name in UNSAFE_CALLS:
        yield name
    if name == "yaml.load" and named.get("Loader") not in SAFE_LOADERS:
        yield f"{name} with {named.get('Loader')}"
    if name.endswith("np.load") and named.get("allow_pickle") != "False":
        yield f"{name} that may unpickle"
    if named.get("shell") == "True":
        yield f"{name} through a shell"
    if named.get("trust_remote_code") == "True":
        yield f"{name} with trust_remote_code"
    loads = name.startswith("AutoModel") and name.endswith(".from_pretrained")
    if loads and named.get("use_safetensors") != "True":
        yield f"{name} without use_safetensors"


def test_no_call_can_run_what_it_reads() -> None:
    found = [f"{file}: {danger}" for file, tree in modules() for danger in dangers(tree)]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(path, weights_only=True)",
        "yaml.load(text)",
        "yaml.load(text, Loader=yaml.Loader)",
        "np.load(path)",
        "subprocess.run(line, shell=True)",
        "AutoModelForCausalLM.from_pretrained(x, trust_remote_code=True, use_safetensors=True)",
        "AutoModelForCausalLM.from_pretrained(x)",
        "eval(text)",
    ],
)
def test_the_search_finds_each_danger(code: str) -> None:
    assert list(dangers(ast.parse(code)))


def test_the_loaders_of_yaml_are_safe_ones() -> None:
    assert {kind.__name__ for kind in (PlainLoader, _Reader)} == SAFE_LOADERS
    assert issubclass(PlainLoader, yaml.SafeLoader)
    assert issubclass(_Reader, yaml.SafeLoader)


@pytest.mark.parametrize("section", ["models", "editors", "datasets"])
@pytest.mark.parametrize("label", ESCAPES)
def test_no_label_leaves_its_folder(section: str, label: str) -> None:
    content = {"models": {}, "editors": {}, "datasets": {"path": "x"}}[section]
    with pytest.raises(ConfigError, match="labels may only contain"):
        parse(study_config(**{section: {label: content}}), "study.yaml")


def test_every_path_of_results_is_made_of_labels_numbers_and_digests() -> None:
    names = ("model", "editor", "dataset", "000")
    for make in (paths.edits, paths.deltas, paths.edits_job):
        assert paths.RESULTS in make(*names).parents


def test_remote_code_is_off_unless_enabled_and_this_is_recorded() -> None:
    assert StudyConfig.model_validate(study_config()).models["tiny"].trust_remote_code is False


def test_the_documentation_says_what_plugins_may_do() -> None:
    text = (ROOT / "docs" / "writing-an-editor.md").read_text(encoding="utf-8")
    assert re.search(r"plugin.*runs with (your|the user's) permissions", " ".join(text.split()))
