"""Whether an answer has the words of an accepted one."""

from editcore.config.options import JudgeConfig
from editcore.evaluation.judges import Judge, each_answer
from editcore.evaluation.qa_overlap import exact_match


def judge(options: JudgeConfig) -> Judge:
    """The judge whose score is `qa_overlap.exact_match`."""
    return each_answer(exact_match)
