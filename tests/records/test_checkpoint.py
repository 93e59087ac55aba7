"""Checkpoints restore what was saved, part by part."""

from pathlib import Path

import torch

from editcore.records.checkpoint import Checkpoint, Progress


def test_parts_come_back_under_their_own_names(tmp_path: Path) -> None:
    parts = {"change": {"a/b": torch.arange(3.0)}, "changed": {"a": torch.ones(2)}, "none": {}}
    checkpoint = Checkpoint(tmp_path / "c.safetensors", "this work", 0)
    checkpoint.write_if_due(lambda: Progress.of(parts, {"step": 3}))
    read = checkpoint.read()
    assert read is not None
    assert read.state == {"step": 3}
    for part, named in parts.items():
        found = read.part(part)
        assert found.keys() == named.keys()
        assert all(torch.equal(found[name], tensor) for name, tensor in named.items())
    assert Checkpoint(checkpoint.path, "other work", 0).read() is None
