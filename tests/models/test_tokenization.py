"""The subject's last token is found at any position; targets are tokenised in context."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from editcore.errors import RequestError
from editcore.models.tokenization import continuation_ids, pad_rows, tokenize_prompt
from editcore.testing.models import tiny_tokenizer

PLAIN, WITH_START = tiny_tokenizer(), tiny_tokenizer(bos=True)


def test_a_start_token_is_counted() -> None:
    assert tokenize_prompt(PLAIN, "{} is", "Coral").subject == 0
    assert tokenize_prompt(WITH_START, "{} is", "Coral").subject == 1
    assert tokenize_prompt(WITH_START, "{} is", "Coral").subject_tokens == 1


@settings(max_examples=200, deadline=None)
@given(
    st.text("abcdé -", max_size=12),
    st.text("XYZé日 ", min_size=1, max_size=8).filter(lambda s: s.strip() == s and s),
    st.sampled_from([PLAIN, WITH_START]),
)
def test_the_ids_up_to_the_subject_are_those_of_the_text_up_to_it(
    before, subject, tokenizer
) -> None:
    prompt = tokenize_prompt(tokenizer, f"{before} {{}} is", subject)
    text = f"{before} {subject}"
    assert list(prompt.ids[: prompt.subject + 1]) == tokenizer(text)["input_ids"]


def test_a_subject_that_ends_inside_a_token_is_refused() -> None:
    with pytest.raises(RequestError, match="ends inside a token"):
        tokenize_prompt(PLAIN, "{}al is made by", "Cor")


def test_targets_continue_the_prompt() -> None:
    ids = continuation_ids(PLAIN, "Coral is made by", "Elro")
    assert PLAIN.decode(ids) == " Elro"
    assert continuation_ids(WITH_START, "Coral is made by", " Elro") == ids


def test_padding_counts_positions_from_the_first_real_token() -> None:
    left = pad_rows([[5], [6, 7, 8]], 0, "left", torch.device("cpu"))
    assert left.ids.tolist() == [[0, 0, 5], [6, 7, 8]]
    assert left.mask.tolist() == [[0, 0, 1], [1, 1, 1]]
    assert left.positions.tolist() == [[0, 0, 0], [0, 1, 2]]
    assert pad_rows([[5], [6, 7]], 0, "right", torch.device("cpu")).ids.tolist() == [[5, 0], [6, 7]]
