"""The repository follows its own rules: imports, names, pins, links, and clean lint."""

import ast
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from editcore.registry.candidates import BUILTIN
from editcore.registry.registry import load_registry
from refresh.release import projects

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
CHECKS = {
    "ruff check": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "mypy": ["mypy"],
    "snakefmt": ["snakefmt", "--check", "workflow"],
    "snakemake --lint": ["snakemake", "--lint"],
}
# Assembled from parts, so that this file passes its own test.
HOSTS = tuple(a + b for a, b in (("pypi", ".org"), ("python", "hosted"), ("npmjs", ".org")))
MACHINE_PATH = re.compile(r"(?<![\w.:/])/(?:root|work|home|opt)/")
UNFINISHED = tuple(a + b for a, b in (("TO", "DO"), ("FIX", "ME"), ("NotImplemented", "Error")))
# Libraries of services and of GPUs that nothing here needs, so they have no pins.
UNPINNED = {"bitsandbytes", "wandb", "mlflow-skinny"}
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def tracked(*suffixes: str) -> list[Path]:
    """The files that git knows, those with one of `suffixes` if any are given."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [f for f in files if f.is_file() and (not suffixes or f.suffix in suffixes)]


def texts() -> Iterator[tuple[Path, str]]:
    """Every tracked text file with its content."""
    for file in tracked():
        try:
            yield file.relative_to(ROOT), file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


@pytest.mark.parametrize("name", CHECKS)
def test_lint_is_clean(name: str) -> None:
    program, *arguments = CHECKS[name]
    run = subprocess.run([str(BIN / program), *arguments], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_a_study_is_planned_without_torch() -> None:
    code = (
        "import sys; from pathlib import Path; from editcore.config import study;"
        "from editcore.planning import planner;"
        "planned = planner.plan(study.load(Path('config.yaml')), 'config.yaml');"
        "print(len(planned.edits) >= 8, 'torch' in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == ["True", "False"]


def plugin_names() -> set[str]:
    """Names by which the library could refer to a plugin: distributions, modules, editors."""
    registry = load_registry()
    editors = [e for e in registry.editors.values() if e.source.distribution != "editcore"]
    distributions = {e.source.distribution for e in editors}
    modules = {name.replace("-", "_") for name in distributions}
    return distributions | modules | {e.record.name for e in editors}


def docstring_starts(tree: ast.AST) -> set[tuple[int, int]]:
    """The line and column of each docstring."""
    starts: set[tuple[int, int]] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                starts.add((first.lineno, first.col_offset))
    return starts


def outside_docstrings(text: str) -> Iterator[tokenize.TokenInfo]:
    """The tokens of a module outside docstrings: names, strings, comments and the rest."""
    skipped = docstring_starts(ast.parse(text))
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.start not in skipped:
            yield token


def named(text: str, names: set[str]) -> list[int]:
    """The lines where a module names one of `names`, as `grep -wi` would, outside docstrings."""
    pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, names))})\b", re.IGNORECASE)
    return [t.start[0] for t in outside_docstrings(text) if pattern.search(t.string)]


# Names of plugins that are also names of file formats, which `editcore export` writes.
FORMATS = {"lora"}


def test_the_library_names_no_plugin() -> None:
    names = plugin_names()
    assert {"rome", "c-rome", "memit", "ft", "editcore_rome"} <= names
    found = [
        f"{file.relative_to(ROOT)}:{line}"
        for file in tracked(".py")
        if file.is_relative_to(ROOT / "editcore")
        for line in named(file.read_text(encoding="utf-8"), (names | {"mend"}) - FORMATS)
    ]
    assert found == []


@pytest.mark.parametrize(
    "line", ['x = "after ROME"', "x = 1  # as rome does", 'x = f"{y} Rome {z}"']
)
def test_a_plugin_s_name_is_found_in_strings_and_comments(line: str) -> None:
    assert named(f'"""Docstrings may say ROME."""\n{line}\n', {"rome"}) == [2]


def test_every_shipped_plugin_loads() -> None:
    registry = load_registry()
    assert registry.failures == []
    shipped = {
        tomllib.loads(p.read_text())["project"]["name"]
        for p in ROOT.glob("plugins/*/pyproject.toml")
    }
    provided = (*registry.editors.values(), *registry.transforms.values())
    assert shipped <= {entry.source.distribution for entry in provided}
    assert BUILTIN.startswith("editcore.")


def test_tracked_files_name_no_machine_and_no_index() -> None:
    found = [
        f"{file}: {match}"
        for file, text in texts()
        for match in [*MACHINE_PATH.findall(text), *(host for host in HOSTS if host in text)]
    ]
    assert found == []


def test_nothing_is_left_unfinished() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{token.start[0]}: {token.string}"
        for file in tracked(".py")
        for token in tokens(file)
        if any(re.search(rf"\b{word}\b", token.string) for word in UNFINISHED)
    ]
    assert found == []


def tokens(file: Path) -> Iterator[tokenize.TokenInfo]:
    """The names and comments of a Python file."""
    with tokenize.open(file) as stream:
        for token in tokenize.generate_tokens(stream.readline):
            if token.type in (tokenize.NAME, tokenize.COMMENT):
                yield token


def test_source_files_stay_short() -> None:
    lengths = {f.relative_to(ROOT): len(f.read_text().splitlines()) for f in tracked(".py")}
    assert {f: n for f, n in lengths.items() if n > 400} == {}
    assert len((ROOT / "workflow" / "Snakefile").read_text().splitlines()) <= 60


def pins() -> dict[str, str]:
    """The pinned version of every distribution in `requirements.lock`, by canonical name."""
    out: dict[str, str] = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if not line.startswith("#"):
            match = re.fullmatch(r"([A-Za-z0-9._-]+)==([0-9][A-Za-z0-9.]*)", line)
            assert match, f"{line!r} is not an exact pin"
            out[canonicalize_name(match[1])] = match[2]
    return out


def declared(pyproject: Path) -> Iterator[Requirement]:
    """Every requirement of a project, those of its extras included."""
    project = tomllib.loads(pyproject.read_text())["project"]
    for group in [
        project.get("dependencies", []),
        *project.get("optional-dependencies", {}).values(),
    ]:
        yield from map(Requirement, group)


def test_the_pins_satisfy_every_declared_requirement() -> None:
    locked = pins()
    files = [folder / "pyproject.toml" for folder in projects(ROOT)]
    own = {tomllib.loads(file.read_text())["project"]["name"] for file in files}
    for pyproject in files:
        for requirement in declared(pyproject):
            name = canonicalize_name(requirement.name)
            if name not in own | UNPINNED:
                assert name in locked, f"{requirement} of {pyproject} is not pinned"
                assert requirement.specifier.contains(locked[name]), (
                    f"{requirement}: {locked[name]}"
                )


def test_links_between_documents_are_valid() -> None:
    dead = [
        f"{file.relative_to(ROOT)}: {target}"
        for file in tracked(".md")
        for target in LINK.findall(file.read_text(encoding="utf-8"))
        if "://" not in target and not (file.parent / target).exists()
    ]
    assert dead == []
