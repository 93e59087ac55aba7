"""The texts that a model writes for C: drawn from its own probabilities, and always the same."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import AddedToken

from editcore.datasets.readers import read_texts
from editcore.errors import ModelError
from editcore.keyvalue.estimation import own_texts
from editcore.keyvalue.estimation.own_texts import write_own_texts
from editcore.models.loading import LoadedModel, wrap_model
from editcore.planning.jobs import ModelSpec, TextJob
from editcore.records.checkpoint import Checkpoint, Progress
from editcore.runs import artefacts
from editcore.testing.models import KINDS, tiny_model

ModelSaver = Callable[..., Path]


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short texts, few in a batch, so that several batches are few tokens."""
    monkeypatch.setattr(own_texts, "LENGTH", 12)
    monkeypatch.setattr(own_texts, "MOST_ROWS", 4)


def tiny(kind: str = "gpt2", *, bos: bool = False) -> LoadedModel:
    return wrap_model(kind, *tiny_model(kind, bos=bos))


def counted(model: LoadedModel, texts: list[str]) -> int:
    return sum(len(model.tokenizer(text)["input_ids"]) for text in texts)


def test_the_texts_have_the_tokens_asked_for_and_depend_on_the_seed() -> None:
    model = tiny()
    texts = write_own_texts(model, 150, seed=3)
    assert counted(model, texts[:-1]) < 150 <= counted(model, texts)
    assert len(set(texts)) == len(texts)
    assert write_own_texts(model, 150, seed=3) == texts
    assert set(write_own_texts(model, 150, seed=4)).isdisjoint(texts)


def test_more_tokens_only_add_texts() -> None:
    model = tiny("llama")
    few, many = (write_own_texts(model, tokens, seed=0) for tokens in (80, 200))
    assert few == many[: len(few)]
    assert len(many) > len(few)


def test_the_number_of_threads_changes_nothing() -> None:
    model, threads = tiny(), torch.get_num_threads()
    found = []
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            found.append(write_own_texts(model, 150, seed=0))
            assert torch.get_num_threads() == number
    finally:
        torch.set_num_threads(threads)
    assert found[0] == found[1]


@pytest.mark.parametrize(("kind", "bos"), [("llama", True), *((kind, False) for kind in KINDS)])
def test_each_token_is_drawn_from_the_probabilities_after_all_before_it(
    kind: str, bos: bool
) -> None:
    """Each number drawn falls into its token's share, in a full pass over the text."""
    model = tiny(kind, bos=bos)
    writer = own_texts._Writer(model, seed=1)
    assert writer.start == ([model.tokenizer.bos_token_id] if bos else [])
    for number, row in enumerate(writer.tokens(range(3), writer.length).tolist()):
        assert len(row) == own_texts.LENGTH
        with torch.no_grad():
            logits = model.model(torch.tensor([row])).logits[0].double()
        logits[:, model.tokenizer.all_special_ids] = -torch.inf
        shares = logits.softmax(-1)
        for place, drawn in enumerate(writer.drawn(number).tolist()[1:], start=1):
            until = float(shares[place - 1, : row[place] + 1].sum())
            share = float(shares[place - 1, row[place]])
            assert until - share - 1e-5 <= drawn <= until + 1e-5, (number, place)


def test_without_a_start_token_texts_open_with_different_words() -> None:
    model = tiny()
    texts = write_own_texts(model, 600, seed=0)
    first = [model.tokenizer.decode(model.tokenizer(text)["input_ids"][:1]) for text in texts]
    assert all(word.strip()[:1].isalpha() for word in first)
    assert len(set(first)) > len(texts) / 3


def test_special_tokens_are_never_drawn() -> None:
    raw, tokenizer = tiny_model("gpt2")
    marks = [f"<|mark{i}|>" for i in range(200)]
    tokenizer.add_tokens([AddedToken(mark, special=True) for mark in marks])
    raw.resize_token_embeddings(len(tokenizer) + 8)
    texts = write_own_texts(wrap_model("gpt2", raw, tokenizer), 300, seed=0)
    assert not any("<|" in text for text in texts)


class Killed(Exception):
    """As if the process were killed."""


class Dying(Checkpoint):
    """Writes the progress once, then dies at the next."""

    def write_if_due(self, made: Callable[[], Progress]) -> None:
        """As a checkpoint that is always due."""
        if self.path.exists():
            raise Killed
        super().write_if_due(made)


def test_a_killed_run_continues_with_the_texts_it_had(tmp_path: Path) -> None:
    model, path = tiny(), tmp_path / "c.safetensors"
    with pytest.raises(Killed):
        write_own_texts(model, 150, seed=0, checkpoint=Dying(path, "these", 0.0))
    kept = Checkpoint(path, "these", 1e9)
    progress = kept.read()
    assert progress is not None
    assert len(progress.state["texts"]) == own_texts.MOST_ROWS
    whole = write_own_texts(model, 150, seed=0)
    assert write_own_texts(model, 150, seed=0, checkpoint=kept) == whole
    assert write_own_texts(model, 150, 0, Checkpoint(path, "others", 1e9)) == whole


def test_a_job_saves_texts_that_a_study_can_read(saved_model: ModelSaver, tmp_path: Path) -> None:
    model = ModelSpec(name="tiny", source=str(saved_model("llama", bos=True)))
    job, out = TextJob(model=model, tokens=100, seed=5), tmp_path / "texts.json"
    artefacts.write_texts(job, out)
    assert [file.name for file in tmp_path.iterdir()] == ["texts.json"]
    loaded = artefacts.load_spec(model, artefacts.load_registry())
    assert read_texts(out) == write_own_texts(loaded, 100, 5)


def test_probabilities_that_are_not_finite_are_refused() -> None:
    raw, tokenizer = tiny_model("gpt2")
    raw.transformer.ln_f.weight.data[0] = float("nan")
    with pytest.raises(ModelError, match=r"probabilities that are not finite in torch\.float32"):
        write_own_texts(wrap_model("broken", raw, tokenizer), 20, seed=0)


def test_a_tokenizer_without_words_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny()
    monkeypatch.setattr(type(model.tokenizer), "batch_decode", lambda _, ids: ["1"] * len(ids))
    with pytest.raises(ModelError, match="neither a start token nor a word"):
        write_own_texts(model, 20, seed=0)
