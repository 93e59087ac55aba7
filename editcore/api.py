"""The function for Python programs: would this edit collapse this model?"""

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
    say: "Say | None" = None,
) -> "CheckReport":
    """A report on whether one edit damages or collapses a model; its weights stay as they are.

    `model` is a bundled name, a folder or a hub id; `prompt` has `{}` in place of the subject,
    which editors that need none work without; `neighbours` maps prompts whose answers must not
    change to those answers. `options` override those of the study `config` (by default the default
    study, for bundled models). With `chat`, the prompts are what a user says in the model's own
    chat template. Artefacts are kept in `cache`; with `calibrate`, the warning is fitted on a new
    model if that takes under two minutes; `say` is called with a message on each step. Torch is
    imported in the call. Raises `EditcoreError` if the request is invalid or the edit fails.
    """
    from editcore.runs.adhoc.check import check_request
    from editcore.runs.prepare import Choice
    from editcore.sources.cache import default_cache

    probes = tuple(Probe(*pair) for pair in (neighbours or {}).items())
    request = EditRequest(
        0, prompt, subject, target.strip(), true.strip(), "", tuple(paraphrases), probes
    )
    choice = Choice(model, editor, options or {}, Path(config) if config else None, chat)
    place = Path(cache) if cache else default_cache()
    return check_request(choice, request, place, say or (lambda _: None), calibrated=calibrate)
