"""lm-eval's tasks on edited models: the only module that imports `lm_eval`.

Model, tokenizer and tasks are loaded once; requests are built, tokenised and batched once and read
by every edited model. lm-eval's own cache of responses is not used, since its keys do not depend on
the weights.
"""

import importlib.metadata
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import lm_eval.api.model
import lm_eval.utils
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask, Task
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

from editcore.config.messages import nearest
from editcore.datasets.bundled import data_file
from editcore.datasets.readers import read_records
from editcore.datasets.task_files import label, task_file
from editcore.errors import ConfigError, EditcoreError, in_one_line, reason
from editcore.evaluation.generation import Answering, Generated
from editcore.evaluation.loglikelihood import Continuations, Pair, Scored
from editcore.models.loading import LoadedModel
from editcore.requests import OK
from editcore.updates.change import Change

NONFINITE = "nonfinite"
# lm-eval's own default for tasks without a limit.
MOST_TOKENS = 256


class EditedLM(lm_eval.api.model.TemplateLM):  # type: ignore[misc] # lm-eval has no types
    """A loaded model as lm-eval sees it; inside `edited`, the edited one.

    `finite` is whether all logits of the last call were finite.
    """

    def __init__(self, model: LoadedModel) -> None:
        super().__init__()
        self._model = model
        self._start = -1
        self._scored: dict[Any, Continuations] = {}
        self._answered: dict[Any, Answering] = {}
        self.finite = True

    @contextmanager
    def edited(self, change: Change) -> Iterator[None]:
        """Be the edited model inside the block; leaving it restores the weights bit by bit."""
        first = change.first_block(self._model.parts)
        with change.applied(self._model.model):
            self._start = first - 1
            try:
                yield
            finally:
                self._start = -1

    @property
    def tokenizer(self) -> Any:
        """The model's own."""
        return self._model.tokenizer

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """The token that takes the place of an empty context."""
        first = self.tokenizer.bos_token_id
        return self.eot_token_id if first is None else int(first)

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **_: Any
    ) -> list[int]:
        """The ids of a text; by default with the special tokens that the tokenizer adds."""
        special = {} if add_special_tokens is None else {"add_special_tokens": add_special_tokens}
        ids: list[int] = self.tokenizer(string, **special)["input_ids"]
        return ids

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Log-probability of each continuation, and whether greedy decoding would give it."""
        key = tuple(request.args for request in requests)
        if key not in self._scored:
            self._scored[key] = Continuations(self._model, map(self._pair, key))
        return self._results(self._scored[key].scores(self._start))

    def _pair(self, texts: tuple[str, str]) -> Pair:
        context, continuation = texts
        if context:
            before, scored = self._encode_pair(context, continuation)
        else:
            scored = self.tok_encode(continuation, add_special_tokens=False)
            before = [self.prefix_token_id]
        return tuple(before), tuple(scored)

    def _results(self, scores: Sequence[Scored]) -> list[tuple[float, bool]]:
        self.finite = all(score.finite for score in scores)
        return [(score.log_probability, score.greedy) for score in scores]

    def _loglikelihood_tokens(
        self, requests: list[tuple[tuple[str, str], list[int], list[int]]], **_: Any
    ) -> list[tuple[float, bool]]:
        pairs = [(tuple(context), tuple(scored)) for _, context, scored in requests]
        return self._results(Continuations(self._model, pairs).scores(self._start))

    def loglikelihood_rolling(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        """Log-probability of each whole text, in windows as long as the model takes."""
        windows: list[Pair] = []
        text_of: list[int] = []
        for i, request in enumerate(requests):
            found = lm_eval.utils.get_rolling_token_windows(
                self.tok_encode(request.args[0]),
                self.prefix_token_id,
                self._model.max_positions,
                context_len=1,
            )
            for context, scored in map(lm_eval.utils.make_disjoint_window, found):
                windows.append((tuple(context), tuple(scored)))
                text_of.append(i)
        results = self._results(Continuations(self._model, windows).scores(self._start))
        totals = [0.0] * len(requests)
        for i, (log_probability, _) in zip(text_of, results, strict=True):
            totals[i] += log_probability
        return totals

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """The model's answer to each context, generated greedily up to a stop."""
        answers: dict[int, Generated] = {}
        for options, places in _by_options(requests).items():
            stops, most = options
            contexts = tuple(requests[i].args[0] for i in places)
            key = (options, contexts)
            if key not in self._answered:
                tokens = [tuple(self.tok_encode(context)) for context in contexts]
                self._answered[key] = Answering(self._model, tokens, stops, most)
            answers |= zip(places, self._answered[key].answers(self._start), strict=True)
        self.finite = all(answer.finite for answer in answers.values())
        return [answers[i].text for i in range(len(requests))]


