"""Kinds of malformed input, each a strategy of attacks on the small study."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import yaml
from hypothesis import strategies as st

from editcore.cli import main
from tests.fuzzing import changes, world
from tests.fuzzing.attack import OUT, Attack

Attacks = st.SearchStrategy[Attack]
STUDY = ("--study", world.STUDY_FILE)
PLAN = ("plan", "study.yaml", "--check")
TAGS = (
    "!!bool x", "!!set [1]", "!!map [1]", "!!timestamp x", "!!binary x", "!!python/name:os.system",
    "!!int x", "!!float x", "!!omap [1]", "!!pairs 3", "!x y", "&a [*a]", "*b", "2001-99-99", "[",
    "{", "? [a]", ".nan", ".inf", "0o9", "1_000", "<<: {}", "\t", "- - -", "'", "|", "%", "@",
)  # fmt: skip


def config() -> Attacks:
    """Studies: as data, and as text that may not be YAML."""
    sound = Path("study.yaml").read_bytes()
    as_data = changes.changed(world.STUDY, large=True).map(_yaml)
    lines = sound.decode().splitlines()
    as_text = st.tuples(st.integers(0, len(lines) - 1), st.sampled_from(TAGS)).map(
        lambda it: _with_tag(lines, *it)
    )
    return _of(PLAN, "study.yaml", as_data | as_text | changes.damaged(sound))


def _yaml(document: Any) -> bytes:
    # JSON is YAML, and can represent every text and number.
    return json.dumps(document).encode() if document != {} else yaml.safe_dump(document).encode()


def _with_tag(lines: Sequence[str], number: int, tag: str) -> bytes:
    start, colon, _ = lines[number].partition(":")
    return "\n".join([*lines[:number], f"{start}{colon} {tag}", *lines[number + 1 :]]).encode()


def records() -> Attacks:
    """Facts, texts, tasks, words and relations, as commands read them."""
    facts = st.sampled_from(world.RECORDS).flatmap(lambda sound: changes.changed([sound, sound]))
    lines = facts.map(lambda some: b"\n".join(map(changes.as_json, _list(some))))
    guard = ("guard", "--model", "model", *world.ROME, "--out", str(OUT / "guarded"))
    harden = (
        "harden", "--tokenizer", "model", "--words", "data/words.json",
        "--relations", "data/relations.json", "--count", "1", "--out", str(OUT / "hard.json"),
    )  # fmt: skip
    mine = ("mine", *STUDY, "--out", str(OUT))
    sound = Path("data/facts.json").read_bytes()
    as_json = facts.map(changes.as_json) | changes.damaged(sound)
    return st.one_of(
        _of(PLAN, "data/facts.json", as_json),
        _of(mine, "data/facts.json", as_json),
        _of(("data", "data/facts.json"), "data/facts.json", as_json),
        _of((*guard, "data/facts.json"), "data/facts.json", as_json),
        _of((*guard, "data/lines.jsonl"), "data/lines.jsonl", lines),
        _of(PLAN, "data/texts.json", _json("data/texts.json")),
        _of(PLAN, "data/task.yaml", _task()),
        _of(_command("downstream"), "data/items.jsonl", _damaged("data/items.jsonl")),
        _of(harden, "data/words.json", _json("data/words.json")),
        _of(harden, "data/relations.json", _json("data/relations.json")),
    )


def _list(some: Any) -> list[Any]:
    return some if isinstance(some, list) else [some]


def _task() -> st.SearchStrategy[bytes]:
    sound = yaml.safe_load(world.TASK)
    return changes.changed(sound).map(_yaml) | changes.damaged(world.TASK.encode())


def jobs() -> Attacks:
    """Job files and the study's manifest, for each command that reads them."""
    done = [_of(arguments, str(job), _json(str(job))) for job, arguments in world.jobs(OUT)]
    gathered = [
        _of(arguments, world.STUDY_FILE, _json(world.STUDY_FILE))
        for arguments in world.summaries(str(OUT))
        if arguments[0] != "report"
    ]
    return st.one_of(*done, *gathered)


def artefacts() -> Attacks:
    """Files that one command wrote, changed before another reads them."""
    return st.one_of(*[_of(a, file, _any(file)) for file, a in _readers()])


