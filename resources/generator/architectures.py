"""The two decoders and the encoder of the bundled world, untrained."""

from __future__ import annotations

from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
)

CONTEXT = 128
WIDTH = 160
LAYERS = 6
HEADS = 5
DECODERS = ("tiny-gpt2", "tiny-llama")
NAMES = (*DECODERS, "tiny-t5")


def tiny_gpt2(vocabulary: int, end: int) -> PreTrainedModel:
    """Return a GPT-2 of 6 layers with learned positions."""
    config = GPT2Config(
        vocab_size=vocabulary,
        n_positions=CONTEXT,
        n_embd=WIDTH,
        n_layer=LAYERS,
        n_head=HEADS,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        attn_implementation="eager",
    )
    return GPT2LMHeadModel(config)


def tiny_llama(vocabulary: int, end: int) -> PreTrainedModel:
    """Return a Llama of 6 layers with rotary positions and a gated MLP."""
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=WIDTH,
        intermediate_size=432,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        attn_implementation="eager",
    )
    return LlamaForCausalLM(config)


def tiny_t5(vocabulary: int, end: int) -> PreTrainedModel:
    """Return a T5 whose encoder has 6 layers and whose decoder has 2, with relative positions."""
    config = T5Config(
        vocab_size=vocabulary,
        d_model=128,
        d_kv=32,
        d_ff=384,
        num_layers=LAYERS,
        num_decoder_layers=2,
        num_heads=4,
        dropout_rate=0.0,
        feed_forward_proj="relu",
        pad_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=end,
        n_positions=CONTEXT,
    )
    return T5ForConditionalGeneration(config)


def build(name: str, vocabulary: int, end: int) -> PreTrainedModel:
    """Return the untrained model of a bundled name; raises `KeyError` for any other name."""
    makers = {"tiny-gpt2": tiny_gpt2, "tiny-llama": tiny_llama, "tiny-t5": tiny_t5}
    return makers[name](vocabulary, end)
