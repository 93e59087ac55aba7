"""A loaded model: its parts, hooks, tokens, KV cache, batch sizes, precision, and GPU."""
