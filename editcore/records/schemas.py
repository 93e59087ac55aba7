"""The tables of edits, sequences and tasks: every column with its meaning and unit, stated once.

`results/README.md` and the report's help are made from these sentences.
"""

from editcore.records.columns import flag, real, schema, small, text, whole

CASE_KEYS = ("model", "editor", "dataset", "case_id")

# Columns of a table of sequences beyond its schema, for each task: how well the model did, and what
# guessing gives.
SCORE, GUESSED = "score_", "random_"

METRICS = (
    real("efficacy", "share of target tokens that the edited model ranks first after the prompt"),
    real("efficacy_prefixed", "the same after the prompt in `test_prefix`"),
    real("generalization", "share of target tokens ranked first after the prompt's paraphrases"),
    real("generalization_prefixed", "the same after the paraphrases in `test_prefix`"),
    real("locality", "share of the neighbours' answer tokens ranked first as before the edit"),
    real("locality_prefixed", "the same for the neighbours in `test_prefix`"),
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
)
METRIC_COLUMNS = tuple(column.name for column in METRICS)

_GROUP = (
    text("model", "the model's label in the study"),
    text("editor", "the editor's label in the study"),
    text("dataset", "the data set's label in the study"),
)

_VERDICTS = (
    flag("collapsed", "whether the model has collapsed, by the threshold that the study chose"),
    flag("collapsed_perplexity", "whether perplexity is above `collapse.perplexity`"),
    flag(
        "collapsed_ratio",
        "whether perplexity is above `collapse.ratio` times that of the unedited model",
    ),
)

_FACT = (
    text("subject", "the fact's subject"),
    text("prompt", "the fact's prompt, with `{}` in place of the subject"),
    text("target_new", "the object that the edit is to bring"),
    text("target_true", "the object that is true"),
    text("relation", "the fact's relation, as the data set names it"),
)

_MEASURED = (
    *_FACT,
    small("subject_start", "characters before the subject; 0: it opens the prompt"),
    small("subject_tokens", "tokens of the subject"),
    small("subject_position", "index of the subject's last token in the bare prompt"),
    real("numerator_norm", "norm of the residual that the update adds at the key"),
    real("denominator", "absolute value of what the update is divided by"),
    real(
        "denominator_usual",
        "√(uᵀC u): what uᵀk is over running text in the quadratic mean, for the direction u of a "
        "rank-one update; null for other changes and where C is not known",
    ),
    real(
        "delta_norm",
        "Frobenius norm of the weight change; null for an editor that changes no weights",
    ),
    real("weight_norm", "Frobenius norm of the parameters that it changes, before the edit"),
    real(
        "warning",
        "what the change will add to the outputs of the maps it changes over running text, "
        "relative to what they give: √(Σ tr(Δ C Δᵀ) / Σ tr(W C Wᵀ)); ‖Δ‖/‖W‖ where C is not known. "
        "It is known before any weight changes",
    ),
    small("steps", "optimisation steps of the value"),
    real(
        "perplexity",
        "perplexity of the edited model: mean over the texts of exp(mean negative log-likelihood); "
        "inf where a logit is not finite",
    ),
    real("perplexity_base", "perplexity of the unedited model"),
    real("perplexity_ratio", "`perplexity` / `perplexity_base`"),
    real(
        "perplexity_corpus",
        "exp(sum of negative log-likelihoods / tokens) over all texts together",
    ),
    real("nll_sum", "that sum", "nats"),
    whole("token_count", "predicted tokens"),
    whole("nonfinite_tokens", "predicted tokens whose likelihood is not finite"),
)

_AROUND = (
    *METRICS,
    text(
        "continuation_base",
        "how the unedited model continues the case's prompt, the most probable token each time; "
        "shorter, or empty, where the text ends or logits are not finite; null where the study "
        "asks for none",
    ),
    text("continuation", "how the edited model continues it"),
    flag(
        "known",
        "whether the unedited model knows the fact: after the prompt it ranks each token of the "
        "true object first; null where the data set names none",
    ),
    text("test_prefix", "the template of the prefixed tests, with `{}` in place of the prompt"),
    real(
        "seconds",
        "time of making and measuring the edit; a v* found beforehand is not counted",
        "s",
    ),
    text("key_strategy", "which keys the update uses; null where the editor reports none"),
    flag("second_moment", "whether the update uses C; null where the editor reports nothing"),
    whole("seed", "the study's seed"),
    text("dtype", "number type of the weights"),
    text("precision", "arithmetic of the frozen model's matrix products"),
    text("prefixes_hash", "hash of the context prefixes"),
)

