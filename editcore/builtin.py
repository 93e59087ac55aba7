"""The built-in plugin: what editcore itself provides, through the hooks of all plugins."""

from collections.abc import Iterator

from editcore.config.options import JudgeConfig
from editcore.editing.transforms.norm_cap import NormCapConfig
from editcore.evaluation.judges.model_options import ModelJudgeConfig
from editcore.evaluation.metrics import (
    accuracy,
    overfit,
    portability,
    score,
    specificity,
    superficial,
)
from editcore.registry.hookspecs import (
    DatasetFormatInfo,
    DeltaTransformInfo,
    JudgeInfo,
    KeyStrategyInfo,
    MetricInfo,
    hookimpl,
)

EDITCORE_HOOKSPEC = 2

_FALL = "Yang et al. 2024, Understanding the Collapse of LLMs in Model Editing"
_MIRAGE = "Yang et al. 2025, The Mirage of Model Editing: Revisiting Evaluation in the Wild"
_SQUAD = "Rajpurkar et al. 2016, SQuAD: 100,000+ Questions for Machine Comprehension of Text"


@hookimpl
def editcore_key_strategies() -> Iterator[KeyStrategyInfo]:
    """The three strategies that the papers compare."""
    yield KeyStrategyInfo(
        "mixed",
        "Mean key for the direction, bare key in the equation.",
        _FALL,
        "editcore.keyvalue.keys:mixed",
    )
    yield KeyStrategyInfo(
        "prefixed", "Mean key in both places.", _FALL, "editcore.keyvalue.keys:prefixed"
    )
    yield KeyStrategyInfo(
        "unprefixed",
        "Bare key in both places.",
        "Gupta et al. 2024, arXiv 2403.07175",
        "editcore.keyvalue.keys:unprefixed",
    )


@hookimpl
def editcore_delta_transforms() -> Iterator[DeltaTransformInfo]:
    """A cap on the norm, as an example of a transform."""
    yield DeltaTransformInfo(
        "norm-cap",
        "Scales each parameter's update down to a share of the parameter's norm.",
        "",
        NormCapConfig,
        "editcore.editing.transforms.norm_cap:norm_cap",
    )


@hookimpl
def editcore_metrics() -> Iterator[MetricInfo]:
    """Accuracy as in the collapse papers, scores as for ROME, and probes of an edit's depth."""
    yield MetricInfo(
        "accuracy",
        "Efficacy, generalization and locality by argmax, bare and after a prefix.",
        _FALL,
        "editcore.evaluation.metrics.accuracy:accuracy",
        accuracy.COLUMNS,
    )
    yield MetricInfo(
        "score",
        "Efficacy, paraphrase and neighbourhood score: which object is more probable.",
        "Meng et al. 2022, Locating and Editing Factual Associations in GPT",
        "editcore.evaluation.metrics.score:score",
        score.COLUMNS,
    )
    yield MetricInfo(
        "superficial",
        "Whether the original object returns after texts that name it.",
        "Xie et al. 2025, Revealing the Deceptiveness of Knowledge Editing: A Mechanistic Analysis "
        "of Superficial Editing",
        "editcore.evaluation.metrics.superficial:superficial",
        superficial.COLUMNS,
        "editcore.evaluation.metrics.superficial:questions",
    )
    yield MetricInfo(
        "overfit",
        "How often the new object is likelier than the right answer to another question.",
        "Zhang et al. 2024, Uncovering Overfitting in Large Language Model Editing",
        "editcore.evaluation.metrics.overfit:overfit",
        overfit.COLUMNS,
        "editcore.evaluation.metrics.overfit:questions",
    )
    yield MetricInfo(
        "specificity",
        "Neighbours after the edited fact, and how far their next tokens' distribution moved.",
        "Hoelscher-Obermaier et al. 2023, Detecting Edit Failures in Large Language Models: An "
        "Improved Specificity Benchmark",
        "editcore.evaluation.metrics.specificity:specificity",
        specificity.COLUMNS,
        "editcore.evaluation.metrics.specificity:questions",
    )
    yield MetricInfo(
        "portability",
        "Whether the facts that follow from the edited one changed with it.",
        "Yao et al. 2023, Editing Large Language Models: Problems, Methods, and Opportunities",
        "editcore.evaluation.metrics.portability:portability",
        portability.COLUMNS,
        "editcore.evaluation.metrics.portability:questions",
    )


