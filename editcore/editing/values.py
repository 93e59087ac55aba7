"""v* of requests to edit: read from the context's artefact, or searched for."""

from collections.abc import Sequence

from editcore.config.value_options import ValueOptions
from editcore.editing.editor import EditContext
from editcore.keyvalue.value import Value
from editcore.keyvalue.value_search import find_values
from editcore.requests import EditRequest


def values_of_each(
    context: EditContext, requests: Sequence[EditRequest], options: ValueOptions
) -> list[Value | str]:
    """v* of each request, or the reason why there is none: from the context's artefact, or found.

    An artefact holds for the unedited model, so that a sequence of edits runs without one.
    """
    assert context.prefixes is not None
    stored = context.values.get(options, {})
    missing = [request for request in requests if request.case_id not in stored]
    templates = context.prefixes.templates
    found = iter(find_values(context.model, missing, templates, options) if missing else ())
    return [stored[r.case_id] if r.case_id in stored else next(found) for r in requests]