_CASE = (
    *_GROUP,
    whole("case_id", "the data set's number of the case"),
    text(
        "status",
        "`ok`, or why the edit could not be made or measured; then all that was not measured is "
        "null",
    ),
)

EDITS = schema("edits/2", CASE_KEYS, (*_CASE, *_MEASURED, *_AROUND))

CASES = schema("cases/2", CASE_KEYS, (*_CASE, *_MEASURED, *_VERDICTS, *_AROUND))

# What a row holds whatever is measured; no metric's column has such a name.
OWN_COLUMNS = tuple(name for name in CASES.names if name not in METRIC_COLUMNS)

VERDICTS = schema(
    "verdicts/2",
    ("model", "editor", "dataset"),
    (
        *_GROUP,
        whole("n", "edits, failed ones too"),
        whole("n_ok", "edits that could be made; all numbers below are of these"),
        text("failures", "JSON from the reason to the number of failed edits; null without any"),
        whole("n_collapsed", "edits with `collapsed`"),
        whole("n_collapsed_perplexity", "edits with `collapsed_perplexity`"),
        whole("n_collapsed_ratio", "edits with `collapsed_ratio`"),
        text("collapse_verdict", "which threshold `collapsed` follows: `ratio` or `perplexity`"),
        real("collapse_perplexity", "the threshold on perplexity that judged these edits"),
        real("collapse_ratio", "the threshold on its ratio to the unedited model's that did"),
        whole("n_nonfinite", "edits after which some token's likelihood is not finite"),
        real("perplexity_base", "perplexity of the unedited model"),
        real("perplexity_median", "median of `perplexity`"),
        real("perplexity_max", "greatest `perplexity`"),
        real("ratio_median", "median of `perplexity_ratio`"),
        real("ratio_max", "greatest `perplexity_ratio`"),
        whole("denominator_n", "edits that have a denominator"),
        real("denominator_median", "median of `denominator`"),
        real("denominator_mean", "mean of `denominator`"),
        real("denominator_min", "least `denominator`"),
        real("denominator_max", "greatest `denominator`"),
        real("numerator_norm_mean", "mean of `numerator_norm`"),
        *(real(f"{m}_mean", f"mean of `{m}`") for m in METRIC_COLUMNS),
        *(whole(f"{m}_n", f"edits that `{m}_mean` is over") for m in METRIC_COLUMNS),
        real("seconds", "sum of `seconds`", "s"),
    ),
)

GUARD = schema(
    "guard/1",
    ("model", "editor", "step"),
    (
        text("model", "the model's label"),
        text("editor", "the editor's label"),
        whole("step", "number of the edit in its list, from 0"),
        whole("case_id", "the file's number of the fact"),
        text("status", "`ok`, or `refused: ` and the reason"),
        flag("accepted", "whether the edit is part of `delta.safetensors`"),
        *(column for column in _FACT if column.name in ("subject", "prompt", "target_new")),
        real("denominator", "what this edit's update is divided by; null without a denominator"),
        real("perplexity", "perplexity of the model with this edit after all accepted ones"),
        real("perplexity_base", "perplexity of the unedited model"),
        real("perplexity_ratio", "`perplexity` / `perplexity_base`"),
        real("efficacy", "as in the edit rows, of that model and this edit's prompt"),
        real("locality", "as in the edit rows, of that model and this edit's neighbours"),
    ),
)

_STEP_KEYS = ("model", "editor", "dataset", "order", "step")

_STEP = (
    *_GROUP,
    whole("order", "the seed that drew the facts and their order"),
    whole("step", "number of the step; 0 is the unedited model"),
    whole("edits", "facts edited up to and with this step"),
    whole("case_id", "the step's fact, the first of several; null at step 0"),
    text(
        "status",
        "`ok`; why the step's edit could not be made, which leaves the model as it was; or "
        "`stopped`: the sequence ended here, since the model has collapsed",
    ),
    flag("made", "whether the step changed the model"),
    real("perplexity", "perplexity of the model as it is now; null at steps without measurement"),
    real("perplexity_base", "perplexity of the unedited model"),
    real("perplexity_ratio", "`perplexity` / `perplexity_base`"),
    whole("nonfinite_tokens", "predicted tokens whose likelihood is not finite"),
)

