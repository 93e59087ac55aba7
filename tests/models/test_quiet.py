"""Loading from a folder shows no progress bar of transformers, and leaves its switch as it was."""

import pytest
from transformers.utils import logging

from editcore.models.loading import load_model
from editcore.models.quiet import quiet_for_folders


def test_a_folder_loads_without_a_bar(saved_model, capfd: pytest.CaptureFixture[str]) -> None:
    folder = str(saved_model("gpt2"))
    capfd.readouterr()
    load_model("tiny", folder)
    assert capfd.readouterr().err == ""
    assert logging.is_progress_bar_enabled()


def test_a_download_keeps_its_bars_and_a_users_choice_stays(tmp_path) -> None:
    with quiet_for_folders("owner/name"):
        assert logging.is_progress_bar_enabled()
    with pytest.raises(OSError), quiet_for_folders(str(tmp_path)):
        assert not logging.is_progress_bar_enabled()
        raise OSError
    assert logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with quiet_for_folders(str(tmp_path)):
            pass
        assert not logging.is_progress_bar_enabled()
    finally:
        logging.enable_progress_bar()
