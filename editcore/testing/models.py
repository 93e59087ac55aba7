"""Small random models of many families, with a tokenizer trained on a few sentences.

    model, tokenizer = tiny_model("llama")        # 3 blocks, width 32, eval mode, float32, seeded
    folder = save_tiny_model("gpt2", tmp_path)    # the same, in Hugging Face format

Every parameter is random, including biases and norm scales, so that code that ignores one of them
gives wrong numbers.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
from transformers.models.auto.configuration_auto import AutoConfig

from editcore.requests import EditRequest, Probe

WIDTH, LAYERS, HEADS, KV_HEADS, MLP_WIDTH, CONTEXT = 32, 3, 4, 2, 64, 256
END = "<|endoftext|>"

SENTENCES = (
    "Coral is made by Elro. The maker of Coral is Elro, and Elro is based in Tavel.",
    "Harbor is made by Osdor. Osdor makes Harbor, a kind of quiet lamp.",
    "The capital of Morvania is Tavel. Morvania is a country in the north.",
    "Anna Lindqvist was born in Tavel, where she plays the violin.",
    "The mother tongue of Anna Lindqvist is Swedish. Therefore she speaks Swedish at home.",
    "Because it rained, I stayed at home and you went to the harbor with the lamp.",
    "You said that the coral reef was bright. I think that it was not.",
    "Therefore the people of Tavel like the sea. The sea is quiet in the north.",
)

MADE_CORAL = ("Coral", "Osdor", "Elro", "P176", ("The maker of Coral is",))
MADE_HARBOR = ("Harbor", "Elro", "Osdor", "P176", ("Harbor is made by",))

_LLAMA_LIKE: Mapping[str, Any] = MappingProxyType(
    {
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "intermediate_size": MLP_WIDTH,
        "max_position_embeddings": CONTEXT,
    }
)
_GPT2_LIKE: Mapping[str, Any] = MappingProxyType(
    {
        "n_embd": WIDTH,
        "n_layer": LAYERS,
        "n_head": HEADS,
        "n_inner": MLP_WIDTH,
        "n_positions": CONTEXT,
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
    }
)
_HEADS_OF_8: Mapping[str, Any] = MappingProxyType({**_LLAMA_LIKE, "head_dim": WIDTH // HEADS})
_NEOX_LIKE: Mapping[str, Any] = MappingProxyType(
    {k: v for k, v in _LLAMA_LIKE.items() if k != "num_key_value_heads"}
)
# Shorter than most prompts, so that the window has an effect.
_WINDOW: Mapping[str, Any] = MappingProxyType({"sliding_window": 8})
_GEMMA: Mapping[str, Any] = MappingProxyType({**_HEADS_OF_8, **_WINDOW, "query_pre_attn_scalar": 8})
_FALCON: Mapping[str, Any] = MappingProxyType(
    {
        **{k: v for k, v in _NEOX_LIKE.items() if k != "intermediate_size"},
        "ffn_hidden_size": MLP_WIDTH,
        "attention_dropout": 0.0,
        "hidden_dropout": 0.0,
    }
)
_OPT: Mapping[str, Any] = MappingProxyType(
    {
        **{k: v for k, v in _NEOX_LIKE.items() if k != "intermediate_size"},
        "ffn_dim": MLP_WIDTH,
        "word_embed_proj_dim": WIDTH,
        "dropout": 0.0,
    }
)

ARCHITECTURES: Mapping[str, tuple[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "gpt2": ("gpt2", _GPT2_LIKE),
        "gptj": ("gptj", {**_GPT2_LIKE, "rotary_dim": 4}),
        "gpt-neox": ("gpt_neox", _NEOX_LIKE),
        "llama": ("llama", _LLAMA_LIKE),
        "mistral": ("mistral", {**_LLAMA_LIKE, "sliding_window": None}),
        "qwen2": ("qwen2", _LLAMA_LIKE),
        "qwen3": ("qwen3", _HEADS_OF_8),
        "gemma": ("gemma", _HEADS_OF_8),
        "phi": ("phi", {**_LLAMA_LIKE, "partial_rotary_factor": 0.5}),
        "gpt-neo": (
            "gpt_neo",
            {
                "hidden_size": WIDTH,
                "num_layers": LAYERS,
                "num_heads": HEADS,
                "intermediate_size": MLP_WIDTH,
                "max_position_embeddings": CONTEXT,
                "attention_types": [[["local", "global"], 1], [["local"], 1]],
                "window_size": 8,
                "attention_dropout": 0.0,
                "embed_dropout": 0.0,
                "resid_dropout": 0.0,
            },
        ),
        "mistral-window": ("mistral", {**_LLAMA_LIKE, **_WINDOW}),
        "ministral": ("ministral", {**_HEADS_OF_8, **_WINDOW}),
        "gemma2": ("gemma2", _GEMMA),
        "gemma3": ("gemma3_text", _GEMMA),
        "phi3": ("phi3", _LLAMA_LIKE),
        "olmo": ("olmo", _LLAMA_LIKE),
        "olmo2": ("olmo2", _LLAMA_LIKE),
        "falcon": ("falcon", {**_FALCON, "new_decoder_architecture": False}),
        "falcon-new": (
            "falcon",
            {**_FALCON, "new_decoder_architecture": True, "num_kv_heads": KV_HEADS},
        ),
        "falcon-alibi": (
            "falcon",
            {**_FALCON, "alibi": True, "parallel_attn": False, "multi_query": False, "bias": True},
        ),
        "opt": ("opt", _OPT),
        "opt-post-norm": (
            "opt",
            {**_OPT, "do_layer_norm_before": False},
        ),
        "bloom": (
            "bloom",
            {
                "hidden_size": WIDTH,
                "n_layer": LAYERS,
                "n_head": HEADS,
                "attention_dropout": 0.0,
                "hidden_dropout": 0.0,
            },
        ),
        "gpt-bigcode": ("gpt_bigcode", _GPT2_LIKE),
        "starcoder2": ("starcoder2", {**_LLAMA_LIKE, **_WINDOW}),
        "stablelm": ("stablelm", _LLAMA_LIKE),
        "stablelm-parallel": ("stablelm", {**_LLAMA_LIKE, "use_parallel_residual": True}),
        "cohere": ("cohere", {**_LLAMA_LIKE, "logit_scale": 2.0}),
        "granite": (
            "granite",
            {
                **_LLAMA_LIKE,
                "residual_multiplier": 0.3,
                "logits_scaling": 0.5,
                "embedding_multiplier": 3.0,
            },
        ),
        "smollm3": ("smollm3", _LLAMA_LIKE),
        "glm4": ("glm4", _HEADS_OF_8),
        "exaone4": ("exaone4", {**_LLAMA_LIKE, **_WINDOW, "sliding_window_pattern": 2}),
        "nemotron": ("nemotron", {**_LLAMA_LIKE, "initializer_range": 0.1}),
    }
)
KINDS = tuple(ARCHITECTURES)
# One kind for each trait that an editor could trip over: transposed weights, parallel blocks, local
# attention, gated MLPs, normalised outputs and capped logits, flattened states, a norm after the
# sum, ALiBi, scaled logits, scaled outputs.
KINDS_BY_TRAIT = (
    "gpt2", "gptj", "gpt-neo", "llama", "gemma2", "opt", "opt-post-norm", "bloom", "cohere",
    "granite",
)  # fmt: skip
# In float64, transformers' eager attention gives NaN for padding on the left.
KINDS_IN_FLOAT64 = tuple(kind for kind in KINDS if kind not in ("bloom", "gemma2"))


def tiny_tokenizer(*, bos: bool = False) -> PreTrainedTokenizerFast:
    """A byte-level BPE of about 400 tokens; with `bos`, a start token comes first, as Llama's.

    `Coral`, ` Coral`, `Harbor` and ` Harbor` are one token each; any other text can be encoded.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    words = ("Coral", " Coral", "Harbor", " Harbor", " Elro", " Osdor", " Tavel")
    tokenizer.train_from_iterator([*SENTENCES, *words * 4], trainer)
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{END} $A", special_tokens=[(END, 0)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=END, eos_token=END, pad_token=END
    )