@hookimpl
def editcore_datasets() -> Iterator[DatasetFormatInfo]:
    """The formats of the papers' data sets."""
    yield DatasetFormatInfo(
        "counterfact",
        "COUNTERFACT's own records.",
        "Meng et al. 2022, Locating and Editing Factual Associations in GPT",
        "editcore.datasets.formats.counterfact:counterfact",
        ("requested_rewrite",),
    )
    yield DatasetFormatInfo(
        "flat",
        "EasyEdit's records, with the subject written out in the prompt.",
        "Wang et al. 2024, EasyEdit: An Easy-to-use Knowledge Editing Framework for Large Language "
        "Models",
        "editcore.datasets.formats.flat:flat",
        ("prompt", "subject", "target_new"),
    )
    yield DatasetFormatInfo(
        "zsre",
        "zsRE's records; those without an alternative answer are left out.",
        "Mitchell et al. 2022, Fast Model Editing at Scale",
        "editcore.datasets.formats.zsre:zsre",
        ("src", "alt"),
    )
    yield DatasetFormatInfo(
        "zsre-answers",
        "zsRE's records as hypernetworks are trained on them, without a subject.",
        "Tan et al. 2024, Massive Editing for Large Language Models via Meta Learning",
        "editcore.datasets.formats.questions:zsre_answers",
        ("src", "ans"),
    )
    yield DatasetFormatInfo(
        "knowedit",
        "KnowEdit's records with a subject, a prompt, and other facts in groups.",
        "Zhang et al. 2024, A Comprehensive Study of Knowledge Editing for Large Language Models",
        "editcore.datasets.formats.knowedit:knowedit",
        ("prompt", "subject", "target_new", "locality"),
    )
    yield DatasetFormatInfo(
        "knowedit-biographies",
        "KnowEdit's WikiBio: a text on a concept, and its continuation.",
        "Zhang et al. 2024, A Comprehensive Study of Knowledge Editing for Large Language Models",
        "editcore.datasets.formats.knowedit:knowedit_biographies",
        ("text", "concept", "labels"),
    )
    yield DatasetFormatInfo(
        "qaedit",
        "QAEdit's questions, each with several questions on other facts.",
        _MIRAGE,
        "editcore.datasets.formats.questions:qaedit",
        ("prompt", "target", "subject", "locality"),
    )
    yield DatasetFormatInfo(
        "wikibigedit",
        "WikiBigEdit's questions on facts that changed.",
        "Thede et al. 2025, WikiBigEdit: Understanding the Limits of Lifelong Knowledge Editing "
        "in LLMs",
        "editcore.datasets.formats.questions:wikibigedit",
        ("update", "ans"),
    )
    yield DatasetFormatInfo(
        "unke",
        "UnKEBench's questions, whose answers are paragraphs.",
        "Deng et al. 2025, Everything is Editable: Extend Knowledge Editing to Unstructured Data "
        "in Large Language Models",
        "editcore.datasets.formats.questions:unke",
        ("question", "answer", "para_question"),
    )
    yield DatasetFormatInfo(
        "mquake",
        "MQuAKE's cases of several facts, with questions of several steps.",
        "Zhong et al. 2023, MQuAKE: Assessing Knowledge Editing in Language Models via "
        "Multi-Hop Questions",
        "editcore.datasets.formats.mquake:mquake",
        ("requested_rewrite", "questions", "new_answer"),
    )
    yield DatasetFormatInfo(
        "rippleedits",
        "RippleEdits' sentences, with tests of what follows from them.",
        "Cohen et al. 2024, Evaluating the Ripple Effects of Knowledge Editing in Language Models",
        "editcore.datasets.formats.rippleedits:rippleedits",
        ("edit", "edit.target_id", "Compositionality_I"),
    )
    yield DatasetFormatInfo(
        "akew",
        "AKEW's prompts, which a text on the new fact continues.",
        "Wu et al. 2024, AKEW: Assessing Knowledge Editing in the Wild",
        "editcore.datasets.formats.akew:akew",
        ("requested_rewrite", "requested_rewrite.fact_new_uns"),
    )
    yield DatasetFormatInfo(
        "hallueditbench",
        "HalluEditBench's tables of questions, with questions of many kinds on each.",
        "Huang et al. 2025, Can Knowledge Editing Really Correct Hallucinations?",
        "editcore.datasets.formats.hallueditbench:hallueditbench",
        ("subject", "object", "question", "paraphrased_question"),
    )
    yield DatasetFormatInfo(
        "cknowedit",
        "CKnowEdit's Chinese questions and texts, without a subject.",
        "Fang et al. 2025, CKnowEdit: A New Chinese Knowledge Editing Dataset for "
        "Linguistics, Facts, and Logic Error Correction in LLMs",
        "editcore.datasets.formats.cknowedit:cknowedit",
        ("prompt", "target_old", "target_new"),
    )
    yield DatasetFormatInfo(
        "unke-pieces",
        "UnKEBench's questions, whose answers are edited in pieces of up to 40 words.",
        "Jiang et al. 2025, AnyEdit: Edit Any Knowledge Encoded in Language Models",
        "editcore.datasets.formats.pieces:unke_pieces",
    )
    yield DatasetFormatInfo(
        "akew-pieces",
        "AKEW's prompts, whose texts are edited in pieces of up to 40 words.",
        "Jiang et al. 2025, AnyEdit: Edit Any Knowledge Encoded in Language Models",
        "editcore.datasets.formats.pieces:akew_pieces",
    )


@hookimpl
def editcore_judges() -> Iterator[JudgeInfo]:
    """Judges by shared words, and by a model on this machine."""
    yield JudgeInfo(
        "exact-match",
        "1 if an answer has the words of an accepted one.",
        _SQUAD,
        JudgeConfig,
        "editcore.evaluation.judges.exact_match:judge",
    )
    yield JudgeInfo(
        "f1",
        "F1 of the words of an answer and of the accepted one that is nearest to it.",
        _SQUAD,
        JudgeConfig,
        "editcore.evaluation.judges.f1:judge",
    )
    yield JudgeInfo(
        "contains",
        "1 if an answer contains the words of an accepted one in a row.",
        "",
        JudgeConfig,
        "editcore.evaluation.judges.contains:judge",
    )
    yield JudgeInfo(
        "model",
        "1 if a model on this machine holds an answer to be right rather than wrong.",
        _MIRAGE,
        ModelJudgeConfig,
        "editcore.evaluation.judges.model:judge",
    )
