"""A model's chat template, as what it puts before and after what a user says."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from transformers import PreTrainedTokenizerBase

from editcore.errors import ModelError, reason
from editcore.planning.preflight import NO_CHAT
from editcore.requests import SLOT, Turn

ASKED, ANSWERED = "Zq7asked", "Zq7answered"
SAID = "Who wrote it?"
# Some templates write today's date, which would make each day's prompts others. This is the date
# that Llama's writes if it cannot know it.
DAY = datetime(2024, 7, 26)
TODAY = re.compile(r"""strftime_now\(\s*(["'])(.*?)\1\s*\)""")

Message = Mapping[str, str]


def turn_of(name: str, tokenizer: PreTrainedTokenizerBase) -> Turn:
    """What the chat template of model `name` puts around one user's message, up to its answer.

    That includes the system message that the template adds by itself. Reasoning is off where the
    template has `enable_thinking`; the date is a fixed one. A start token that the tokenizer writes
    by itself is left out. Raises `ModelError` if there is no template, if it cannot be filled in,
    or if its text as tokens is not what `apply_chat_template` gives.
    """
    if not tokenizer.chat_template:
        raise ModelError(NO_CHAT.format(name=name))
    try:
        turn = _around(name, tokenizer)
        expected = _filled(tokenizer, [_user(SAID)], tokenize=True, return_dict=False)
    except ModelError:
        raise
    except Exception as error:  # a template may raise anything
        raise ModelError(
            f"the chat template of model {name!r} cannot be filled in with one user's message "
            f"({reason(error)}); leave `chat` out, or correct the template"
        ) from error
    found = tokenizer(turn.of(SAID))["input_ids"]
    if found != list(expected):
        raise ModelError(
            f"the tokenizer of model {name!r} reads the text of its chat template as "
            f"{len(found)} tokens that are not the {len(expected)} of apply_chat_template; leave "
            "`chat` out, or get the tokenizer that belongs to the template"
        )
    return _answered(tokenizer, turn)


def _around(name: str, tokenizer: PreTrainedTokenizerBase) -> Turn:
    text = _filled(tokenizer, [_user(ASKED)])
    opening, *closings = text.split(ASKED)
    if len(closings) != 1 or SLOT in text:
        wrong = f"contains {SLOT}" if SLOT in text else "does not repeat a user's message once"
        raise ModelError(
            f"the chat template of model {name!r} {wrong}, so prompts cannot be put into it; leave "
            "`chat` out, or correct the template"
        )
    start = tokenizer.bos_token
    if start and tokenizer(SAID)["input_ids"][:1] == [tokenizer.bos_token_id]:
        opening = opening.removeprefix(str(start))
    return Turn(opening, closings[0])


def _answered(tokenizer: PreTrainedTokenizerBase, turn: Turn) -> Turn:
    """The turn with what the template writes right before an answer, if it shows that."""
    messages = [_user(ASKED), {"role": "assistant", "content": ANSWERED}]
    try:
        text = _filled(tokenizer, messages, add_generation_prompt=False)
    except Exception:  # a template may raise anything, and need not take an answer
        return turn
    _, shown, rest = text.partition(ASKED + turn.closing)
    if not shown or ANSWERED not in rest:
        return turn
    written = rest[: rest.index(ANSWERED)]
    gap = " " if written.endswith(" ") else ""
    return Turn(turn.opening, turn.closing + written.rstrip(" "), gap)


def _filled(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], **options: Any) -> Any:
    template = TODAY.sub(lambda call: repr(DAY.strftime(call[2])), tokenizer.get_chat_template())
    thinking = {"enable_thinking": False} if "enable_thinking" in template else {}
    asked = {"tokenize": False, "add_generation_prompt": True, **thinking, **options}
    return tokenizer.apply_chat_template(
        [dict(each) for each in messages], chat_template=template, **asked
    )


def _user(text: str) -> Message:
    return {"role": "user", "content": text}
