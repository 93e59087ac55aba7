"""Options of the two controls."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field, PositiveInt

from editcore import EditorConfig

PARTS = ("{prompt}", "{target}")


def _with_both_parts(line: str) -> str:
    for part in PARTS:
        if line.count(part) != 1:
            raise ValueError(f"needs one {part}")
    return line


class PromptedConfig(EditorConfig):
    """The text before each prompt; by default that of IKE without its demonstrations.

    IKE (Zheng et al. 2023) also puts 32 demonstrations, drawn from a training set, before the fact.
    They teach the model to copy a fact, to use it in other words, and to leave others alone.

    A small model may not use the text at all. After it, the bundled models give the new object of
    less than a tenth of their facts, and words that they were not trained on, such as "New Fact:",
    can multiply `tiny-gpt2`'s perplexity by 20.
    """

    line: Annotated[str, AfterValidator(_with_both_parts)] = Field(
        "New Fact: {prompt} {target}\n",
        description="A fact's line, with {prompt} and {target} in it. Instruction-tuned models may "
        "follow a sentence such as 'Assume that {prompt} {target}.' better.",
    )
    lead: str = Field(
        "Prompt: ",
        description="What follows the facts, right before the prompt. Empty: nothing. With many "
        "tokenizers the last space is a token of its own, which 'Prompt:' avoids.",
    )

    def written(self, prompt: str, target: str) -> str:
        """The line of one fact."""
        parts = dict(zip(PARTS, (prompt, target), strict=True))
        return re.sub("|".join(map(re.escape, PARTS)), lambda found: parts[found[0]], self.line)


class InContextConfig(PromptedConfig):
    """All edited facts before each prompt, in the order of their last edits."""

    memory: PositiveInt | None = Field(
        None,
        description="Only this many of the latest facts are kept; by default all, and an edit that "
        "does not fit into the model's context is refused. The texts that measure perplexity must "
        "fit after the facts too: for a model of few positions, or a long sequence, choose a "
        "number. Memory and time grow with the tokens of all facts, for each prompt. For more than "
        "some tens of facts, compare with `retrieval`.",
    )


class RetrievalConfig(PromptedConfig):
    """Of all edited facts, the one nearest to a prompt before it.

    The similarity of a fact and a prompt is the share of the words of the fact's own prompt that
    occur in the prompt. A word weighs log(1 + facts / facts with it). Of equally near facts, the
    latest counts.
    """

    least: float = Field(
        0.0,
        ge=0,
        le=1,
        description="The smallest similarity at which a fact is used. 0: the nearest always is, "
        "before unrelated text too. Raise it, say to 0.7, to leave unrelated text alone; "
        "paraphrases that share few words with the fact are then not answered. While there are few "
        "facts, common words weigh as much as names, and a long text has most of them.",
    )
