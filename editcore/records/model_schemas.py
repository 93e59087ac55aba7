"""The tables about models: every column with its meaning and unit."""

from editcore.records.columns import real, schema, small, text, whole
from editcore.records.schemas import CASE_KEYS, GROUP, STORED

TREATMENT = text(
    "treatment",
    "what was done to the edited model: `untreated`; `8-bit` and `4-bit`, its weights rounded; "
    "`8-bit-adapter` and `4-bit-adapter`, the unedited model's weights rounded and the edit added "
    "to them unrounded, as an adapter is; `pruned`, each linear map's smallest weights set to "
    "zero; `fine-tuned` on other text",
)
ROUNDED_AS = text(
    "rounded_as",
    "the format of rounded weights: `GGUF Q8_0` or `GGUF Q4_0`; on a GPU with bitsandbytes, "
    "`bitsandbytes int8` or `bitsandbytes NF4`; null if they are not rounded, and in older tables, "
    "where it was always GGUF's",
)
# What is measured of each treated model.
LEFT = ("efficacy", "generalization", "efficacy_score")

LAYERS = schema(
    "layers/1",
    ("model", "dataset", "case_id", "layer"),
    (
        text("model", "the model's label in the study"),
        text("dataset", "the data set's label in the study"),
        whole("case_id", "the fact's number in the data set"),
        whole("layer", "number of the block, from 0"),
        text("status", "`ok`, or why the keys of this case could not be measured"),
        text("subject", "the fact's subject"),
        small("subject_position", "index of the subject's last token in the bare prompt"),
        small("subject_tokens", "tokens of the subject"),
        real("key_cosine", "cosine of the bare key kᵘ and the mean key k̄ over the prefixes"),
        real("key_norm", "norm of kᵘ"),
        real("mean_norm", "norm of k̄"),
        real(
            "denominator_share",
            "k̄·kᵘ / k̄·k̄: the denominator with mixed keys relative to that with mean keys alone, "
            "both without C",
        ),
        STORED,
    ),
)

ROUNDING = schema(
    "rounding/2",
    ("model", "bits"),
    (
        text("model", "the model's label in the study"),
        small("bits", "bits of each rounded weight: 8 or 4"),
        ROUNDED_AS,
        text("status", "`ok`, or why the model's weights cannot be rounded"),
        real("perplexity", "perplexity of the rounded model"),
        real("perplexity_base", "perplexity of the model itself"),
        real("perplexity_ratio", "`perplexity` / `perplexity_base`"),
        real("kl_mean", "as in the edit rows, for the rounded model", "nats"),
        real("kl_upper", "the 99th percentile of that divergence over tokens", "nats"),
        real("top1_kept", "share of tokens at which both models' likeliest next token is the same"),
        text("dtype", "number type of the weights"),
        text("precision", "precision of the frozen model's matrix products"),
        STORED,
    ),
)

SURVIVAL = schema(
    "survival/3",
    (*CASE_KEYS, "treatment"),
    (
        *GROUP,
        whole("case_id", "the edited case's number in the data set"),
        TREATMENT,
        ROUNDED_AS,
        text("status", "`ok`, or why the treated model could not be made or measured"),
        real("efficacy", "share of target tokens that the treated edited model ranks first"),
        real(
            "efficacy_unedited",
            "the same for the unedited model after the same treatment, which may know the object",
        ),
        real("generalization", "share of target tokens ranked first after the paraphrases"),
        real("generalization_unedited", "the same for the treated unedited model"),
        real(
            "efficacy_score",
            "1 if the new object is more probable than the true one after the prompt, otherwise 0; "
            "null without a true object",
        ),
        real("efficacy_score_unedited", "the same for the treated unedited model"),
        real("perplexity", "perplexity of the treated edited model, on up to ten texts"),
        real("perplexity_unedited", "that of the treated unedited model"),
        real(
            "perplexity_ratio",
            "`perplexity` / `perplexity_unedited`; null if the latter is not finite",
        ),
        real(
            "top1_kept",
            "share of those texts' tokens at which both treated models have the same likeliest "
            "next token",
        ),
        whole("seed", "the study's seed"),
        text("dtype", "number type of the weights"),
        text("precision", "precision of the frozen model's matrix products"),
        STORED,
    ),
)

SURVIVAL_MEANS = schema(
    "survival-means/3",
    ("model", "editor", "dataset", "treatment"),
    (
        *GROUP,
        TREATMENT,
        ROUNDED_AS,
        whole("n", "edited models"),
        whole("n_ok", "those that could be treated and measured; the numbers below are for these"),
        text("failures", "JSON: number of the others by reason; null if there are none"),
        *(
            column
            for name in LEFT
            for column in (
                real(f"{name}_mean", f"mean of `{name}`"),
                real(f"{name}_low", "lower end of its 95 % interval (Wilson)"),
                real(f"{name}_high", "upper end of that interval"),
                whole(f"{name}_n", "number of edited models in that mean"),
                real(f"{name}_unedited_mean", f"mean of `{name}_unedited`"),
            )
        ),
        real("perplexity_ratio_median", "median of `perplexity_ratio`"),
        whole(
            "n_damaged",
            "edited models that the edit damages, compared with the unedited model after the same "
            "treatment",
        ),
        whole("n_collapsed", "those that it collapses"),
    ),
    required=("n", "n_ok", "n_damaged", "n_collapsed"),
)

WARNING = schema(
    "warning/2",
    ("calibrated_on", "tested_on", "editor", "predictor", "target"),
    (
        text(
            "calibrated_on",
            "the model whose edits the predictor was fitted on; `*` for all models but the tested "
            "one, each with the same weight",
        ),
        text("tested_on", "the model whose edits it was tested on"),
        text(
            "editor",
            "the editor whose edits are used in both, or only in the test if `calibrated_on` is "
            "`*`, which is fitted on all editors; `*` for all",
        ),
        text(
            "predictor",
            "`sample_changed`, `sample_ratio`, `output_change`, `exposure` and `warning` as in the "
            "edit rows; `relative_change` ‖Δ‖/‖W‖; `denominator` and `key_match`, their inverses; "
            "`subject_position`, 1 / (1 + position)",
        ),
        text("target", "what is predicted: `harmed` (damaged or collapsed) or `collapsed`"),
        whole("n_calibrated", "number of edits that it was fitted on"),
        whole("n_calibrated_hits", "number of those with the target"),
        whole("n", "number of edits that it was tested on"),
        whole("n_hits", "number of those with the target"),
        real("auc", "area under the ROC curve of the test; null if all or none have the target"),
        real(
            "threshold",
            "the value that separates those with the target best (highest F1) where it was fitted; "
            "null if all or none had the target there",
        ),
        real("recall", "on the test, share of edits with the target at or above the threshold"),
        real("precision", "on the test, share of edits with the target among those"),
        real("false_alarms", "on the test, share of edits without the target at or above it"),
        real("recall_collapsed", "on the test, share of collapses at or above it"),
        real("intercept", "P(target) = 1 / (1 + exp(−intercept − slope · log₁₀ value)), fitted"),
        real("slope", "the slope of that fit"),
    ),
    required=("n", "n_hits"),
)
