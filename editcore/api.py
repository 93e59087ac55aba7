"""What a Python program calls: one edit, one verdict. Torch is imported inside the call."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from editcore.requests import EditRequest, Probe

if TYPE_CHECKING:
    from editcore.runs.adhoc.check_report import CheckReport
    from editcore.runs.prepare import Say


def check(
    model: str,
    editor: str,
    *,
    prompt: str,
    subject: str,
    target: str,
    true: str = "",
    paraphrases: Sequence[str] = (),
    neighbours: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
    config: Path | str | None = None,
    cache: Path | str | None = None,
    say: "Say | None" = None,
) -> "CheckReport":
    """Whether one edit would ruin a model; no weight is changed for good.

    `model` is a bundled name, a folder or a hub id, `prompt` has `{}` in place of the subject,
    `neighbours` maps prompts that must stay as they are to their answers. `options` go before those
    of the study `config` (the default study's for bundled models). Artefacts are kept in `cache`;
    `say` is told each step. Raises `EditcoreError` where the edit cannot be asked for or made.
    """
    from editcore.runs.adhoc.check import check_request
    from editcore.runs.prepare import Choice, default_cache

    probes = tuple(Probe(*pair) for pair in (neighbours or {}).items())
    request = EditRequest(
        0, prompt, subject, target.strip(), true.strip(), "", tuple(paraphrases), probes
    )
    choice = Choice(model, editor, options or {}, Path(config) if config else None)
    return check_request(
        choice, request, Path(cache) if cache else default_cache(), say or (lambda _: None)
    )
