"""The columns of how well an edit took: those of the built-in metrics, and of free answers."""

from editcore.records.columns import real, whole

METRICS = (
    real("efficacy", "share of target tokens that the edited model ranks first after the prompt"),
    real(
        "efficacy_prefixed",
        "mean of the same after the prompt in up to five templates drawn by seed and case, the "
        "first of them `test_prefix`; in tables of `edits/1` and `edits/2`, in `test_prefix` alone",
    ),
    real("efficacy_prefixed_min", "smallest of them; null in those tables"),
    real("efficacy_prefixed_max", "largest of them; null in those tables"),
    whole("efficacy_prefixed_n", "number of these templates; null in those tables"),
    real("generalization", "share of target tokens ranked first after the prompt's paraphrases"),
    real("generalization_prefixed", "the same after the paraphrases in `test_prefix` alone"),
    real("locality", "share of the neighbours' answer tokens ranked first as before the edit"),
    real("locality_prefixed", "the same for the neighbours in `test_prefix` alone"),
    real(
        "efficacy_score",
        "share of prompts after which the new object is more probable than the true one "
        "(Meng et al. 2022)",
    ),
    real("paraphrase_score", "the same for paraphrases"),
    real(
        "neighborhood_score",
        "share of neighbours for which the true object is more probable than the new one",
    ),
    real(
        "locality_kl",
        "mean Kullback-Leibler divergence of the edited model's next-token distribution from the "
        "unedited model's at the neighbours' answer tokens",
        "nats",
    ),
)
METRIC_COLUMNS = tuple(column.name for column in METRICS)
# The range of a mean over one edit's prefixes, which is not averaged over edits.
_RANGE = tuple(f"efficacy_prefixed_{name}" for name in ("min", "max", "n"))

FREE = (
    real(
        "efficacy_free",
        "1 if the edited model, asked freely, gives the new object: `continuation` contains it as "
        "whole words, with case as given; otherwise 0; null if the study has no continuations",
    ),
    real(
        "efficacy_free_prefixed",
        "share of the templates of `efficacy_prefixed` after which the edited model's greedy "
        "continuation contains it",
    ),
)
FREE_COLUMNS = tuple(column.name for column in FREE)

# What summaries average over edits.
MEAN_COLUMNS = (*(name for name in METRIC_COLUMNS if name not in _RANGE), *FREE_COLUMNS)