def _by_options(requests: Sequence[Instance]) -> dict[tuple[tuple[str, ...], int], list[int]]:
    """Indices of the requests by what ends their answers: the stops, and the most tokens."""
    found: dict[tuple[tuple[str, ...], int], list[int]] = {}
    for i, request in enumerate(requests):
        options = request.args[1]
        if options.get("do_sample"):
            raise ConfigError(
                f"the task {request.task_name} draws its answers at random (do_sample), and only "
                "greedy answers can be compared between models; leave it out"
            )
        until = options.get("until") or ()
        stops = (until,) if isinstance(until, str) else tuple(until)
        most = options.get("max_gen_toks") or options.get("max_new_tokens") or MOST_TOKENS
        found.setdefault((stops, int(most)), []).append(i)
    return found


@dataclass(frozen=True)
class TaskScore:
    """A model's score in a task, None if some logits were not finite.

    `random` is the score expected from guessing, `stderr` the standard error of the mean over
    `n_items`, `seconds` the time taken.
    """

    task: str
    metric: str
    score: float | None
    random: float
    status: str
    stderr: float | None
    n_items: int
    seconds: float


@dataclass(frozen=True)
class Suite:
    """Tasks by the name that a study gives them; a group is several that count as one."""

    tasks: Mapping[str, Sequence[Task]]

    @classmethod
    def load(cls, names: Sequence[str], limit: int | None, seed: int = 0) -> "Suite":
        """Load tasks and build their requests, from the first `limit` items of each.

        A name is that of a YAML file or of one of lm-eval's own tasks; `ConfigError` for others.
        `seed` is that of few-shot examples.
        """
        logging.getLogger("lm_eval").setLevel(logging.ERROR)
        loader = _Loader()
        suite = cls({label(name): loader.load(name) for name in names})
        for task in (task for tasks in suite.tasks.values() for task in tasks):
            task.set_fewshot_seed(seed)
            items = len(task.eval_docs)
            try:
                task.build_all_requests(limit=min(limit or items, items), rank=0, world_size=1)
            except Exception as error:  # lm-eval and templates raise kinds of their own
                raise ConfigError(
                    f"task {task.task_name}: lm-eval cannot build its questions ({reason(error)}); "
                    "correct the task's data or templates"
                ) from error
        return suite

    @property
    def versions(self) -> dict[str, str]:
        """Versions of lm-eval, of each task, and of its data if they are from the hub."""
        own = {
            f"task {t.task_name}": str(t.VERSION) for tasks in self.tasks.values() for t in tasks
        }
        data = {
            f"data of {name}": commit
            for tasks in self.tasks.values()
            for name, commit in _commits(tasks).items()
        }
        return {"lm_eval": importlib.metadata.version("lm_eval")} | own | data

    def scores(self, lm: EditedLM) -> list[TaskScore]:
        """The scores of the model: inside `lm.edited`, of the edited one."""
        return [self._score(name, tasks, lm) for name, tasks in self.tasks.items()]

    def _score(self, name: str, tasks: Sequence[Task], lm: EditedLM) -> TaskScore:
        started = time.perf_counter()
        metric = _metric(name, tasks[0])
        values: list[float] = []
        guesses: list[float] = []
        finite = True
        for task in tasks:
            values += _values(task, metric, lm)
            guesses += _guesses(task, metric)
            finite = finite and lm.finite
        n, mean = len(values), math.fsum(values) / len(values)
        spread = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / max(1, n - 1) / n)
        return TaskScore(
            name,
            metric,
            mean if finite else None,
            math.fsum(guesses) / n,
            OK if finite else NONFINITE,
            spread if finite else None,
            n,
            time.perf_counter() - started,
        )


