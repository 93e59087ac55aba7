"""Loads without transformers' own progress bar, which says nothing of folders of this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers.utils import logging


@contextmanager
def quiet_for_folders(place: str) -> Iterator[None]:
    """A block without transformers' bars where `place` is a folder; downloads keep theirs.

    transformers has one switch for all threads; it is set back after the block.
    """
    if not Path(place).is_dir() or not logging.is_progress_bar_enabled():
        yield
        return
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.enable_progress_bar()
