"""An adapter in the files of peft, which transformers and vLLM read too.

vLLM takes one rank and one alpha for the whole adapter, so all maps have the same rank, and alpha
equals it: the factor alpha / rank is 1.
"""

import importlib.util
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from editcore.atomic import write_tensors, write_text
from editcore.errors import ConfigError, ModelError, reason
from editcore.updates.adapters.factors import LoraFactors

if TYPE_CHECKING:
    from peft import PeftModel

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."


def require_peft() -> None:
    """Raise `ConfigError` if peft is not installed."""
    if importlib.util.find_spec("peft") is None:
        raise ConfigError("this needs peft; install editcore[export], or leave this out")


def write_adapter(factors: LoraFactors, folder: Path, model: nn.Module, base: str) -> None:
    """Write `adapter_config.json` and `adapter_model.safetensors`.

    `base` is the name or folder under which peft looks for the model if none is given to it.
    """
    from peft import LoraConfig

    first = model.get_submodule(factors.paths[0])
    given: Any = LoraConfig(
        r=factors.rank,
        lora_alpha=factors.rank,
        lora_dropout=0.0,
        target_modules=factors.paths,
        fan_in_fan_out=isinstance(first, Conv1D),
        base_model_name_or_path=base,
        task_type="CAUSAL_LM",
        inference_mode=True,
    )
    config = given.to_dict()
    # peft keeps the targets as a set, whose order differs from run to run.
    config["target_modules"] = sorted(config["target_modules"])
    write_text(folder / CONFIG, json.dumps(config, indent=2, sort_keys=True) + "\n")
    tensors = {}
    for name, path in zip(factors.updates, factors.paths, strict=True):
        a, b = factors.matrices(name)
        tensors[f"{PREFIX}{path}.lora_A.weight"] = a
        tensors[f"{PREFIX}{path}.lora_B.weight"] = b
    write_tensors(folder / WEIGHTS, tensors, {"format": "pt"})


@contextmanager
def adapted(model: PreTrainedModel, folder: Path) -> Iterator["PeftModel"]:
    """A block in which peft has loaded the adapter in a folder; afterwards it is unloaded.

    Yields peft's model. Raises `ModelError` if peft cannot load it.
    """
    from peft import PeftModel

    try:
        with warnings.catch_warnings():
            # peft asks transformers for names that its next version drops.
            warnings.simplefilter("ignore", FutureWarning)
            loaded = PeftModel.from_pretrained(model, str(folder))
    except Exception as error:  # peft, safetensors and transformers have errors of their own
        raise ModelError(f"peft cannot load the adapter in {folder}: {reason(error)}") from error
    try:
        yield loaded
    finally:
        loaded.unload()


@contextmanager
def merged(loaded: "PeftModel") -> Iterator[None]:
    """A block in which peft has merged an adapter into the weights; then they are as before.

    peft takes it out by subtracting B·A, which leaves other bits. So the original weights of the
    changed maps are kept meanwhile, and copied back.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    maps: list[Any] = [each for each in loaded.modules() if isinstance(each, BaseTunerLayer)]
    weights = [each.get_base_layer().weight for each in maps]
    originals = [weight.detach().clone() for weight in weights]
    try:
        loaded.merge_adapter()
        yield
    finally:
        loaded.unmerge_adapter()
        for weight, original in zip(weights, originals, strict=True):
            weight.data.copy_(original)
