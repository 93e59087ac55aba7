"""The functions for Python programs: check an edit by names, or edit a model that is loaded."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from editcore.registry.hookspecs import EditorInfo

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from editcore.runs.adhoc.check_report import CheckReport
    from editcore.runs.adhoc.in_memory.edit import Edit
    from editcore.runs.adhoc.in_memory.facts import Fact
    from editcore.runs.prepare import Say


def check(
    model: str,
    editor: str,
    *,
    prompt: str,
    subject: str = "",
    target: str,
    true: str = "",
    paraphrases: Sequence[str] = (),
    neighbours: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
    config: Path | str | None = None,
    cache: Path | str | None = None,
    chat: bool = False,
    calibrate: bool = True,
    rounded: bool = False,
    say: "Say | None" = None,
) -> "CheckReport":
    """A report on whether one edit damages or collapses a model; its weights stay as they are.

    `model` is a bundled name, a folder or a hub id; `prompt` has `{}` in place of the subject,
    which editors that need none work without; `neighbours` maps prompts whose answers must not
    change to those answers. `options` override those of the study `config` (by default the default
    study, for bundled models). With `chat`, the prompts are what a user says in the model's own
    chat template. Artefacts are kept in `cache`; with `calibrate`, the warning is fitted on a new
    model if that takes under two minutes; with `rounded`, the edit is also measured in models of 8
    and 4 bits; `say` is called with a message on each step. Torch is imported in the call. Raises
    `EditcoreError` if the request is invalid or the edit fails.
    """
    from editcore.runs.adhoc.check import check_request
    from editcore.runs.adhoc.in_memory.facts import request
    from editcore.runs.prepare import Choice

    fact = request(
        0,
        prompt=prompt,
        subject=subject,
        target=target,
        true=true,
        paraphrases=paraphrases,
        neighbours=neighbours,
    )
    choice = Choice(model, editor, options or {}, Path(config) if config else None, chat)
    how = {"calibrated": calibrate, "rounded": rounded}
    return check_request(choice, fact, _cache(cache), say or _nothing, **how)


def edit(
    model: "PreTrainedModel",
    editor: str | EditorInfo,
    facts: "Fact | Sequence[Fact]",
    *,
    tokenizer: "PreTrainedTokenizerBase",
    options: Mapping[str, Any] | None = None,
    config: Path | str | None = None,
    cache: Path | str | None = None,
    chat: bool = False,
    say: "Say | None" = None,
) -> "Edit":
    """An edit of a model that is loaded, as a value; the model itself stays unedited.

    `editor` is a name, or the record of an editor that is not in a package. A fact is an
    `EditRequest`, or a dictionary with some of the arguments of `check`: `prompt`, `subject`,
    `target`, `true`, `paraphrases` and `neighbours`. `options`, `config`, `chat`, `cache` and `say`
    are as in `check`; a study `config` has the model by the name, folder or hub id that it was
    loaded from. The artefacts that the editor needs are made with this model, and kept in `cache`
    under a key of its weights.

    An edit that cannot be made has the reason in its `status`. Raises `EditcoreError` for a model,
    tokenizer, editor, option or fact that cannot be used.
    """
    from editcore.runs.adhoc.in_memory import edit as edits
    from editcore.runs.adhoc.in_memory.facts import requests
    from editcore.runs.adhoc.in_memory.model import GivenModel
    from editcore.runs.adhoc.in_memory.prepared import Prepared
    from editcore.runs.prepare import Choice

    given, asked = GivenModel.of(model, tokenizer), requests(facts)
    name = editor.name if isinstance(editor, EditorInfo) else editor
    choice = Choice(given.name, name, options or {}, Path(config) if config else None, chat)
    prepared = Prepared.of(given, editor, choice, asked, _cache(cache), say or _nothing)
    return edits.made(prepared, asked)


@contextmanager
def edited(model: "PreTrainedModel", made: "Edit") -> Iterator["PreTrainedModel"]:
    """A block in which a model has an edit; leaving it restores the weights bit by bit.

    Raises `RequestError` for an edit that failed, and `PluginError` if it does not fit the model.
    """
    made.require_made()
    assert made.change is not None
    with made.change.applied(model):
        yield model


def _cache(named: Path | str | None) -> Path:
    from editcore.sources.cache import default_cache

    return Path(named) if named else default_cache()


def _nothing(message: str) -> None:
    """Where messages go if nobody asks for them."""
