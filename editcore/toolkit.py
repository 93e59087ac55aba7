"""Everything for computing that an editor's author needs; importing this imports torch.

Names for planning (options, hook records, requests, errors) are in `editcore`, which imports no
torch. A plugin imports from these two modules only; docs/toolkit.md lists both.
"""

from editcore.editing.diagnostics import merge_diagnostics
from editcore.editing.norm_anchor import NormAnchor, mlp_values
from editcore.editing.spreading import LayerKeys, RememberingEditor, Sought, SpreadingEditor
from editcore.editing.target_rows import ScoredRows, TargetRow, target_row
from editcore.editing.token_gradients import TokenFactors, token_factors
from editcore.editing.trained import TrainedParts, load_trained, save_trained
from editcore.editing.transforms import DeltaTransform, TransformResult
from editcore.editing.values import values_of_each
from editcore.editing.wrappers import EditorWrapper
from editcore.evaluation.judges import Judge, Judged, each_answer
from editcore.evaluation.metrics import Metric, MetricInput, mean_or_none
from editcore.evaluation.overlay import (
    Activations,
    Added,
    BatchedFactors,
    StartPoint,
    overlaying,
    recording_activations,
    run_from,
)
from editcore.evaluation.teacher_forcing import (
    Answer,
    Answers,
    CaseQuestions,
    Question,
    TokenizedQuestions,
    ask,
    ask_edited,
    tokenize_questions,
)
from editcore.keyvalue.estimation.moment_accumulator import measure_moments
from editcore.keyvalue.keys import (
    KeyPair,
    KeyStrategy,
    SubjectKeys,
    collect_keys,
    tokenize_templates,
)
from editcore.keyvalue.least_squares import (
    solve_against,
    solve_least_squares,
    weigh_against,
    weigh_ridge,
)
from editcore.keyvalue.prefixes import ContextPrefixes, WeightedTemplates, sample_prefixes
from editcore.keyvalue.rank_one import RankOne, solve_rank_one
from editcore.keyvalue.row_adam import RowAdam
from editcore.keyvalue.second_moment import SecondMoment
from editcore.keyvalue.spectrum import MomentSpectrum
from editcore.keyvalue.spread import Solve, spread
from editcore.keyvalue.value import Value, ValueProblem, pose
from editcore.keyvalue.value_search import find_values
from editcore.models.architectures import ModelParts, stores_transposed
from editcore.models.batch_size import (
    in_halves,
    rows_of_logits,
    tokens_per_pass,
    tokens_per_search,
)
from editcore.models.hooks import (
    Recorded,
    adding,
    last_settled,
    only_at,
    recording,
    resuming_after,
    resuming_with,
)
from editcore.models.loading import LoadedModel, load_model, wrap_model
from editcore.models.tokenization import (
    PaddedRows,
    TokenizedPrompt,
    bucket_by_length,
    continuation_ids,
    pad_rows,
    tokenize_prompt,
)
from editcore.progress import progress_bar
from editcore.records.checkpoint import Checkpoint, Progress
from editcore.updates.change import Change
from editcore.updates.delta import (
    Delta,
    DenseUpdate,
    LowRankUpdate,
    Update,
    combine_deltas,
    load_deltas,
    save_deltas,
)
from editcore.updates.patch import Patch

__all__ = [
    "Activations",
    "Added",
    "Answer",
    "Answers",
    "BatchedFactors",
    "CaseQuestions",
    "Change",
    "Checkpoint",
    "ContextPrefixes",
    "Delta",
    "DeltaTransform",
    "DenseUpdate",
    "EditorWrapper",
    "Judge",
    "Judged",
    "KeyPair",
    "KeyStrategy",
    "LayerKeys",
    "LoadedModel",
    "LowRankUpdate",
    "Metric",
    "MetricInput",
    "ModelParts",
    "MomentSpectrum",
    "NormAnchor",
    "PaddedRows",
    "Patch",
    "Progress",
    "Question",
    "RankOne",
    "Recorded",
    "RememberingEditor",
    "RowAdam",
    "ScoredRows",
    "SecondMoment",
    "Solve",
    "Sought",
    "SpreadingEditor",
    "StartPoint",
    "SubjectKeys",
    "TargetRow",
    "TokenFactors",
    "TokenizedPrompt",
    "TokenizedQuestions",
    "TrainedParts",
    "TransformResult",
    "Update",
    "Value",
    "ValueProblem",
    "WeightedTemplates",
    "adding",
    "ask",
    "ask_edited",
    "bucket_by_length",
    "collect_keys",
    "combine_deltas",
    "continuation_ids",
    "each_answer",
    "find_values",
    "in_halves",
    "last_settled",
    "load_deltas",
    "load_model",
    "load_trained",
    "mean_or_none",
    "measure_moments",
    "merge_diagnostics",
    "mlp_values",
    "only_at",
    "overlaying",
    "pad_rows",
    "pose",
    "progress_bar",
    "recording",
    "recording_activations",
    "resuming_after",
    "resuming_with",
    "rows_of_logits",
    "run_from",
    "sample_prefixes",
    "save_deltas",
    "save_trained",
    "solve_against",
    "solve_least_squares",
    "solve_rank_one",
    "spread",
    "stores_transposed",
    "target_row",
    "token_factors",
    "tokenize_prompt",
    "tokenize_questions",
    "tokenize_templates",
    "tokens_per_pass",
    "tokens_per_search",
    "values_of_each",
    "weigh_against",
    "weigh_ridge",
    "wrap_model",
]
