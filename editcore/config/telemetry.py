"""What can be measured of a model while a sequence edits it; each quantity is a column."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Quantity:
    """One measurement: its definition in a sentence, who proposed it, and what it costs.

    `falls`: it is lower, not higher, in a model that breaks. A quantity of an edited matrix is that
    of the matrix in which it is furthest from the unedited model's.
    """

    name: str
    meaning: str
    source: str
    cost: str
    falls: bool = False


MATRIX = "a pass over the edited weights"
SINGULAR = "the singular values of the edited weights"
KEYS = "a forward pass of the step's prompts; memory for two vectors a fact"

TELEMETRY: tuple[Quantity, ...] = (
    Quantity("weight_growth", "‖W‖ / ‖W₀‖ of an edited matrix", "arXiv 2502.01636", MATRIX),
    Quantity("weight_change", "‖W − W₀‖ / ‖W₀‖", "arXiv 2503.00035", MATRIX),
    Quantity(
        "top_singular_value",
        "largest singular value of W, relative to that of W₀",
        "arXiv 2405.16821",
        SINGULAR,
    ),
    Quantity(
        "condition_number",
        "condition number of W, relative to that of W₀",
        "arXiv 2405.16821",
        SINGULAR,
    ),
    Quantity(
        "row_energy",
        "hyperspherical energy of the rows of W, the sum over pairs of 1 / ‖wᵢ/‖wᵢ‖ − wⱼ/‖wⱼ‖‖, "
        "relative to that of W₀",
        "arXiv 2510.01172",
        "a product of W with its transpose",
    ),
    Quantity(
        "text_change",
        "√(tr(ΔCΔᵀ) / tr(W₀CW₀ᵀ)) with Δ = W − W₀, and C of the unedited model's keys on about "
        "1,000 tokens of running text: how far outputs there move",
        "arXiv 2605.09285",
        "a product of Δ with those keys",
    ),
    Quantity(
        "residual_share",
        "mean over running text of ‖MLP output‖ / ‖block output‖ at the last edited layer, "
        "relative to that of the unedited model",
        "arXiv 2502.01636",
        "a forward pass over about 1,000 tokens up to that layer",
    ),
    Quantity(
        "value_norm",
        "mean of ‖Wₜkₜ‖ over the last 20 facts, relative to that of ‖W₀x‖ over running text",
        "arXiv 2602.02543",
        KEYS,
    ),
    Quantity(
        "key_drift",
        "mean over the facts edited so far of ‖(W − Wₜ)kₜ‖ / ‖Wₜkₜ‖, with Wₜ and kₜ just after the "
        "fact's edit",
        "arXiv 2505.07899",
        KEYS,
    ),
    Quantity(
        "key_cosine",
        "mean over the facts edited so far of the largest cosine of their key to that of another",
        "a reproduction of August 2026, docs/streams.md",
        f"{KEYS}; a product of all keys with each other",
    ),
    Quantity(
        "key_rank",
        "effective rank of ΣKKᵀ: exp of the entropy of its normalised eigenvalues",
        "a reproduction of August 2026, docs/streams.md",
        f"{KEYS}; their eigenvalues",
    ),
    Quantity(
        "generation_entropy",
        "n-gram entropy (a third of it bigrams, the rest trigrams) of 40 tokens after each of 8 "
        "beginnings of texts, relative to that of the unedited model",
        "Meng et al. 2022, arXiv 2202.05262; arXiv 2403.07175",
        "generating 320 tokens",
        falls=True,
    ),
)
NAMES = tuple(quantity.name for quantity in TELEMETRY)
