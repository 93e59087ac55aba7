"""v* of requests to edit: from the files planned for the job, or searched for if there are none."""

from collections.abc import Sequence

from editcore.config.value_options import ValueOptions, ValueSite
from editcore.editing.editor import EditContext
from editcore.keyvalue import value_file
from editcore.keyvalue.value import Value
from editcore.keyvalue.value_search import find_values
from editcore.requests import EditRequest


def values_of_each(
    context: EditContext, requests: Sequence[EditRequest], options: ValueOptions
) -> list[Value | str]:
    """v* of each request that is written, as wrappers adjust it, or the reason why there is none.

    A file that was planned for the job but lacks one of the requests is a `DataError`.
    """
    return adjusted(context, requests, found_values(context, requests, options), options)


def found_values(
    context: EditContext, requests: Sequence[EditRequest], options: ValueOptions
) -> list[Value | str]:
    """v* of each request before any adjustment.

    A job with planned files reads them. Sequences have none, since v* depends on the edits so far;
    they search, and so do single edits outside a study.
    """
    if context.values:
        stored = value_file.under(context.values, options)
        return [stored[request.case_id] for request in requests]
    assert context.prefixes is not None
    templates = context.prefixes.last(options.sampled_templates)
    return find_values(context.model, requests, templates, options)


def adjusted(
    context: EditContext,
    requests: Sequence[EditRequest],
    values: Sequence[Value | str],
    site: ValueSite,
) -> list[Value | str]:
    """The values that are written for those found: the same unless a wrapper adjusts them."""
    if context.adjust_values is None:
        return list(values)
    return context.adjust_values(context.model, requests, values, site)
