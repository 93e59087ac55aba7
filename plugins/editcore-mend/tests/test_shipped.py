"""The networks that ship with the bundled models edit well on facts that they never saw."""

from pathlib import Path

import pytest
from editcore_mend.config import MendConfig
from editcore_mend.editor import MendEditor
from editcore_mend.split import split

from editcore import (
    EditContext,
    bundled_models,
    data_file,
    load_registry,
    read_requests,
    resolve_factory,
)
from editcore.toolkit import (
    CaseQuestions,
    LoadedModel,
    MetricInput,
    TrainedParts,
    ask_edited,
    load_model,
    load_trained,
    tokenize_questions,
)

BARS = {"efficacy": 0.95, "generalization": 0.80, "locality": 0.90}


def measured(model: LoadedModel, learnt: TrainedParts, config: MendConfig) -> dict:
    """The means of the metrics over the test facts, which are drawn again from the seed."""
    exclude = [Path(data_file(path)) for path in config.exclude]
    parts = split(Path(data_file(config.data)), exclude, config.held_out, learnt.about["seed"])
    assert parts.case_ids == learnt.about["split"]
    results = MendEditor(config).edit_each(EditContext(model, trained=learnt), parts.test)
    questions = [CaseQuestions(case, "{}") for case in parts.test]
    asked = [tokenize_questions(model, each.all()) for each in questions]
    answers = ask_edited(model, asked, [result.delta for result in results])
    accuracy = resolve_factory(load_registry().metrics["accuracy"].record.factory)
    rows = [
        accuracy(MetricInput(each, before, after, lambda: None))
        for each, (before, after) in zip(questions, answers, strict=True)
    ]
    return {name: sum(row[name] for row in rows) / len(rows) for name in BARS}


@pytest.mark.parametrize("name", ["tiny-gpt2", "tiny-llama"])
def test_facts_that_a_network_never_saw_are_edited_well(name: str) -> None:
    path = bundled_models()[name] / "trained" / "mend.safetensors"
    model = load_model(name, name)
    learnt = load_trained(model, (3, 4, 5), path)
    config = MendConfig.model_validate(learnt.about["recipe"])
    found = measured(model, learnt, config)
    assert {metric: found[metric] for metric, bar in BARS.items() if found[metric] < bar} == {}


def test_the_parts_share_no_subject_with_what_studies_edit() -> None:
    config = MendConfig(layers=(3, 4, 5))
    exclude = [Path(data_file(path)) for path in config.exclude]
    parts = split(Path(data_file(config.data)), exclude, config.held_out, seed=0)
    edited = {request.subject for file in exclude for request in read_requests(file)}
    drawn = [
        {fact.subject for fact in part} for part in (parts.train, parts.validation, parts.test)
    ]
    assert all(drawn)
    assert sum(map(len, drawn)) == len(set().union(*drawn))
    assert not edited & set().union(*drawn)
