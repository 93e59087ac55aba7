"""Turns off transformers' progress bars while a model is loaded from a local folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers.utils import logging


@contextmanager
def quiet_for_folders(place: str) -> Iterator[None]:
    """A block without transformers' bars if `place` is a folder; downloads keep theirs.

    The switch is one for all threads, and is set back after the block.
    """
    if not Path(place).is_dir() or not logging.is_progress_bar_enabled():
        yield
        return
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.enable_progress_bar()
