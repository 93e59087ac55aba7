"""Whether an answer contains an accepted one."""

from editcore.config.options import JudgeConfig
from editcore.evaluation.judges import Judge, each_answer
from editcore.evaluation.qa_overlap import contains


def judge(options: JudgeConfig) -> Judge:
    """The judge whose score is `qa_overlap.contains`."""
    return each_answer(contains)
