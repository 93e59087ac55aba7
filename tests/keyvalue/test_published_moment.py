"""Statistics in the format of ROME's and MEMIT's authors give the same C; others are refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from editcore.errors import DataError
from editcore.keyvalue import published_moment, second_moment
from editcore.planning.jobs import ModelSpec, MomentJob
from editcore.records import provenance
from editcore.runs import artefacts


def write_published(path: Path, keys: torch.Tensor, **changes: Any) -> Path:
    """What their code saves: sums and counts, not means, and a few words about both."""
    arrays = {
        "sample_size": np.array(100000),
        "mom2.constructor": np.array("util.runningstats.SecondMoment()"),
        "mom2.count": np.array(len(keys)),
        "mom2.mom2": (keys.T @ keys).numpy(),
    }
    np.savez(path, **(arrays | changes))
    return path


def test_the_sums_become_means(tmp_path: Path) -> None:
    keys = torch.randn(200, 16)
    moment = published_moment.read(write_published(tmp_path / "c.npz", keys), 5)
    assert (moment.layer, moment.tokens) == (5, 200)
    torch.testing.assert_close(moment.matrix, (keys.T @ keys).double() / 200)
    torch.testing.assert_close(moment.factor @ moment.factor.T, moment.matrix)


def test_sums_made_in_float32_can_be_solved(tmp_path: Path) -> None:
    """One direction is a thousand times as long as the others, and some keys never move."""
    keys = torch.randn(4000, 64)
    keys[:, 0] *= 1000
    keys[:, 50:] = keys[:, :14]
    moment = published_moment.read(write_published(tmp_path / "c.npz", keys), 0)
    assert torch.linalg.eigvalsh(moment.matrix).min() < 0
    assert moment.solve(keys[0]).isfinite().all()


def nothing_like_it(path: Path) -> None:
    path.write_bytes(b"no statistics at all")


def truncated(path: Path) -> None:
    write_published(path, torch.randn(200, 16))
    path.write_bytes(path.read_bytes()[:-500])


def bent_inside(path: Path) -> None:
    write_published(path, torch.randn(200, 16))
    content = bytearray(path.read_bytes())
    content[-1500] ^= 255
    path.write_bytes(content)


def one_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.eye(4))


def other_arrays(path: Path) -> None:
    np.savez(path, mean=np.zeros(4), count=np.array(3))


def pickled(path: Path) -> None:
    write_published(path, torch.randn(20, 4), **{"mom2.mom2": np.array([{}, None])})


def with_(**changes: Any) -> Callable[[Path], None]:
    arrays = {name.replace("_", "."): value for name, value in changes.items()}

    def write(path: Path) -> None:
        write_published(path, torch.randn(20, 4), **arrays)

    return write


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda path: None, "No such file"),
        (nothing_like_it, "cannot be read"),
        (truncated, "cannot be read"),
        (bent_inside, "cannot be read"),
        (one_array, "cannot be read"),
        (other_arrays, "mom2"),
        (pickled, "cannot be read"),
        (with_(mom2_count=np.array(0)), "mom2.count is 0"),
        (with_(mom2_count=np.array(float("nan"))), "mom2.count is nan"),
        (with_(mom2_count=np.array("many")), "mom2.count is many"),
        (with_(mom2_mom2=np.ones((4, 5))), r"shape \(4, 5\)"),
        (with_(mom2_mom2=np.ones(4)), r"shape \(4,\)"),
        (with_(mom2_mom2=np.full((4, 4), np.inf)), "not finite"),
        (with_(mom2_mom2=np.triu(np.ones((4, 4)))), "not symmetric"),
    ],
)
def test_a_file_that_holds_no_statistics_is_refused(
    tmp_path: Path, write: Callable[[Path], None], reason: str
) -> None:
    path = tmp_path / "stats.npz"
    write(path)
    with pytest.raises(DataError, match=reason) as caught:
        published_moment.read(path, 1)
    assert str(path) in str(caught.value)


def test_a_job_reads_instead_of_measuring_and_records_it(tmp_path: Path) -> None:
    for layer in (3, 5):
        write_published(tmp_path / f"h.{layer}.npz", torch.randn(100 * layer, 8))
    template = str(tmp_path / "h.{layer}.npz")
    model = ModelSpec(name="m", source="nobody/no-such-model")
    artefacts.write_moments(
        MomentJob(model=model, layers=(3, 5), published=template), tmp_path / "out"
    )
    for layer in (3, 5):
        file = tmp_path / "out" / f"layer-{layer}.safetensors"
        assert second_moment.load(file).tokens == 100 * layer
        about = provenance.read(file)
        assert about["made_from"] == str(tmp_path / f"h.{layer}.npz")
        assert about["job"]["published"] == template
