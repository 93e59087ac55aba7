"""A model with a chat has jobs of its own, and shares what does not depend on the chat."""

import json
from pathlib import Path
from typing import Any

import pytest

from editcore.errors import ModelError
from editcore.planning import preflight
from editcore.planning.study import Study
from tests import chats
from tests.gguf_files import write_gguf
from tests.planning.conftest import Planner
from tests.studies import model_files, write_json

BOTH = {"tiny": {"source": "model"}, "spoken": {"source": "model", "chat": True}}


@pytest.fixture
def template(place: Path) -> Path:
    """The model's chat template, as transformers saves it."""
    file = place / "model" / "chat_template.jinja"
    file.write_text(chats.LINES)
    return file


def chat_of(job: Any) -> bool:
    """Whether the job's file gives its model a chat."""
    return bool(json.loads(job.as_json())["model"].get("chat"))


def of(study: Study, label: str) -> list[Any]:
    return [job for key, job in study.edits.items() if key.model == label]


def test_a_base_model_is_refused_while_planning(planned: Planner, place: Path) -> None:
    chat = {"tiny": {"source": "model", "chat": True}}
    with pytest.raises(ModelError, match=r"models\.tiny: model 'tiny' has no chat template"):
        planned(models=chat)
    write_json(place / "model" / "tokenizer_config.json", {"eos_token": "<end>"})
    with pytest.raises(ModelError, match="leave `chat` out, or name the model's"):
        planned(models=chat)
    write_json(place / "model" / "tokenizer_config.json", {"chat_template": chats.LINES})
    assert planned(models=chat).edits


def test_the_header_of_a_gguf_file_tells_whether_there_is_a_template(tmp_path: Path) -> None:
    for name, fields in (("base", {}), ("chat", {"tokenizer.chat_template": chats.LINES})):
        write_gguf(tmp_path / f"{name}.gguf", **fields)
    preflight.require_chat("m", str(tmp_path / "chat.gguf"), None)
    with pytest.raises(ModelError, match="has no chat template"):
        preflight.require_chat("m", str(tmp_path / "base.gguf"), None)


def test_of_a_hub_id_that_is_not_here_nothing_is_known(place: Path) -> None:
    preflight.require_chat("m", "nobody/none", None)


def test_jobs_without_a_chat_keep_their_bytes(planned: Planner, template: Path) -> None:
    plain = planned(models={"tiny": {"source": "model"}})
    named = planned(models={"tiny": {"source": "model", "chat": False}})
    both = planned(models=BOTH)
    for study in (named, both):
        assert [job.as_json() for job in of(study, "tiny")] == [
            job.as_json() for job in of(plain, "tiny")
        ]
    assert not any('"chat"' in job.as_json() for job in plain.edits.values())
    assert all(chat_of(job) for job in of(both, "spoken"))


def test_both_labels_of_one_model_share_c_and_sample_the_same_prefixes(
    planned: Planner, template: Path
) -> None:
    study = planned(models=BOTH)
    assert {key.model for key in study.moments} == {"tiny"}
    assert len({json.dumps(job.moments) for job in study.edits.values()}) == 1
    prefixes = [job.model_copy(update={"model": None}) for job in study.prefixes.values()]
    assert prefixes[0] == prefixes[1]
    assert not any(chat_of(job) for job in (*study.prefixes.values(), *study.moments.values()))
    alone = planned(models={"spoken": BOTH["spoken"]})
    assert {key.model for key in alone.moments} == {"spoken"}


def test_models_that_differ_in_more_do_not_share_c(planned: Planner, template: Path) -> None:
    model_files(template.parents[1] / "other")
    for other in ({"source": "other"}, {"source": "model", "dtype": "float64"}):
        study = planned(models={"tiny": other, "spoken": BOTH["spoken"]})
        assert {key.model for key in study.moments} == {"tiny", "spoken"}


def test_a_training_in_a_chat_is_another(planned: Planner, template: Path) -> None:
    learner = {"learner": {"options": {"steps": 4}}}
    found = [
        planned(models={"tiny": BOTH[label]}, editors=learner).training
        for label in ("tiny", "spoken")
    ]
    (plain,), (chat,) = found
    assert plain.digest != chat.digest


def test_a_changed_template_runs_the_model_s_jobs_again(planned: Planner, template: Path) -> None:
    study = planned(models=BOTH)
    used = {key.model: study.edits_inputs(*key) for key in study.edits}
    assert "model/chat_template.jinja" in used["spoken"]
    assert "model/chat_template.jinja" not in used["tiny"]