_LEFT = (
    real("denominator", "absolute value of what the step's own update is divided by"),
    real("delta_norm", "Frobenius norm of the step's own change"),
    real("accumulated_norm", "Frobenius norm of everything changed so far"),
    real(
        "efficacy_so_far",
        "mean of `efficacy` over all facts edited so far; null at steps without this test",
    ),
    real("efficacy_so_far_prefixed", "mean of `efficacy_prefixed` over them"),
    real("generalization_so_far", "mean of `generalization` over them"),
    real(
        "locality",
        "mean over their neighbours of the share of answer tokens ranked first as by the unedited "
        "model; neighbours that were edited themselves do not count",
    ),
    whole("seed", "the study's seed"),
    real("seconds_editing", "time of making the edit", "s"),
    real("seconds", "time of the step, with all that was measured", "s"),
)

# The status of a sequence's last row where the model had collapsed.
STOPPED = "stopped"

SEQUENCES = schema("sequences/2", _STEP_KEYS, (*_STEP, *_LEFT))

SEQUENCES_JUDGED = schema("sequences-judged/1", _STEP_KEYS, (*_STEP, *_VERDICTS, *_LEFT))

DOWNSTREAM = schema(
    "downstream/1",
    (*CASE_KEYS, "task"),
    (
        *_GROUP,
        whole("case_id", "the data set's number of the edited case"),
        text("task", "the task's name"),
        text("metric", "which of the task's metrics the score is"),
        real("score", "mean over the items; null where status is not `ok`"),
        real("random", "what guessing gives: one of the choices, or 0 where there are none"),
        text(
            "status",
            "`ok`, or `nonfinite`: a logit that the score would be read from is not finite",
        ),
        real("stderr", "standard error of the mean"),
        whole("n_items", "items"),
        real("perplexity", "perplexity of the model, as in its edit row"),
        flag("spread", "whether the edit was chosen to cover the range of perplexity"),
        flag("top", "whether it was chosen as one of those with the highest perplexity"),
        real("seconds", "time of the task", "s"),
    ),
    nullable=("editor", "dataset", "case_id"),
)

CORRELATION = schema(
    "correlation/1",
    ("model", "task"),
    (
        text("model", "the model's label in the study"),
        text("task", "the task's name"),
        text("metric", "the score that is correlated with perplexity"),
        real(
            "rho",
            "Spearman's ρ over the models with `spread` and the unedited one; null where ranks do "
            "not vary",
        ),
        real("p_value", "its two-sided p"),
        real("ci_low", "lower end of its bootstrap interval of 95 %, by percentiles"),
        real("ci_high", "upper end of that interval"),
        whole("n", "models; those without a score or with infinite perplexity do not count"),
    ),
)

WEIGHTS = schema(
    "weight_change/1",
    (*CASE_KEYS, "parameter", "row", "column"),
    (
        *_GROUP,
        whole("case_id", "the data set's number of the case"),
        text("parameter", "the first matrix that the edit changes"),
        small("row", "row of the block, of at most 40"),
        small("column", "column of the block, of at most 80"),
        real("change", "the largest absolute number of ΔW in the block"),
        whole("d_out", "rows of the matrix"),
        whole("d_in", "columns of the matrix"),
        flag("collapsed", "the verdict on the edit"),
        real("perplexity", "perplexity of the edited model"),
    ),
)

WARNING = schema(
    "warning/1",
    ("calibrated_on", "tested_on", "editor", "predictor"),
    (
        text("calibrated_on", "the model whose edits the predictor was fitted on"),
        text("tested_on", "the model whose edits it was tested on"),
        text("editor", "the editor whose edits count, in both; `*` for all"),
        text(
            "predictor",
            "`warning` as in the edit rows; `relative_change` ‖Δ‖/‖W‖; `denominator`, its inverse; "
            "`denominator_ratio`, `denominator_usual` over `denominator`; `subject_position`, "
            "1 / (1 + position)",
        ),
        whole("n_calibrated", "edits that it was fitted on"),
        whole("n_calibrated_collapsed", "how many of those collapsed"),
        whole("n", "edits that it was tested on"),
        whole("n_collapsed", "how many of those collapsed"),
        real("auc", "area under the ROC curve of the test; null where all or none collapsed"),
        real(
            "threshold",
            "the least value among the collapses it was fitted on, so that it misses none of them; "
            "null where none collapsed",
        ),
        real("recall", "on the test, share of collapses at or above the threshold"),
        real("precision", "on the test, share of collapses among what is at or above it"),
        real("intercept", "P(collapse) = 1 / (1 + exp(−intercept − slope · log₁₀ value)), fitted"),
        real("slope", "the slope of that fit"),
    ),
)
