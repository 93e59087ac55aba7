"""Another toolkit's own ROME, imported from its folder: the papers' code and forks of it, EasyEdit.

Nothing in the folder is changed. Only the modules of ROME are imported, not the packages around
them, which need much else.
"""

import dataclasses
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from editcore.config.value_options import ValueOptions
from editcore.errors import EditcoreError
from editcore.models.loading import LoadedModel
from editcore.requests import EditRequest
from editcore.updates.delta import Delta, LowRankUpdate

TEMPLATES = "CONTEXT_TEMPLATES_CACHE"
FACTORIES = ("tensor", "zeros", "ones", "arange")


class PeerError(EditcoreError):
    """A folder that has no ROME which can be raced."""


@dataclass(frozen=True)
class Layout:
    """Where a toolkit has its ROME, and whether a target is a text or in a dictionary."""

    name: str
    packages: tuple[str, ...]
    rome: str
    plain_target: bool

    @property
    def file(self) -> Path:
        """The file with `execute_rome`, below the toolkit's folder."""
        return Path(*self.rome.split("."), "rome_main.py")


LAYOUTS = (
    Layout("EasyEdit", ("easyeditor", "easyeditor.models"), "easyeditor.models.rome", True),
    Layout("the papers' code", (), "rome", False),
)


def layout_of(folder: Path) -> Layout:
    """The layout of a toolkit's folder; `PeerError` if it has none of the known ones."""
    for layout in LAYOUTS:
        if (folder / layout.file).is_file():
            return layout
    files = " nor ".join(str(layout.file) for layout in LAYOUTS)
    raise PeerError(f"{folder} has neither {files}; give the root folder of a toolkit's code")


class Peer:
    """A toolkit's ROME without C, on a model; each edit is made from the unedited weights."""

    def __init__(
        self, folder: Path, model: LoadedModel, templates: Sequence[str], options: ValueOptions
    ) -> None:
        self.layout, self.model = layout_of(folder), model
        main, hparams = _imported(folder, self.layout)
        if not hasattr(main, TEMPLATES):
            raise PeerError(
                f"{self.layout.file} in {folder} has no {TEMPLATES}, so it cannot be given the "
                "same context templates; take a version that caches them"
            )
        setattr(main, TEMPLATES, list(templates))
        self._execute = main.execute_rome
        self._hparams = _hyperparameters(hparams.ROMEHyperParams, model, options)
        self._tokenizer = _tokenizer(model)

    def edit(self, request: EditRequest) -> Delta:
        """One edit, as the toolkit makes it; the model is as before."""
        target = request.target_new
        asked = {
            "case_id": request.case_id,
            "prompt": request.prompt,
            "subject": request.subject,
            "target_new": target if self.layout.plain_target else {"str": target},
        }
        with _without_cuda():
            made = self._execute(self.model.model, self._tokenizer, asked, self._hparams)
        return Delta({name: _update(*factors) for name, factors in made.items()})


def _update(u: Float[Tensor, " d_key"], v: Float[Tensor, " d_model"]) -> LowRankUpdate:
    """ΔW = v uᵀ, the toolkits' left vector u being on the side of the key."""
    return LowRankUpdate(v.detach()[:, None], u.detach()[:, None])


def _imported(folder: Path, layout: Layout) -> tuple[ModuleType, ModuleType]:
    """The modules with `execute_rome` and with the hyper-parameters."""
    sys.path.insert(0, str(folder))
    os.chdir(folder)  # the papers' code reads a settings file there
    for name in layout.packages:
        package = ModuleType(name)
        package.__path__ = [str(folder.joinpath(*name.split(".")))]
        sys.modules[name] = package
    try:
        return (
            importlib.import_module(f"{layout.rome}.rome_main"),
            importlib.import_module(f"{layout.rome}.rome_hparams"),
        )
    except ImportError as error:
        raise PeerError(
            f"{layout.file} in {folder} cannot be imported: {error}; install what it needs into "
            "this environment"
        ) from error


def _hyperparameters(kind: Any, model: LoadedModel, options: ValueOptions) -> Any:
    """The published settings, with the model's own names of modules."""
    parts = model.parts
    names = {id(module): name for name, module in model.model.named_modules()}

    def template(find: Any) -> str:
        return names[id(find(options.layer))].replace(f".{options.layer}", ".{}", 1)

    known = {
        "layers": [options.layer],
        "fact_token": "subject_last",
        "v_num_grad_steps": options.steps,
        "v_lr": options.learning_rate,
        "v_loss_layer": parts.depth - 1,
        "v_weight_decay": options.weight_decay,
        "clamp_norm_factor": options.clamp_norm_factor,
        "kl_factor": options.kl_factor,
        "mom2_adjustment": False,
        "context_template_length_params": [],
        "rewrite_module_tmp": template(parts.down),
        "layer_module_tmp": template(parts.block),
        "mlp_module_tmp": template(parts.mlp),
        "attn_module_tmp": "",
        "ln_f_module": "",
        "lm_head_module": names[id(model.model.get_output_embeddings())],
        "original_implementation": True,
        "device": 0,
    }
    fields = {field.name: field for field in dataclasses.fields(kind)}
    missing = dataclasses.MISSING
    needed = [
        name
        for name, field in fields.items()
        if field.default is missing and field.default_factory is missing
    ]
    given = {name: value for name, value in known.items() if name in fields}
    return kind(**(dict.fromkeys(needed) | given))


def _tokenizer(model: LoadedModel) -> Any:
    """The model's tokenizer with the settings that ROME expects: padding on the right."""
    tokenizer = model.tokenizer
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    return tokenizer


@contextmanager
def _without_cuda() -> Iterator[None]:
    """On a machine without CUDA, devices that are named `cuda…` are the CPU."""
    if torch.cuda.is_available():
        yield
        return

    def here(value: object) -> object:
        named = isinstance(value, str | torch.device) and str(value).startswith("cuda")
        return "cpu" if named else value

    def on_cpu(function: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            return function(
                *map(here, arguments), **{name: here(value) for name, value in named.items()}
            )

        return call

    places: list[tuple[Any, str]] = [(torch.Tensor, "to"), *((torch, n) for n in FACTORIES)]
    before = [(owner, name, getattr(owner, name)) for owner, name in places]
    try:
        for owner, name, function in before:
            setattr(owner, name, on_cpu(function))
        yield
    finally:
        for owner, name, function in before:
            setattr(owner, name, function)
