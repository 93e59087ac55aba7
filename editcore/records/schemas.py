"""The tables of edits, sequences and tasks: every column with its meaning and unit.

`results/README.md` and the report's help are made from these sentences.
"""

from editcore.config.telemetry import TELEMETRY
from editcore.records.columns import flag, real, schema, small, text, whole
from editcore.records.metric_columns import FREE, MEAN_COLUMNS, METRIC_COLUMNS, METRICS

CASE_KEYS = ("model", "editor", "dataset", "case_id")

# Prefixes of further columns in tables of sequences, two per task: its score and that of guessing.
SCORE, GUESSED = "score_", "random_"

GROUP = (
    text("model", "the model's label in the study"),
    text("editor", "the editor's label in the study"),
    text("dataset", "the data set's label in the study"),
)

GRADE = text(
    "grade",
    "`collapsed`; `damaged`: not collapsed, but 1 − `top1_kept` is above `collapse.damage`; "
    "or `sound`; null if `top1_kept` is and the model has not collapsed",
)

_VERDICTS = (
    flag("collapsed", "whether the model has collapsed, by the study's choice of threshold"),
    flag("collapsed_perplexity", "whether perplexity is above `collapse.perplexity`"),
    flag(
        "collapsed_ratio",
        "whether perplexity is above `collapse.ratio` times that of the unedited model",
    ),
    GRADE,
)

STORED = text(
    "stored_as",
    "kind of number that most of the model's weights are stored as on disk, such as F32, or Q4_1 "
    "in a GGUF file",
)

DIAGNOSTICS = text(
    "diagnostics",
    "JSON: what else the editor, its wrappers and its transforms report of the edit, numbers by "
    "name; null for a number that is not finite; null if they report nothing or the edit failed",
)

_FACT = (
    text("subject", "the fact's subject"),
    text("prompt", "the fact's prompt, with `{}` in place of the subject"),
    text("target_new", "the object that the model should give after the edit"),
    text("target_true", "the true object"),
    text("relation", "the fact's relation, as the data set names it"),
)

_DISTURBANCE = (
    real(
        "kl_mean",
        "how far the edited model's predictions moved: mean Kullback-Leibler divergence per token "
        "from the unedited model's next-token distribution on the perplexity texts (its 256 "
        "likeliest tokens one by one, all others together); inf if a logit is not finite",
        "nats",
    ),
    real("kl_upper", "the 99th percentile of that divergence over tokens", "nats"),
    real("top1_kept", "share of tokens at which both models' likeliest next token is the same"),
)

