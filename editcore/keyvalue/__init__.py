"""The MLP read as a key-value memory: prefixes, keys, v*, the second moment C, and the solves."""
