"""The columns of how well an edit took: of the built-in metrics, free answers, and probes.

Those of the default metrics and of free answers are in every table of edits; those of probes are in
the tables of studies that ask for them.
"""

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
    real(
        "efficacy_all_facts",
        "mean of `efficacy` over all facts of a case of several; null for a case of one",
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

# What only studies have whose `metrics` name it.
PROBES = (
    real(
        "attacked_old",
        "share of attacks after which the edited model ranks each token of the true object first: "
        "the prompt after three texts that name that object (Xie et al. 2025, OM)",
    ),
    real(
        "attacked_old_likelier",
        "share of those attacks after which the true object is more probable than the new one (OP)",
    ),
    real("attacked_new", "mean of `efficacy` after those attacks"),
    real(
        "overfit_neighbours",
        "share of neighbours after which the new object is more probable than their own, unless "
        "they have the same (Zhang et al. 2024)",
    ),
    real("overfit_neighbours_base", "the same for the unedited model"),
    real(
        "overfit_consequences",
        "share of consequences, of those with another answer, after which the new object is more "
        "probable than every name of that answer",
    ),
    real("overfit_consequences_base", "the same for the unedited model"),
    real(
        "neighbour_kl",
        "mean Kullback-Leibler divergence of the edited model's distribution of the next token "
        "from the unedited model's after the neighbours' prompts (Hoelscher-Obermaier et al. 2023)",
        "nats",
    ),
    real(
        "neighbour_kl_after_edit",
        "the same with the edited fact, as a sentence, in front of each neighbour's prompt",
        "nats",
    ),
    real(
        "neighborhood_score_after_edit",
        "`neighborhood_score` with that sentence in front of each neighbour's prompt",
    ),
    real("neighborhood_score_after_edit_base", "the same for the unedited model"),
    real(
        "portability",
        "mean over the fact's consequences of the share of the answer's tokens ranked first; of "
        "several names of the answer, the one with the largest share counts",
    ),
    real("portability_base", "the same for the unedited model"),
    real("multi_hop", "`portability` over the consequences that need several steps"),
    real("reversed", "`portability` over the consequences that ask for the subject by the object"),
)
PROBE_COLUMNS = tuple(column.name for column in PROBES)
# Their means and counts in tables of verdicts.
PROBE_MEANS = (
    *(real(f"{name}_mean", f"mean of `{name}`") for name in PROBE_COLUMNS),
    *(whole(f"{name}_n", f"number of edits in `{name}_mean`") for name in PROBE_COLUMNS),
)
