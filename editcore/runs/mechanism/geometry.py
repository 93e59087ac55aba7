"""Distances between clouds of keys, with bootstrap intervals, and projections of the clouds."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from numpy.typing import NDArray
from torch import Tensor

from editcore.keyvalue.second_moment import SecondMoment

COSINE, MAHALANOBIS = "cosine", "mahalanobis"
DRAWS = 1000
LEVEL = 0.95
NEIGHBOURS = 30.0  # t-SNE's "perplexity", as published


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % bootstrap interval, from percentiles."""

    mean: float
    low: float
    high: float


def cosine(
    first: Float[Tensor, "first width"], second: Float[Tensor, "second width"]
) -> Float[Tensor, "first second"]:
    """1 − cosine of every pair.

    >>> cosine(torch.eye(2), torch.tensor([[3.0, 0.0]])).tolist()
    [[0.0], [1.0]]
    """
    unit = (each / each.norm(dim=1, keepdim=True) for each in (first, second))
    a, b = unit
    found: Tensor = 1 - a @ b.T
    return found


def mahalanobis(
    first: Float[Tensor, "first d_key"], second: Float[Tensor, "second d_key"], moment: SecondMoment
) -> Float64[Tensor, "first second"]:
    """√((a − b)ᵀC⁻¹(a − b)) of every pair."""
    a, b = (whitened(each, moment) for each in (first, second))
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def distances(
    metric: str,
    first: Float[Tensor, "first d_key"],
    second: Float[Tensor, "second d_key"],
    moment: SecondMoment,
) -> Float[Tensor, "first second"]:
    """The distance of every pair, by either metric."""
    return cosine(first, second) if metric == COSINE else mahalanobis(first, second, moment)


def whitened(
    keys: Float[Tensor, "case d_key"], moment: SecondMoment
) -> Float64[Tensor, "case d_key"]:
    """L⁻¹k for C = LLᵀ: Mahalanobis distances of keys are Euclidean distances of these."""
    columns = keys.double().cpu().T
    found: Tensor = torch.linalg.solve_triangular(moment.factor, columns, upper=False).T
    return found


def interval(distances: Float[Tensor, "first second"], *, same: bool, seed: int) -> Interval:
    """The mean over pairs and its bootstrap interval; members are resampled, not pairs.

    `same`: row i and column i are one member, resampled together, and their distance is left out.
    """
    matrix = distances.double().numpy()
    counted = np.ones_like(matrix)
    if same:
        np.fill_diagonal(counted, 0.0)
    rng = np.random.default_rng(seed)
    rows = _draws(rng, len(matrix))
    columns = rows if same else _draws(rng, matrix.shape[1])
    sums = np.einsum("bi,ij,bj->b", rows, matrix * counted, columns, optimize=True)
    pairs = np.einsum("bi,ij,bj->b", rows, counted, columns, optimize=True)
    means = sums[pairs > 0] / pairs[pairs > 0]
    whole = float((matrix * counted).sum() / max(counted.sum(), 1))
    if not len(means):
        return Interval(whole, whole, whole)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(whole, float(low), float(high))


def gap(between: float, first: float, second: float) -> float:
    """Energy distance of two clouds, from mean distances (Székely and Rizzo 2013).

    About 0 if both have the same distribution, however wide it is. With cosine distances, it
    estimates ‖ā − b̄‖² for the means ā and b̄ of their unit vectors.

    >>> gap(between=2.0, first=2.0, second=2.0)
    0.0
    """
    return 2 * between - first - second


def within(metric: str, cloud: Float[Tensor, "case d_key"], moment: SecondMoment) -> float:
    """The mean distance of a cloud's members to each other; 0 for a single one."""
    matrix = distances(metric, cloud, cloud, moment)
    count = len(cloud)
    return float((matrix.sum() - matrix.trace()) / (count * (count - 1))) if count > 1 else 0.0


def _draws(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    return rng.multinomial(size, np.full(size, 1 / size), DRAWS).astype(np.float64)


def principal(
    points: Float[Tensor, "case width"],
) -> tuple[Float[Tensor, "case 2"], tuple[float, float]]:
    """The first two principal components, and the share of variance that each explains."""
    from sklearn.decomposition import PCA

    # scikit-learn makes each component's largest loading positive, so that figures repeat.
    found = PCA(n_components=2, svd_solver="full")
    components = torch.from_numpy(found.fit_transform(points.numpy()))
    first, second = found.explained_variance_ratio_.tolist()
    return components, (first, second)


def neighbours(points: Float[Tensor, "case width"], seed: int) -> Float64[Tensor, "case 2"]:
    """t-SNE in two dimensions (van der Maaten and Hinton 2008)."""
    from sklearn.manifold import TSNE

    few = min(NEIGHBOURS, (len(points) - 1) / 3)
    embedding = TSNE(n_components=2, perplexity=few, init="pca", random_state=seed)
    return torch.from_numpy(embedding.fit_transform(points.float().numpy())).double()