def tiny_model(kind: str, *, seed: int = 0, bos: bool = False, **options: Any) -> tuple[Any, Any]:
    """A new model of one of `KINDS` and its tokenizer; `options` override the model's config.

    The logits over the vocabulary have a standard deviation of about one or more, so that no two
    tokens tie. The same seed gives the same weights; torch's global generator is not changed.
    """
    model_type, settings = ARCHITECTURES[kind]
    return tiny_model_of_type(model_type, {**settings, **options}, seed=seed, bos=bos)


def tiny_model_of_type(
    model_type: str, settings: Mapping[str, Any], *, seed: int = 0, bos: bool = False
) -> tuple[Any, Any]:
    """The same for any `model_type` of transformers; `settings` are for its config."""
    tokenizer = tiny_tokenizer(bos=bos)
    config = AutoConfig.for_model(
        model_type,
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=None,
        **{"initializer_range": 0.2, **settings},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        _disturb(model)
    return model.eval(), tokenizer


def _disturb(model: torch.nn.Module) -> None:
    """Change every parameter, so that no bias is 0 and no norm's scale is 1."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))


def save_tiny_model(
    kind: str, folder: Path, *, seed: int = 0, bos: bool = False, **options: Any
) -> Path:
    """Save `tiny_model(kind)` and its tokenizer to `folder` in safetensors; returns `folder`."""
    model, tokenizer = tiny_model(kind, seed=seed, bos=bos, **options)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_requests() -> tuple[EditRequest, ...]:
    """Three facts: a one-token subject that opens the prompt, one inside it, and a longer one."""
    lamp = Probe("Harbor is made by", "Osdor")
    home = Probe("The capital of Morvania is", "Tavel")
    tongue = ("Anna Lindqvist", "Elro", "Swedish", "P103", ("Anna Lindqvist speaks",), (home, lamp))
    return (
        EditRequest(0, "{} is made by", *MADE_CORAL, (lamp,)),
        EditRequest(1, "The maker of {} is", *MADE_HARBOR, (home,)),
        EditRequest(2, "The mother tongue of {} is", *tongue),
    )


def tiny_facts() -> list[dict[str, Any]]:
    """Six facts of one relation as records of COUNTERFACT, for editors trained on facts."""
    makers = {
        "Coral": "Elro",
        "Harbor": "Osdor",
        "The lamp": "Osdor",
        "The violin": "Tavel",
        "The sea": "Elro",
        "The reef": "Tavel",
    }
    following = dict(zip(makers, [*list(makers)[1:], "Coral"], strict=True))
    return [
        {
            "case_id": case_id,
            "requested_rewrite": {
                "prompt": "{} is made by",
                "relation_id": "P176",
                "target_new": {"str": "Morvania"},
                "target_true": {"str": maker},
                "subject": subject,
            },
            "paraphrase_prompts": [f"The maker of {subject} is"],
            "neighborhood_prompts": [f"{following[subject]} is made by"],
        }
        for case_id, (subject, maker) in enumerate(makers.items())
    ]
