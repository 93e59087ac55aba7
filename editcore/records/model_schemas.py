"""The tables about unedited models: every column with its meaning and unit."""

from editcore.records.columns import real, schema, small, text, whole
from editcore.records.schemas import STORED

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