def data_commits(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Load the data of tasks, downloading what is missing; returns the commits of data by name.

    For each name, they are those of its tasks' data on the hub; data from files have none. Raises
    `ConfigError` as `Suite.load` does.
    """
    loader = _Loader()
    return {name: _commits(loader.load(name)) for name in names}


def _commits(tasks: Sequence[Task]) -> dict[str, str]:
    found = {}
    for task in tasks:
        files = [file for split in task.dataset.values() for file in split.cache_files]
        if files:
            # In the cache, the folder of a data set's files is named after their commit.
            found[str(task.task_name)] = Path(files[0]["filename"]).parent.name
    return found


def _values(task: Task, metric: str, lm: EditedLM) -> list[float]:
    """The metric of every item of a task, in the order of its file."""
    instances = task.instances
    kind = instances[0].request_type
    for instance, answer in zip(instances, getattr(lm, kind)(instances), strict=True):
        instance.resps, instance.filtered_resps = [answer], {}
    task.apply_filters()
    chosen = next(iter(instances[0].filtered_resps))
    return [
        float(task.process_results(item[0].doc, [i.filtered_resps[chosen] for i in item])[metric])
        for item in _items(task)
    ]


def _items(task: Task) -> list[list[Instance]]:
    found: dict[int, list[Instance]] = {}
    for instance in task.instances:
        found.setdefault(instance.doc_id, []).append(instance)
    return [sorted(item, key=lambda instance: instance.idx) for item in found.values()]


def _guesses(task: Task, metric: str) -> list[float]:
    """The score expected from guessing, for each item: 1 / its number of choices, 0 without any."""
    chance = task.OUTPUT_TYPE == "multiple_choice" and metric.startswith("acc")
    return [1 / len(item) if chance else 0.0 for item in _items(task)]


def _metric(name: str, task: Task) -> str:
    """The metric that represents a task: the first of its list that is better when higher."""
    better = task.higher_is_better()
    metric = next((metric for metric in task.aggregation() if better.get(metric)), None)
    if metric is None:
        raise ConfigError(f"the task {name} has no metric for which higher is better; leave it out")
    return str(metric)


class _Loader:
    """Loads tasks by file or by name; lm-eval's own are listed only when needed."""

    def __init__(self) -> None:
        self._manager: TaskManager | None = None

    def load(self, name: str) -> list[Task]:
        """One task, or those of a group."""
        file = task_file(name)
        if file is None:
            return self._own(name)
        try:
            config = load_yaml(file)
        except (ImportError, AttributeError, ValueError) as error:
            raise ConfigError(
                f"the task file {file} cannot be read ({reason(error)}); correct it"
            ) from error
        if "group" in config:
            return [task for member in config["task"] for task in self.load(member)]
        return [_task(file, config)]

    def _own(self, name: str) -> list[Task]:
        if self._manager is None:
            self._manager = TaskManager()
        if name not in self._manager.all_tasks:
            near = nearest(name, self._manager.all_tasks)
            raise ConfigError(f"lm-eval has no task {name!r}. {near}")
        with _in_plain_words(name):
            return list(self._manager.load([name])["tasks"].values())


def _task(file: str, config: dict[str, Any]) -> Task:
    files = (config.get("dataset_kwargs") or {}).get("data_files")
    if config.get("dataset_path") == "json" and isinstance(files, dict):
        config |= {"custom_dataset": lambda **_: _splits(files), "dataset_kwargs": None}
    with _in_plain_words(file):
        return ConfigurableTask(config=config)


@contextmanager
def _in_plain_words(name: str) -> Iterator[None]:
    """Raise `ConfigError` with the task's name if lm-eval, or the library of its data, fails."""
    try:
        yield
    except EditcoreError:
        raise
    except Exception as error:  # templates, data sets and metrics may raise anything
        raise ConfigError(
            f"the task {name} cannot be loaded: {in_one_line(error)}; if its data come from the "
            "hub, run `editcore fetch` once on a machine with a network"
        ) from error


def _splits(files: Mapping[str, str]) -> dict[str, datasets.Dataset]:
    """A task's items, from JSON files; read here, so that no network or cache is needed."""
    return {
        split: datasets.Dataset.from_list(read_records(data_file(file)))
        for split, file in files.items()
    }
