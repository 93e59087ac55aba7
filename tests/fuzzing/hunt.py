"""Runs many malformed inputs of a kind, and minimises one that ends badly."""

import itertools
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzzing import world
from tests.fuzzing.attack import Attack
from tests.fuzzing.kinds import KINDS


@contextmanager
def small_study(folder: Path) -> Iterator[None]:
    """A block whose working directory is the finished small study, isolated from all else.

    No bundled model is found, nothing is fetched, and torch uses one thread.
    """
    threads = torch.get_num_threads()
    (folder / "resources").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("TOKENIZERS_PARALLELISM", "false")
        patch.setenv("EDITCORE_RESOURCES", str(folder / "resources"))
        patch.setenv("EDITCORE_CACHE", "cache")
        torch.set_num_threads(1)
        try:
            with pytest.MonkeyPatch.context() as clock:
                # Tables hold measured seconds; these are the same in every run, as all else is.
                ticks = itertools.count()
                clock.setattr(time, "perf_counter", lambda: next(ticks) / 1024)
                world.make(folder)
            yield
        finally:
            torch.set_num_threads(threads)


def hunt(kind: str, inputs: int, start: int | None = None) -> Counter[tuple[str, str]]:
    """How often commands ended in each way, for `inputs` of a kind; a bad end raises, minimised.

    Changes are drawn in the same way each time, or from the seed `start`; the changed files are the
    same in every run, except for the name of a temporary folder, so a failure can be repeated. The
    working directory is that of `small_study`.
    """
    ends: Counter[tuple[str, str]] = Counter()

    def run(attack: Attack) -> None:
        ends[attack.command, attack.run()] += 1

    chosen = settings(
        max_examples=inputs,
        deadline=None,
        database=None,
        derandomize=start is None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    search = chosen(given(KINDS[kind]())(run))
    (search if start is None else seed(start)(search))()
    return ends
