"""How varied the text is that an edited model generates: a collapsed one repeats itself."""

import math
from collections import Counter
from collections.abc import Sequence

import torch

from editcore.toolkit import LoadedModel, MetricInput

TOKENS = 30
# Meng et al. 2022, §3.4, as released: trigrams weigh twice as much as bigrams.
WEIGHTS = {2: 1 / 3, 3: 2 / 3}


def fluency(case: MetricInput) -> dict[str, float | None]:
    """Weighted mean of the entropies in bits of token bigrams and trigrams in generated text."""
    with case.edited() as model:
        written = _continued(model, case.questions.request.text)
    return {"fluency": sum(weight * entropy(written, n) for n, weight in WEIGHTS.items())}


@torch.no_grad()
def _continued(model: LoadedModel, prompt: str) -> list[int]:
    given = model.tokenizer(prompt, return_tensors="pt").to(model.device)
    ids = model.model.generate(
        input_ids=given["input_ids"],
        attention_mask=given["attention_mask"],
        do_sample=False,
        min_new_tokens=TOKENS,
        max_new_tokens=TOKENS,
        pad_token_id=model.pad_id,
    )
    return list(map(int, ids[0, given["input_ids"].shape[1] :]))


def entropy(tokens: Sequence[int], n: int) -> float:
    """The entropy in bits of the n-grams' frequencies.

    >>> entropy([1, 1, 1, 1], 2), entropy([1, 2, 3], 2)
    (0.0, 1.0)
    """
    grams = Counter(zip(*(tokens[i:] for i in range(n)), strict=False))
    total = grams.total()
    return sum(count / total * math.log2(total / count) for count in grams.values())
