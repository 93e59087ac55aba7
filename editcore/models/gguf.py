"""Models in GGUF files: dequantised once by transformers, and then folders like any other."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from editcore.atomic import locked, new_folder
from editcore.datasets.bundled import model_source
from editcore.errors import EditcoreError, ModelError, reason
from editcore.sources import gguf_model
from editcore.sources.places import gguf_file

# What transformers notes in the configuration about the file; a saved model must not repeat it.
ABOUT_THE_FILE = ("quantization_config", "_model_name_or_path")
LINK = "model.gguf"


def loadable(source: str) -> str:
    """What transformers loads directly: a folder, or a hub id.

    For a GGUF file it is the folder of `converted`. Raises `ModelError` as `model_source`,
    `gguf_file` and `converted` do.
    """
    file = gguf_file(source)
    return model_source(source) if file is None else str(converted(file))


def converted(file: Path) -> Path:
    """The folder in the cache with a GGUF file's model in float32, made unless it is there.

    Dequantising takes about twenty times as long as loading what it gives, so it is done once. Of
    two processes at once the second waits. Raises `ModelError` if transformers cannot read the
    file, or if it lacks weights that its model needs.
    """
    folder = gguf_model.converted_folder(file)
    if not folder.is_dir():
        gguf_model.configuration(file)  # refuses what editcore or transformers cannot load
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.with_name(f".{folder.name}.converting"), folder):
            if not folder.is_dir():
                with new_folder(folder) as partial:
                    _convert(file, partial)
    return folder


def _convert(file: Path, folder: Path) -> None:
    try:
        with _alone(file) as place:
            options = {"gguf_file": LINK, "local_files_only": True}
            tokenizer = AutoTokenizer.from_pretrained(place, **options)
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                place,
                dtype=torch.float32,
                use_safetensors=True,
                output_loading_info=True,
                **options,
            )
    except EditcoreError:
        raise
    except Exception as error:  # transformers and gguf raise kinds of their own
        raise ModelError(
            f"{file} cannot be read by transformers: {reason(error)}; give the model's folder or "
            "hub id instead"
        ) from error
    model, found = loaded
    if missing := sorted(found["missing_keys"]):
        raise ModelError(
            f"{file} lacks {len(missing)} of its model's weights, such as {missing[0]}; give a "
            "complete file"
        )
    _plain(model).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@contextmanager
def _alone(file: Path) -> Iterator[str]:
    """A folder with nothing but the file, since transformers also reads what is beside it."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / LINK).symlink_to(file.resolve())
        yield folder


def _plain(model: PreTrainedModel) -> PreTrainedModel:
    """The same weights in a fresh model of the same configuration: transformers saves no other."""
    known = {k: v for k, v in model.config.to_dict().items() if k not in ABOUT_THE_FILE}
    with torch.device("meta"):
        fresh: PreTrainedModel = AutoModelForCausalLM.from_config(type(model.config)(**known))
    fresh.load_state_dict(model.state_dict(), assign=True)
    fresh.tie_weights()
    return fresh
