"""Contexts read once, in passes that start at the edited block, give what whole rows give."""

from collections.abc import Sequence

import pytest
import torch

from editcore.evaluation.generation import Answering
from editcore.evaluation.loglikelihood import Continuations, Pair, Scored
from editcore.evaluation.prefix_cache import Read
from editcore.models.loading import LoadedModel, wrap_model
from editcore.testing.models import KINDS, tiny_model
from editcore.updates.delta import Delta, LowRankUpdate

PAIRS: list[Pair] = [
    ((5, 6, 7), (8,)),
    ((5, 6, 7), (9,)),
    ((5, 6, 7), (9, 10, 11)),
    ((12,), (13, 14)),
    ((3, 4, 5, 6, 7, 8, 9), (10, 11)),
    ((5, 6, 7), (8,)),
]
CONTEXTS = [context for context, _ in PAIRS[2:5]]


@pytest.fixture(params=KINDS)
def model(request: pytest.FixtureRequest) -> LoadedModel:
    """A small random model of each family."""
    return wrap_model(request.param, *tiny_model(request.param))


def change(model: LoadedModel, layer: int, scale: float = 1.0) -> Delta:
    """A rank-one change of one down-projection."""
    name = model.parts.down_weight(layer)
    draw = torch.Generator().manual_seed(layer)
    width = int(model.model.config.hidden_size)
    key = model.model.get_parameter(name).numel() // width
    factors = (torch.randn(n, 1, generator=draw) for n in (width, key))
    return Delta({name: LowRankUpdate(*(scale * factor for factor in factors))})


@torch.no_grad()
def plain(model: LoadedModel, pair: Pair) -> Scored:
    """One row, read whole and alone."""
    context, continuation = pair
    ids = torch.tensor([[*context, *continuation]])
    logits = model.model(input_ids=ids).logits[0, len(context) - 1 : -1].float()
    wanted = torch.tensor(continuation)
    scores = logits.log_softmax(-1)[torch.arange(len(wanted)), wanted]
    return Scored(float(scores.sum()), bool((logits.argmax(-1) == wanted).all()), True)


@torch.no_grad()
def plain_answer(model: LoadedModel, context: Sequence[int], most: int) -> list[int]:
    """Greedy decoding that reads everything again for every token."""
    ids = list(context)
    for _ in range(most):
        ids.append(int(model.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(context) :]


def assert_same(found: Sequence[Scored], wanted: Sequence[Scored]) -> None:
    assert [f.greedy for f in found] == [w.greedy for w in wanted]
    assert all(f.finite for f in found)
    for f, w in zip(found, wanted, strict=True):
        assert f.log_probability == pytest.approx(w.log_probability, abs=2e-4)


def test_continuations_score_as_whole_rows_do_before_and_after_edits(model: LoadedModel) -> None:
    laid_out = Continuations(model, PAIRS)
    assert_same(laid_out.scores(), [plain(model, pair) for pair in PAIRS])
    for layer in (1, 2, 1, 0):
        with change(model, layer).applied(model.model):
            assert_same(laid_out.scores(layer - 1), [plain(model, pair) for pair in PAIRS])
    assert_same(laid_out.scores(), [plain(model, pair) for pair in PAIRS])


def test_answers_are_those_of_plain_greedy_decoding(model: LoadedModel) -> None:
    most = 4
    answering = Answering(model, CONTEXTS, [], most)
    for layer in (1, 2, 1):
        with change(model, layer).applied(model.model):
            wanted = [plain_answer(model, context, most) for context in CONTEXTS]
            said = answering.answers(layer - 1)
        for answer, tokens in zip(said, wanted, strict=True):
            if model.tokenizer.eos_token_id not in tokens:
                assert answer.text == model.tokenizer.decode(tokens, skip_special_tokens=True)


def test_an_answer_ends_at_its_stop_and_others_continue() -> None:
    model = wrap_model("gpt2", *tiny_model("gpt2"))
    whole = [said.text for said in Answering(model, CONTEXTS, [], 6).answers()]
    stop = whole[0][-1]
    cut = [said.text for said in Answering(model, CONTEXTS, [stop], 6).answers()]
    assert cut == [text.split(stop)[0] for text in whole]
    assert cut != whole


@pytest.mark.parametrize("room", [1, 30, 45, 60, 80])
def test_contexts_that_are_read_while_others_are_answered_have_the_same_answers(
    room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = wrap_model("llama", *tiny_model("llama"))
    contexts = [tuple(range(3, 4 + length)) for length in (1, 1, 2, 3, 4, 5, 7, 9)]
    whole = [said.text for said in Answering(model, contexts, [], 6).answers()]
    # It ends some answers early, so that new contexts join others that are half answered.
    stop = whole[2][1]
    wanted = [text.split(stop)[0] for text in whole]
    assert len(set(map(len, wanted))) > 1
    monkeypatch.setattr("editcore.evaluation.generation.tokens_held", lambda _: room)
    steps: list[int] = []
    joins: list[int] = []  # for each batch that joins others, the steps before it
    one_step, join = Answering._next, Read.joined

    def counted(self, read, rows, reading):
        steps.append(0)
        return one_step(self, read, rows, reading)

    def joined(reads: Sequence[Read]) -> Read:
        joins.append(len(steps))
        return join(reads)

    monkeypatch.setattr(Answering, "_next", counted)
    monkeypatch.setattr(Read, "joined", joined)
    assert [said.text for said in Answering(model, contexts, [stop], 6).answers()] == wanted
    assert any(joins) is (room > 1)


def test_logits_that_are_not_finite_are_reported() -> None:
    model = wrap_model("gpt2", *tiny_model("gpt2"))
    laid_out, answering = Continuations(model, PAIRS), Answering(model, CONTEXTS, [], 3)
    with change(model, 1, scale=1e30).applied(model.model):
        assert not any(score.finite for score in laid_out.scores(0))
        assert not any(answer.finite for answer in answering.answers(0))
    assert all(answer.finite for answer in answering.answers(0))


def test_too_long_a_context_loses_its_beginning() -> None:
    model = wrap_model("gpt2", *tiny_model("gpt2"))
    long = (*range(3, 3 + model.max_positions), 5, 6)
    kept = (long[-(model.max_positions - 1) :], (7, 8))
    found, wanted = Continuations(model, [(long, (7, 8)), kept]).scores()
    assert found == wanted
    texts = [
        said.text
        for said in Answering(model, [long, long[-(model.max_positions - 2) :]], [], 2).answers()
    ]
    assert texts[0] == texts[1]


def test_without_room_nothing_is_kept_and_the_scores_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = wrap_model("llama", *tiny_model("llama"))
    with change(model, 2).applied(model.model):
        wanted = Continuations(model, PAIRS).scores(1)
        monkeypatch.setattr("editcore.evaluation.prefix_cache.budget", lambda _: 0)
        assert_same(Continuations(model, PAIRS).scores(1), wanted)
