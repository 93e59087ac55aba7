"""The terms that the page explains where they first appear, as docs/glossary.md defines them."""

import re
from dataclasses import dataclass, field

from markupsafe import Markup, escape


@dataclass(frozen=True)
class Term:
    """A term of the glossary, the words for it in sentences, and what it means.

    `meaning` is how the term's meaning in the glossary begins; a test compares them.
    """

    name: str
    words: str
    meaning: str

    @property
    def anchor(self) -> str:
        """The id of its explanation in the page."""
        return "term-" + re.sub(r"\W+", "-", self.name.lower())


TERMS = (
    Term(
        "collapse",
        "collapse[sd]?",
        "an edited model that no longer predicts ordinary text",
    ),
    Term(
        "damage",
        "damaged?",
        "many changed next-token predictions in a model that has not collapsed",
    ),
    Term("perplexity", "perplexit(?:y|ies)", "how badly a model predicts ordinary text"),
    Term(
        "denominator",
        "denominators?",
        "what the update is divided by: a small one makes a large change",
    ),
    Term(
        "efficacy",
        "efficac(?:y|ies)",
        "share of the target's tokens that are the model's most likely tokens after the edited "
        "prompt",
    ),
    Term("generalization", "generalization", "efficacy after a paraphrase of the prompt"),
    Term(
        "locality",
        "locality",
        "share of a neighbour's answer tokens at which the edit did not change the most likely "
        "token",
    ),
    Term(
        "prefix",
        "prefix(?:es)?",
        "a short text sampled from the model itself, put before the prompt",
    ),
    Term(
        "KL divergence",
        "KL divergences?",
        "how far the edited model's next-token distribution q moved from the unedited model's p",
    ),
    Term(
        "v*",
        r"v\*",
        "the down-projection's output that makes the model predict the target",
    ),
    Term("C", "C", "second moment E[k kᵀ] of keys over running text"),
)


@dataclass
class Explainer:
    """Makes a button that opens the explanation of each term, where the page first uses it."""

    used: list[Term] = field(default_factory=list)

    def explained(self, text: str) -> Markup:
        """The text as markup.

        >>> page = Explainer()
        >>> print(page.explained("C"))
        <dfn><button type="button" popovertarget="term-c">C</button></dfn>
        >>> print(page.explained("C <b>"))
        C &lt;b&gt;
        """
        left = [term for term in TERMS if term not in self.used]
        if not left:
            return escape(text)
        either = "|".join(f"(?P<t{i}>{term.words})" for i, term in enumerate(left))
        parts: list[str] = []
        end = 0
        for found in re.finditer(rf"(?<![\w‖-])(?:{either})(?![\w-])", text):
            term = next(t for i, t in enumerate(left) if found[f"t{i}"])
            if term in self.used:
                continue
            self.used.append(term)
            parts += [escape(text[end : found.start()]), _button(term, found[0])]
            end = found.end()
        return Markup("").join([*parts, escape(text[end:])])


def _button(term: Term, words: str) -> Markup:
    return Markup('<dfn><button type="button" popovertarget="{}">{}</button></dfn>').format(
        term.anchor, words
    )