def _readers() -> list[tuple[str, tuple[str, ...]]]:
    """Each file of results with the commands that read it."""
    found: list[tuple[str, tuple[str, ...]]] = []
    for job, arguments in world.jobs(OUT):
        named = job.read_text()
        for folder in ("artefacts", "edits", "deltas"):
            files = sorted(file for file in Path("results", folder).rglob("*.*") if file.is_file())
            found += [(str(file), arguments) for file in files if str(file) in named]
    summarise, sequences, layers, rounding, correlate, mechanism, mine, _ = world.summaries(
        str(OUT)
    )
    found += [(str(f), summarise) for f in sorted(Path("results/edits").rglob("*.parquet"))]
    found += [
        (str(f), ("doctor", "--results", "results"))
        for f in sorted(Path("results/edits").rglob("*.parquet"))
    ]
    found += [(str(f), sequences) for f in sorted(Path("results/sequences").rglob("*.parquet"))]
    found += [(str(f), layers) for f in sorted(Path("results/layers").rglob("*.parquet"))]
    found += [(str(f), rounding) for f in sorted(Path("results/rounding").rglob("*.parquet"))]
    found += [(str(f), correlate) for f in sorted(Path("results/downstream").rglob("*.parquet"))]
    found += [(str(f), mechanism) for f in sorted(Path("results/mechanism").rglob("*.parquet"))]
    found += [(world.CASES, a) for a in (correlate, mechanism, mine)]
    deltas = sorted(map(str, Path("results/deltas").rglob("*.safetensors")))
    found += [(file, correlate) for file in deltas]
    found += [(file, ("provenance", file)) for file in (*deltas, world.CASES)]
    rome = next(file for file in deltas if "editor=rome" in file)
    found += [(rome, ("apply", rome, "model", "--case", "10", "--out", str(OUT / "edited")))]
    guarded = "guarded/delta.safetensors"
    found += [(guarded, ("apply", "guarded", "model", "--out", str(OUT / "edited")))]
    return found


def report() -> Attacks:
    """The manifest and the tables of the report, which takes seconds for each input."""
    *_, draw = world.summaries(str(OUT))
    tables = sorted(map(str, world.SUMMARY.glob("*.parquet")))
    return st.one_of(*[_of(draw, file, _any(file)) for file in (world.STUDY_FILE, *tables)])


def models() -> Attacks:
    """Folders of models, damaged in one file, for the commands that load or change them."""
    check = ("check", "--model", "model", *world.ROME, *world.FACT, "--cache", str(OUT))
    commands = (
        _command("prefixes"),
        _command("edit"),
        check,
        ("apply", "guarded", "model", "--out", str(OUT / "edited")),
        PLAN,
        ("harden", "--tokenizer", "model", "--words", "data/words.json", "--relations",
         "data/relations.json", "--count", "1", "--out", str(OUT / "hard.json")),
    )  # fmt: skip
    names = [str(f) for f in sorted(Path("model").iterdir()) if f.is_file()]
    revert = ("revert", "out/edited")
    edited = [str(f) for f in sorted(Path("edited").rglob("*")) if f.is_file()]
    return st.one_of(
        *[_of(a, name, _any(name)) for a in commands for name in names],
        *[
            _any(name).map(lambda it, n=name: Attack(revert, {f"out/{n}": it}, FOLDERS))
            for name in edited
        ],
    )


