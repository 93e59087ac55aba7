"""Keys are what the down-projection reads at the subject's last token."""

import pytest
import torch

from editcore.keyvalue.keys import (
    SubjectKeys,
    collect_keys,
    mixed,
    prefixed,
    tokenize_templates,
    unprefixed,
)
from editcore.models import hooks
from editcore.models.loading import wrap_model
from editcore.testing.models import KINDS, tiny_model, tiny_requests

TEMPLATES = ("{}", "Therefore. {}", "You said that the sea. {}")


@pytest.mark.parametrize("kind", KINDS)
def test_keys_equal_those_of_single_full_passes(kind: str) -> None:
    model = wrap_model(kind, *tiny_model(kind))
    prompts = [tokenize_templates(model, r, TEMPLATES) for r in tiny_requests()]
    collected = collect_keys(model, 1, prompts)
    down = model.parts.down(1)
    for case, found in zip(prompts, collected, strict=True):
        for i, prompt in enumerate(case):
            with torch.no_grad(), hooks.recording(down) as seen:
                model.model(torch.tensor([prompt.ids]))
            assert seen.input is not None and seen.output is not None
            torch.testing.assert_close(found.keys[i], seen.input[0, prompt.subject])
            torch.testing.assert_close(found.outputs[i], seen.output[0, prompt.subject])


def test_strategies_choose_as_in_the_papers() -> None:
    keys = SubjectKeys(torch.tensor([[1.0, 0.0], [0.0, 3.0]]), torch.tensor([[2.0], [4.0]]))
    mean, bare = torch.tensor([0.5, 1.5]), torch.tensor([1.0, 0.0])
    for strategy, direction, solve, output in (
        (mixed, mean, bare, 2.0),
        (prefixed, mean, mean, 3.0),
        (unprefixed, bare, bare, 2.0),
    ):
        pair = strategy(keys)
        assert torch.equal(pair.direction, direction)
        assert torch.equal(pair.solve, solve)
        assert pair.solve_output.item() == output
