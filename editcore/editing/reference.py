"""The reference implementation: whole passes, right padding, one case at a time.

It follows the published implementations step by step. The faster `value_search`, `keys`, `overlay`
and `perplexity` must agree with it, and are timed against it.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from editcore.config.value_options import ValueOptions
from editcore.keyvalue.keys import KeyStrategy, SubjectKeys
from editcore.keyvalue.rank_one import solve_rank_one
from editcore.keyvalue.value import Value, ValueProblem
from editcore.models import hooks
from editcore.models.loading import LoadedModel
from editcore.models.tokenization import TokenizedPrompt, pad_rows
from editcore.updates.delta import Delta


def optimise_one(model: LoadedModel, problem: ValueProblem, options: ValueOptions) -> Value:
    """v* of one case, with a pass through the whole model in every step (see `keyvalue.value`)."""
    prompts, device = problem.prompts, model.device
    everything = [p.ids + problem.target[:-1] for p in prompts] + [problem.kl_prompt.ids]
    rows = pad_rows(everything, model.pad_id, "right", device)
    subject = torch.tensor(
        [*(p.subject for p in prompts), problem.kl_prompt.subject], device=device
    )
    target = torch.tensor(problem.target, device=device).expand(len(prompts), -1)
    first = torch.tensor([len(p.ids) - 1 for p in prompts], device=device)
    columns = first[:, None] + torch.arange(target.shape[1], device=device)
    row = torch.arange(len(prompts), device=device)[:, None]
    parts, layer = model.parts, options.layer
    site = parts.down(layer) if options.site == "mlp" else parts.block(layer)
    delta = torch.zeros(model.model.config.hidden_size, device=device, requires_grad=True)
    adam = torch.optim.Adam([delta], lr=options.learning_rate)
    initial, before, agreed = delta.detach(), delta.detach(), 0
    for step in range(options.steps):
        added = delta.expand(len(everything), -1)
        with hooks.adding(site, subject, added), hooks.recording(site) as seen:
            scores = model.model(
                input_ids=rows.ids, attention_mask=rows.mask, use_cache=False
            ).logits.float()
        after = scores[-1, subject[-1]].log_softmax(-1)
        if step == 0:  # δ is 0: this pass is the unedited model's
            assert seen.output is not None
            initial, before = seen.output[0, subject[0]].detach().float(), after.detach()
        nll = -scores[row, columns].log_softmax(-1).gather(2, target[:, :, None]).mean()
        kl = (after.exp() * (after - before)).sum()
        decay = delta.norm() / initial.norm() ** 2
        loss = nll + options.kl_factor * kl + options.weight_decay * decay
        agreed += templates_agree(scores[row, columns].argmax(-1) == target, options)
        enough = options.agreement_steps is not None and agreed >= options.agreement_steps
        if loss < options.stop_loss or enough or step == options.steps - 1:
            break
        adam.zero_grad()
        loss.backward()
        adam.step()
        with torch.no_grad():
            limit = options.clamp_norm_factor * initial.norm()
            if delta.norm() > limit:
                delta.mul_(limit / delta.norm())
    return Value(initial, delta.detach(), step + 1, loss.item())


def templates_agree(right: Bool[Tensor, "template position"], options: ValueOptions) -> bool:
    """Whether the templates agree on the target, by which of its tokens are the likeliest."""
    if options.agreement == "templates":
        return bool(right.all())
    return 0 < int(right[1:].sum()) == len(right) - 1


@torch.no_grad()
def keys_of_one(model: LoadedModel, layer: int, prompts: Sequence[TokenizedPrompt]) -> SubjectKeys:
    """The keys of one case, in a pass through the whole model."""
    rows = pad_rows([prompt.ids for prompt in prompts], model.pad_id, "right", model.device)
    with hooks.recording(model.parts.down(layer)) as seen:
        model.model(input_ids=rows.ids, attention_mask=rows.mask, use_cache=False)
    assert seen.input is not None and seen.output is not None
    last = torch.arange(len(prompts)), torch.tensor([prompt.subject for prompt in prompts])
    return SubjectKeys(seen.input[last].float(), seen.output[last].float())


def edit_one(
    model: LoadedModel, problem: ValueProblem, options: ValueOptions, strategy: KeyStrategy
) -> Delta:
    """The rank-one update of one case, without C, as in the published configurations."""
    keys = keys_of_one(model, options.layer, problem.prompts)
    value = optimise_one(model, problem, options)
    update = solve_rank_one(value.target, strategy(keys), None).update
    return Delta({model.parts.down_weight(options.layer): update})


@torch.no_grad()
def perplexity(model: LoadedModel, texts: Sequence[str], batch: int = 10) -> float:
    """The mean over texts of exp(mean NLL), all of them padded to the longest."""
    ids = [model.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    whole = pad_rows(ids, model.pad_id, "right", model.device)
    found = []
    for start in range(0, len(texts), batch):
        rows = whole.rows(torch.arange(start, min(start + batch, len(texts))))
        scores = model.model(input_ids=rows.ids, attention_mask=rows.mask, use_cache=False).logits[
            :, :-1
        ]
        nll = torch.nn.functional.cross_entropy(
            scores.float().transpose(1, 2), rows.ids[:, 1:], reduction="none"
        )
        predicted = rows.mask[:, 1:]
        found.append((nll.double() * predicted).sum(1) / predicted.sum(1))
    return float(torch.cat(found).exp().mean())


@torch.no_grad()
def perplexity_of_each(model: LoadedModel, texts: Sequence[str]) -> Float64[Tensor, " text"]:
    """exp(mean NLL) of each text, one by one."""
    found = []
    for text in texts:
        ids = model.tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        scores = model.model(ids.to(model.device), use_cache=False).logits[0, :-1].float()
        nll = torch.nn.functional.cross_entropy(scores, ids[0, 1:].to(model.device))
        found.append(nll.double().exp())
    return torch.stack(found)
