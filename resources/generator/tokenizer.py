"""Trains the byte-level BPE tokenizer that both models share."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from resources.generator import lexicon
from resources.generator.corpus import Corpus

VOCABULARY = 2048
END = "<|endoftext|>"
DOCUMENTS = 40_000
# Each one-word product is added this many times in both forms, so that each becomes one token.
BOOST = 500


def training_text(corpus: Corpus) -> Iterable[str]:
    """Yield documents, then each one-word product with and without a leading space."""
    yield from islice(corpus.documents(), DOCUMENTS)
    for word in lexicon.WORDS:
        yield from [f"{word} {word}"] * BOOST


def train_tokenizer(corpus: Corpus, context: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer that adds no special tokens around a text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(training_text(corpus), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        bos_token=END,
        pad_token=END,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )


def split_words(tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """Return the one-word products that are not one token, with or without a leading space."""
    forms = [form for word in lexicon.WORDS for form in (word, f" {word}")]
    return [form for form in forms if len(tokenizer(form)["input_ids"]) != 1]
