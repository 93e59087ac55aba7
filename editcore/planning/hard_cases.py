"""Selects the cases that are hard for a study's models: a one-token subject opens the prompt."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from editcore.config.study import Only
from editcore.errors import DataError, ModelError, in_one_line
from editcore.planning import preflight
from editcore.planning.jobs import ModelSpec
from editcore.requests import EditRequest
from editcore.sources.wheel_file import Unfetched


class TokenizerMissing(Unfetched):
    """Cases cannot be selected because a model's tokenizer is not on this machine."""


def chosen(
    requests: Sequence[EditRequest], only: Only, models: Sequence[ModelSpec]
) -> list[EditRequest]:
    """The cases that are hard for every model, or for none; flawed requests are left out.

    Raises `TokenizerMissing` if a model's tokenizer is not on this machine, `ModelError` if it
    cannot be read, and `DataError` if no case is left.
    """
    tokenizers = [_tokenizer(model) for model in models]
    sound = [request for request in requests if not request.flaw]
    verdicts = [{is_hard(request, each) for each in tokenizers} for request in sound]
    wanted = {only == "hard"}
    found = [r for r, verdict in zip(sound, verdicts, strict=True) if verdict == wanted]
    if not found:
        whose = "every model" if only == "hard" else "no model"
        raise DataError(
            f"no case is hard for {whose}, that is, has a subject that opens the prompt and is one "
            f"token; leave `only: {only}` out, or give another file or other models"
        )
    return found


def is_hard(request: EditRequest, tokenizer: Any) -> bool:
    """Whether the subject opens the prompt and is one token of a `tokenizers.Tokenizer`."""
    if request.subject_start != 0:
        return False
    spans = tokenizer.encode(request.text, add_special_tokens=False).offsets
    return bool(spans.count((0, len(request.subject))) == 1)


def _tokenizer(model: ModelSpec) -> Any:
    file = preflight.tokenizer_file(model.source, model.revision)
    if file is None:
        raise TokenizerMissing(
            f"which cases are hard depends on the tokenizer, and {model.source} has no "
            "tokenizer.json on this machine; `snakemake fetch` gets that of a hub id or of a .gguf "
            "file, and save_pretrained writes one"
        )
    return _read(file)


def _read(file: Path) -> Any:
    # Imported late: only studies that choose cases need it.
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises no narrower class
        raise ModelError(
            f"{file} contains no tokenizer ({in_one_line(error)}); save the model again"
        ) from error
