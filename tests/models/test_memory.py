"""The memory of a shard does not grow with its cases."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from editcore.config.value_options import ValueOptions
from editcore.evaluation.perplexity import EditedPerplexity, read_unedited, tokenize
from editcore.evaluation.teacher_forcing import CaseQuestions, ask_edited, tokenize_questions
from editcore.keyvalue.value import Value
from editcore.keyvalue.value_search import find_values
from editcore.models import batch_size, memory
from editcore.models.loading import LoadedModel, wrap_model
from editcore.testing.models import SENTENCES, tiny_model, tiny_requests
from editcore.updates.delta import Delta, LowRankUpdate

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
# So that what is computed needs far more memory than the model, and few cases fill a batch.
VOCABULARY, DEPTH, BUDGET = 50_000, 12, 2**27
CASES = (6, 24)
TEMPLATES = tuple(f"{'Then it rained. ' * (i % 8)}{{}}" for i in range(21))


def peak() -> float:
    """The most memory that this process has used so far, in MB."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def edit(model: LoadedModel, cases: int) -> None:
    """What the jobs of a shard do: find v*, ask the edited models, and read texts."""
    requests = [replace(tiny_requests()[2], case_id=i) for i in range(cases)]
    values = find_values(model, requests, TEMPLATES, ValueOptions(layer=0, steps=2))
    name, width = model.parts.down_weight(0), model.parts.down(0).weight.shape[1]
    changes = [
        Delta({name: LowRankUpdate(value.delta[:, None], torch.ones(width, 1))})
        for value in values
        if isinstance(value, Value)
    ]
    asked = [tokenize_questions(model, CaseQuestions(r, TEMPLATES[1]).all()) for r in requests]
    ask_edited(model, asked, changes)
    texts = tokenize(model, SENTENCES)
    EditedPerplexity(model, texts, read_unedited(model, texts).predictions).of(changes)


def main() -> None:
    """Print the peaks of this process: once the model is loaded, and after shards of some cases."""
    torch.set_num_threads(1)
    # Tensors shrink with the budget, so the size that counts as large does, too.
    memory.LARGE = memory.LARGE * BUDGET // batch_size.CPU_BUDGET
    memory.use_sparingly("cpu")
    batch_size.CPU_BUDGET = BUDGET
    bare, tokenizer = tiny_model("llama", num_hidden_layers=DEPTH)
    bare.resize_token_embeddings(VOCABULARY)
    model = wrap_model("tiny", bare, tokenizer)
    memory.give_back(2**30)
    RESET.write_text("5")
    found = [peak()]
    for cases in CASES:
        edit(model, cases)
        found.append(peak())
    print(json.dumps(found))


@pytest.mark.skipif(not os.access(RESET, os.W_OK), reason="needs the peak of a process since then")
def test_peak_memory_is_flat_in_the_cases_of_a_shard() -> None:
    command = [sys.executable, "-c", f"from {__name__} import main; main()"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    loaded, few, many = json.loads(done.stdout.splitlines()[-1])
    assert few - loaded > 50
    assert many - loaded < 1.2 * (few - loaded)
