"""How many words an answer shares with an accepted one."""

from editcore.config.options import JudgeConfig
from editcore.evaluation.judges import Judge, each_answer
from editcore.evaluation.qa_overlap import f1


def judge(options: JudgeConfig) -> Judge:
    """The judge whose score is `qa_overlap.f1`."""
    return each_answer(f1)
