"""Tokenizers without their models: a bundled name, a folder, a hub id, or GPT-2's merges alone."""

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from editcore.datasets.bundled import model_source
from editcore.errors import DataError

END = "<|endoftext|>"


def load_tokenizer(source: str) -> PreTrainedTokenizerBase:
    """The tokenizer that `source` names; a `.txt` file is taken for merges.

    Raises `DataError` where there is none.
    """
    try:
        if source.endswith(".txt"):
            return gpt2_tokenizer(Path(source))
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(model_source(source))
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(
            f"no tokenizer can be loaded from {source!r}: {reason}; give a bundled name, a folder, "
            "a hub id, or a file of merges (.txt)"
        ) from error
    return tokenizer


def gpt2_tokenizer(merges: Path) -> PreTrainedTokenizerBase:
    """GPT-2's tokenizer from its published merges, from which its vocabulary follows."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    symbols = [*map(chr, printable), *(chr(256 + i) for i in range(len(others)))]
    lines = merges.read_text(encoding="utf-8").splitlines()
    split = [line.split() for line in lines if line and not line.startswith("#version")]
    pairs = [(left, right) for left, right in split]
    words = [*symbols, *("".join(pair) for pair in pairs), END]
    tokenizer = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=END, eos_token=END)
