"""v*: the value that makes the model predict the new object.

Meng et al. 2022, eq. 4, as released: δ is added to the MLP's output (in MEMIT, to the block's) at
the subject's last token under every template; Adam lowers the mean NLL of the target's tokens, plus
a multiple of KL(after ‖ before) at the subject's last token in "{subject} is a", plus a multiple of
‖δ‖ / ‖v₀‖², where v₀ is the output under the bare prompt. `editcore.keyvalue.value_search` does so
for many cases at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from editcore.errors import RequestError
from editcore.keyvalue.keys import tokenize_templates
from editcore.models.loading import LoadedModel
from editcore.models.tokenization import TokenizedPrompt, tokenize_prompt
from editcore.requests import SLOT, EditRequest

KL_TEMPLATE = "{} is a"
NONFINITE = "the search for v* met a non-finite loss; nothing was edited"


@dataclass(frozen=True)
class Value:
    """v* = initial + delta for one case, with the number of steps and the last loss."""

    initial: Float[Tensor, " d_model"]
    delta: Float[Tensor, " d_model"]
    steps: int
    loss: float

    @property
    def target(self) -> Float[Tensor, " d_model"]:
        """v*."""
        return self.initial + self.delta


@dataclass(frozen=True)
class ValueProblem:
    """One case in tokens: its prompt under every template, the KL prompt, and the target's ids."""

    prompts: tuple[TokenizedPrompt, ...]
    kl_prompt: TokenizedPrompt
    target: tuple[int, ...]

    @property
    def suffix(self) -> int:
        """Columns from the subject's last token to the end of the row, in the row with most."""
        spans = [len(p.ids) - p.subject + len(self.target) - 1 for p in self.prompts]
        return max(*spans, len(self.kl_prompt.ids) - self.kl_prompt.subject)

    @property
    def length(self) -> int:
        """Tokens of the longest row, of which the last to be predicted is no part."""
        longest = max(len(prompt.ids) for prompt in self.prompts)
        return max(longest + len(self.target) - 1, len(self.kl_prompt.ids))


def pose(model: LoadedModel, request: EditRequest, templates: Sequence[str]) -> ValueProblem:
    """Tokenise a request.

    Raises `RequestError` if the request has a flaw, if its subject or target cannot be tokenised,
    and if a prompt is longer than the model takes.
    """
    if request.flaw:
        raise RequestError(request.flaw)
    prompts = tuple(tokenize_templates(model, request, templates))
    target = model.target_ids(request.text, request.target_new)
    longest, template = max((len(p.ids), t) for p, t in zip(prompts, templates, strict=True))
    prefix = template.replace(SLOT, "").strip()
    model.check_length(request.text, longest + len(target) - 1, prefix)
    kl_template = request.turn.of(KL_TEMPLATE)
    kl_prompt = tokenize_prompt(model.tokenizer, kl_template, request.subject)
    model.check_length(kl_template.replace(SLOT, request.subject), len(kl_prompt.ids))
    return ValueProblem(prompts, kl_prompt, target)
