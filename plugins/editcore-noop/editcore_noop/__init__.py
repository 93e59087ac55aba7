"""The null editor: it changes nothing, so whatever its rows show is not the effect of an edit."""

from collections.abc import Iterator

from editcore import Capabilities, EditorConfig, EditorInfo, hookimpl

EDITCORE_HOOKSPEC = 2


@hookimpl
def editcore_editors() -> Iterator[EditorInfo]:
    """The one editor; it has no options."""
    yield EditorInfo(
        name="noop",
        summary="Changes nothing: the control.",
        paper="",
        config=EditorConfig,
        factory="editcore_noop.editor:NoopEditor",
        capabilities=Capabilities(batched=True, needs_subject=False),
    )