_MEASURED = (
    *_FACT,
    small("facts", "facts of the case, edited in one model; what is of one fact is of the first"),
    text("chat_template", "hash of the chat template around the prompts; null without a chat"),
    small("subject_start", "characters before the subject, also of a chat; 0: it opens the prompt"),
    small("subject_tokens", "tokens of the subject"),
    small("subject_position", "index of the subject's last token in the bare prompt or its chat"),
    real("numerator_norm", "norm of the residual that the update adds at the key"),
    real("denominator", "absolute value of the update's denominator"),
    real(
        "key_match",
        "|uᵀk_s| / |uᵀk_u| for a rank-one update of direction u = C⁻¹k_u (k_u without C): its "
        "denominator relative to that of one key in both places; known before v* is searched for; "
        "null for other editors",
    ),
    real(
        "exposure",
        "what running text gets of a rank-one update, as a share of what the subject gets: the "
        "mean of |uᵀx| / |uᵀk_s| over tokens or over first tokens, the larger one, with a map's "
        "input x; known before v* is searched for; null for other changes",
    ),
    real(
        "delta_norm",
        "Frobenius norm of the weight change; null for an editor that changes no weights",
    ),
    real("weight_norm", "Frobenius norm of the changed parameters before the edit"),
    real(
        "warning",
        "how much the change will add to the outputs of the changed maps over running text, "
        "relative to those outputs: √(Σ tr(Δ C Δᵀ) / Σ tr(W C Wᵀ)), or ‖Δ‖/‖W‖ if C is not known; "
        "computed before any weight changes",
    ),
    real(
        "output_change",
        "how much the change will change the outputs of the changed maps: the mean over tokens of "
        "running text of ‖Δx‖ / ‖Wx‖, with a map's input x and output Wx; several maps add in "
        "quadrature; computed before any weight changes; null if others than linear maps change",
    ),
    real(
        "sample_changed",
        "share of the tokens of a sample of running text (about 1,024, other texts than those of "
        "`perplexity` if the file has more) whose likeliest next token the edit changes",
    ),
    real("sample_ratio", "perplexity on that sample, edited over unedited"),
    small("steps", "optimisation steps of the search for v*; of several, the most"),
    real(
        "perplexity",
        "perplexity of the edited model: mean over the texts of exp(mean negative log-likelihood); "
        "inf if a logit is not finite",
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
    *_DISTURBANCE,
)

_AROUND = (
    *METRICS,
    *FREE,
    text(
        "continuation_base",
        "the unedited model's greedy continuation of the case's prompt; shorter or empty if the "
        "text ends or logits are not finite; null if the study has none",
    ),
    text("continuation", "the edited model's continuation of it"),
    flag(
        "known",
        "whether the unedited model knows the fact: it ranks each token of the true object first "
        "after the prompt; null if the data set has no true object",
    ),
    text(
        "test_prefix",
        "the template of the tests after one prefix, with `{}` in place of the prompt; the first "
        "of those of `efficacy_prefixed`",
    ),
    flag(
        "took",
        "whether the edited model gives the new object in any way that was asked: at least half of "
        "its tokens after the prompt or on average after the test prefixes, or in a free answer; "
        "null if nothing was asked",
    ),
    real("seconds", "time for making and measuring the edit, without a v* found beforehand", "s"),
    real(
        "seconds_editing",
        "time for making the edit, with its share of a search for v* beforehand; without training. "
        "What an editor prepares for several edits together counts to the first of them",
        "s",
    ),
    whole(
        "change_bytes",
        "size of the edit: of a weight change, its factors or its dense numbers; of a patch, the "
        "editor's state; null if that cannot be saved",
        "bytes",
    ),
    whole(
        "peak_memory",
        "peak memory of the process that made the edit, with the model; on a graphics card, that "
        "of its tensors",
        "bytes",
    ),
    text("key_strategy", "the keys that the update uses; null if the editor reports none"),
    flag("second_moment", "whether the update uses C; null if the editor reports nothing"),
    DIAGNOSTICS,
    whole("seed", "the study's seed"),
    text("dtype", "number type of the weights"),
    text("precision", "precision of the frozen model's matrix products"),
    STORED,
    text("prefixes_hash", "hash of the context prefixes"),
)

_CASE = (
    *GROUP,
    whole("case_id", "the case's number in the data set"),
    text(
        "status",
        "`ok`, or why the edit could not be made or measured; numbers that were not measured are "
        "then null",
    ),
)

EDITS = schema("edits/8", CASE_KEYS, (*_CASE, *_MEASURED, *_AROUND))

CASES = schema("cases/8", CASE_KEYS, (*_CASE, *_MEASURED, *_VERDICTS, *_AROUND))

# The columns of every row, whatever is measured; a metric's columns have other names.
OWN_COLUMNS = tuple(name for name in CASES.names if name not in METRIC_COLUMNS)

VERDICTS = schema(
    "verdicts/5",
    ("model", "editor", "dataset"),
    (
        *GROUP,
        whole("n", "edits, including failed ones"),
        whole("n_ok", "edits that succeeded; all numbers below are for these"),
        text("failures", "JSON: number of failed edits by reason; null if none failed"),
        whole("n_collapsed", "edits with `collapsed`"),
        whole("n_collapsed_perplexity", "edits with `collapsed_perplexity`"),
        whole("n_collapsed_ratio", "edits with `collapsed_ratio`"),
        whole(
            "n_damaged",
            "edits whose grade is `damaged`; null if `top1_kept` of some was not measured",
        ),
        text(
            "collapse_verdict", "the threshold that determines `collapsed`: `ratio` or `perplexity`"
        ),
        real("collapse_perplexity", "the threshold on perplexity used here"),
        real("collapse_ratio", "the threshold on the perplexity ratio used here"),
        real("collapse_damage", "the threshold on 1 − `top1_kept` used here"),
        whole("n_nonfinite", "edits after which a token's likelihood is not finite"),
        real("perplexity_base", "perplexity of the unedited model"),
        real("perplexity_median", "median of `perplexity`"),
        real("perplexity_max", "greatest `perplexity`"),
        real("ratio_median", "median of `perplexity_ratio`"),
        real("ratio_max", "greatest `perplexity_ratio`"),
        whole("denominator_n", "edits that have a denominator"),
        real("denominator_median", "median of `denominator`"),
        real("denominator_mean", "mean of `denominator`"),
        real("denominator_min", "smallest `denominator`"),
        real("denominator_max", "greatest `denominator`"),
        real("numerator_norm_mean", "mean of `numerator_norm`"),
        *(real(f"{m}_mean", f"mean of `{m}`") for m in MEAN_COLUMNS),
        *(whole(f"{m}_n", f"number of edits in `{m}_mean`") for m in MEAN_COLUMNS),
        real("seconds", "sum of `seconds`", "s"),
    ),
    required=(
        *("n", "n_ok", "n_collapsed", "n_collapsed_perplexity", "n_collapsed_ratio"),
        *("collapse_verdict", "collapse_perplexity", "collapse_ratio", "collapse_damage"),
    ),
)

GUARD = schema(
    "guard/3",
    ("model", "editor", "step"),
    (
        text("model", "the model's label"),
        text("editor", "the editor's label"),
        whole("step", "number of the edit in its list, from 0"),
        whole("case_id", "the fact's number in the file"),
        text("status", "`ok`, or `refused: ` and the reason"),
        flag("accepted", "whether the edit is part of `delta.safetensors`"),
        flag(
            "took",
            "whether the model with an accepted edit gives the new object: at least half of its "
            "tokens, after the prompt or on average after the test prefixes; null if refused",
        ),
        text(
            "endangers",
            "JSON: the cases accepted before whose new object the model gave before this edit and "
            "no longer gives; null if there are none",
        ),
        GRADE,
        *(column for column in _FACT if column.name in ("subject", "prompt", "target_new")),
        real("denominator", "denominator of this edit's update; null if it has none"),
        real("perplexity", "perplexity of the model with this edit and all accepted ones before"),
        real("perplexity_base", "perplexity of the unedited model"),
        real("perplexity_ratio", "`perplexity` / `perplexity_base`"),
        *_DISTURBANCE,
        real("efficacy", "as in the edit rows, for that model and this edit's prompt"),
        real("locality", "as in the edit rows, for that model and this edit's neighbours"),
    ),
)

_STEP_KEYS = ("model", "editor", "dataset", "batch", "order", "arrangement", "step")

_STEP = (
    *GROUP,
    small("batch", "facts per step"),
    whole("order", "the seed that drew the facts and their order"),
    text("arrangement", "their arrangement: `drawn`, `clustered` or `dispersed`"),
    whole("step", "number of the step; 0 is the unedited model"),
    whole("edits", "number of facts up to and including this step, those that failed counted too"),
    whole("case_id", "the step's fact, or the first of several; null at step 0"),
    text(
        "status",
        "`ok`; or why the step's edit failed (the model is then unchanged); or `stopped`: the "
        "sequence ended here because the model has collapsed; or `warned: ` and what foretold a "
        "collapse, if it ended for that",
    ),
    text(
        "failed",
        "JSON from the case id to the reason of the step's facts that could not be edited; the "
        "others are edited without them; null without any",
    ),
    flag("made", "whether the step changed the model"),
    real("perplexity", "perplexity of the model after this step; null if not measured"),
    real("perplexity_base", "perplexity of the unedited model"),
    real("perplexity_ratio", "`perplexity` / `perplexity_base`"),
    whole("nonfinite_tokens", "predicted tokens whose likelihood is not finite"),
    *_DISTURBANCE,
)

_LEFT = (
    real("denominator", "absolute value of the denominator of the step's own update"),
    real("delta_norm", "Frobenius norm of the step's own change"),
    DIAGNOSTICS,
    real("accumulated_norm", "Frobenius norm of the sum of all changes so far"),
    real(
        "efficacy_so_far",
        "mean of `efficacy` over all facts edited so far; null if not measured at this step",
    ),
    whole("efficacy_so_far_n", "facts that `efficacy_so_far` is over"),
    real(
        "efficacy_so_far_prefixed",
        "mean over them of the same after the prompt in the first test prefix of each; one prefix "
        "is enough for a mean over facts",
    ),
    whole("efficacy_so_far_prefixed_n", "facts that `efficacy_so_far_prefixed` is over"),
    real("generalization_so_far", "mean of `generalization` over those with paraphrases"),
    whole("generalization_so_far_n", "facts that `generalization_so_far` is over"),
    real(
        "locality",
        "mean over their neighbours of the share of answer tokens whose first rank is as in the "
        "unedited model; neighbours that were edited themselves do not count",
    ),
    whole("locality_n", "facts that `locality` is over; one without such neighbours is not"),
    text(
        "efficacy_by_fact",
        "JSON: `efficacy` of each fact up to this step, in their order; null for one that was not "
        "edited; null as a whole if not measured at this step",
    ),
    *(real(q.name, f"{q.meaning} ({q.source}); null if not asked for") for q in TELEMETRY),
    whole("seed", "the study's seed"),
    STORED,
    real("seconds_editing", "time for making the edit", "s"),
    real("seconds", "time for the step, including all measurements", "s"),
)

# The status of a sequence's last row if the model has collapsed, and how it begins if the sequence
# was ended before harm.
STOPPED, WARNED = "stopped", "warned: "

SEQUENCES = schema("sequences/5", _STEP_KEYS, (*_STEP, *_LEFT))

SEQUENCES_JUDGED = schema("sequences-judged/5", _STEP_KEYS, (*_STEP, *_VERDICTS, *_LEFT))

DOWNSTREAM = schema(
    "downstream/2",
    (*CASE_KEYS, "task"),
    (
        *GROUP,
        whole("case_id", "the edited case's number in the data set"),
        text("task", "the task's name"),
        text("metric", "the metric that the score is"),
        real("score", "mean over the items; null if status is not `ok`"),
        real("random", "score of random guessing: 1 / choices, or 0 if there are no choices"),
        text(
            "status",
            "`ok`, or `nonfinite`: a logit that the score depends on is not finite",
        ),
        real("stderr", "standard error of the mean"),
        whole("n_items", "items"),
        real("perplexity", "perplexity of the model, as in its edit row"),
        flag("spread", "whether the edit was chosen to cover the range of perplexity"),
        flag("top", "whether it was chosen as one of those with the highest perplexity"),
        STORED,
        real("seconds", "time for the task", "s"),
    ),
    nullable=("editor", "dataset", "case_id"),
    required=("metric", "random", "n_items"),
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
            "Spearman's ρ over the models with `spread` and the unedited one; null if ranks do "
            "not vary",
        ),
        real("p_value", "its two-sided p-value"),
        real("ci_low", "lower end of its 95 % bootstrap interval, by percentiles"),
        real("ci_high", "upper end of that interval"),
        whole("n", "number of models; excludes those without a score or with infinite perplexity"),
    ),
    required=("metric", "n"),
)
