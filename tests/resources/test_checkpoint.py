"""A training that was stopped and taken up again ends with the weights of one that was not."""

from pathlib import Path

import torch

from resources.generator import checkpoint


def parts() -> tuple[torch.nn.Module, torch.optim.AdamW]:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Embedding(7, 4), torch.nn.Linear(4, 7, bias=False))
    model[1].weight = model[0].weight
    return model, torch.optim.AdamW(model.parameters(), lr=0.1, betas=(0.9, 0.95), fused=True)


def train(model: torch.nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    rows = torch.arange(7)
    for _ in range(steps):
        torch.nn.functional.cross_entropy(model(rows), rows.roll(1)).backward()
        optimizer.step()
        optimizer.zero_grad()


def test_a_resumed_training_is_the_same_training(tmp_path: Path) -> None:
    model, optimizer = parts()
    train(model, optimizer, 3)
    about = {"step": 3, "losses": [[1, 0.5]]}
    checkpoint.save(tmp_path / "c.safetensors", model, optimizer, about)
    train(model, optimizer, 4)

    other, other_optimizer = parts()
    found = checkpoint.load(tmp_path / "c.safetensors", other, other_optimizer)
    assert found == about
    train(other, other_optimizer, 4)
    assert torch.equal(model[0].weight, other[0].weight)
    assert other[1].weight is other[0].weight