SOUND: Mapping[str, Sequence[str]] = {
    "model": ("model", "tiny", "out/model"),
    "editor": ("rome", "ft", "memit"),
    "prompt": ("{} is made by",),
    "subject": ("Coral",),
    "target": ("Osdor",),
    "settings": ("layer=1", "steps=2", "layer=7", "key_strategy=unprefixed"),
    "config": ("study.yaml",),
    "neighbour": ("The sea is=quiet",),
    "edits": ("data/facts.json",),
    "delta": ("guarded", "guarded/delta.safetensors"),
    "case": ("10", "0"),
    "folder": ("out/edited", "out/model"),
    "folders": ("results/mechanism/model=tiny",),
    "study": (world.STUDY_FILE,),
    "files": ("results/edits/model=tiny/editor=ft/dataset=facts/shard-000.parquet",),
    "scores": ("results/downstream/model=tiny/scores.parquet",),
    "cases": (world.CASES,),
    "summary": (str(world.SUMMARY),),
    "data": ("facts=data/facts.json",),
    "tokenizer": ("model",),
    "words": ("data/words.json",),
    "relations": ("data/relations.json",),
    "count": ("1",),
    "filter_model": ("tiny",),
    "filter_editor": ("rome",),
    "file": (world.CASES, "guarded/guard.parquet"),
    "results": ("results",),
    "name": ("mine", "my-editor"),
}
# Options for output paths, kept inside the study's folder.
WRITTEN = {"out", "into", "save", "cache", "work", "figures", "deltas"}
PLACES = ("out/new", "out/a/b", "x" * 300, f"out/{'n' * 300}", "{x}", "model/config.json/x", "a b")
WEIRD = (
    changes.NAMES
    | st.text(max_size=12)
    | st.sampled_from(["--", "-", "--help", "{} {}", "=", "a=", "=b", "layer=!!bool x", "nan", "-1",
                       "1e400", "9" * 30, "layer=.inf", "layer=[1", "learning_rate=.nan"])
)  # fmt: skip


def arguments() -> Attacks:
    """Commands whose options and arguments are missing or arbitrary."""
    found = [_arguments(name, each.params) for name, each in sorted(main.commands.items())]
    return st.one_of(*found, st.lists(WEIRD, max_size=3).map(lambda some: _ready(("", *some)[1:])))


def _arguments(command: str, parameters: Sequence[click.Parameter]) -> Attacks:
    parts = [_argument(parameter) for parameter in parameters]
    more = st.just(()) | st.just(()) | st.lists(WEIRD, min_size=1, max_size=2).map(tuple)
    return st.tuples(*parts, more).map(lambda some: _ready((command, *sum(some, ()))))


def _argument(parameter: click.Parameter) -> st.SearchStrategy[tuple[str, ...]]:
    """Usually valid, sometimes arbitrary or missing."""
    name = str(parameter.name)
    flag = (parameter.opts[0],) if isinstance(parameter, click.Option) else ()
    if isinstance(parameter, click.Option) and parameter.is_flag:
        return st.just(()) | st.just(flag)
    if name in WRITTEN:
        values = st.sampled_from(PLACES)
    elif name == "job":
        files = [str(job) for job, _ in world.jobs(OUT)]
        values = st.sampled_from(files) | st.sampled_from([*SOUND["file"], *SOUND["words"]])
    else:
        sound = st.sampled_from(SOUND.get(name, ("1", "x", "0.5")))
        values = st.one_of(sound, sound, sound, WEIRD)
    given = values.map(lambda value: (*flag, value))
    if parameter.required:
        return st.one_of(given, given, given, given, st.just(()))
    return given | st.just(()) | st.just(())


def _ready(arguments: tuple[str, ...]) -> Attack:
    # Systems do not pass null bytes to programs.
    return Attack(tuple(each.replace("\0", "") for each in arguments), copied=FOLDERS)


FOLDERS = {"model": "out/model", "edited": "out/edited"}
KINDS: Mapping[str, Callable[[], Attacks]] = {
    "config": config,
    "records": records,
    "jobs": jobs,
    "artefacts": artefacts,
    "models": models,
    "report": report,
    "arguments": arguments,
}


def _of(arguments: tuple[str, ...], file: str, content: st.SearchStrategy[bytes]) -> Attacks:
    return content.map(lambda it: Attack(arguments, {file: it}))


def _command(name: str) -> tuple[str, ...]:
    return next(arguments for _, arguments in world.jobs(OUT) if arguments[0] == name)


def _json(file: str) -> st.SearchStrategy[bytes]:
    return changes.json_file(Path(file).read_bytes())


def _damaged(file: str) -> st.SearchStrategy[bytes]:
    return changes.damaged(Path(file).read_bytes())


def _any(file: str) -> st.SearchStrategy[bytes]:
    """The changes that suit a file's kind."""
    content = Path(file).read_bytes()
    if file.endswith(".parquet"):
        return changes.table(content) | changes.damaged(content)
    if file.endswith(".safetensors"):
        return changes.safetensors_file(content)
    return changes.json_file(content) if file.endswith(".json") else changes.damaged(content)
