"""Distances, intervals and projections on points whose answers are known."""

import numpy as np
import pytest
import torch

from editcore.keyvalue.second_moment import SecondMoment
from editcore.runs.mechanism import geometry


@pytest.fixture(scope="module")
def points() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    scales = torch.tensor([5.0, 2.0, 0.1, 0.1], dtype=torch.float64)
    return torch.randn(60, 4, generator=generator, dtype=torch.float64) * scales


def test_mahalanobis_is_euclidean_if_c_is_the_identity_and_has_no_scale(points) -> None:
    identity = SecondMoment.from_matrix(0, torch.eye(4), tokens=9)
    plain = torch.cdist(points, points)
    torch.testing.assert_close(
        geometry.mahalanobis(points, points, identity), plain, atol=1e-6, rtol=0
    )
    moment = SecondMoment.from_matrix(0, points.T @ points / 60, tokens=60)
    stretch = torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    other = SecondMoment.from_matrix(0, stretch @ moment.matrix @ stretch.T, tokens=60)
    moved = geometry.mahalanobis(points @ stretch.T, points @ stretch.T, other)
    torch.testing.assert_close(
        moved, geometry.mahalanobis(points, points, moment), atol=1e-6, rtol=1e-6
    )


def test_mahalanobis_is_its_definition(points) -> None:
    moment = SecondMoment.from_matrix(0, points.T @ points / 60, tokens=60)
    difference = points[3] - points[7]
    expected = (difference @ torch.linalg.inv(moment.matrix) @ difference).sqrt()
    found = geometry.mahalanobis(points[3:4], points[7:8], moment)
    assert float(found) == pytest.approx(float(expected), rel=1e-6)


def test_the_mean_leaves_out_what_is_compared_with_itself() -> None:
    line = torch.tensor([[0.0], [1.0], [3.0]], dtype=torch.float64)
    matrix = torch.cdist(line, line)
    assert geometry.interval(matrix, same=True, seed=0).mean == pytest.approx((1 + 3 + 2) / 3)
    assert geometry.interval(matrix, same=False, seed=0).mean == pytest.approx(12 / 9)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(100):
        first, second = rng.normal(0, 1, (40, 1)), rng.normal(3, 1, (40, 1))
        found = geometry.interval(torch.from_numpy(second.T - first), same=False, seed=trial)
        hits += found.low <= 3 <= found.high
    assert 88 <= hits <= 100
    flat = geometry.interval(torch.full((5, 5), 2.0), same=False, seed=0)
    assert (flat.low, flat.mean, flat.high) == pytest.approx((2, 2, 2))


def test_components_keep_distances_of_a_plane_and_their_shares_of_variance(points) -> None:
    plane = points[:, :2]
    found, shares = geometry.principal(plane)
    torch.testing.assert_close(
        torch.cdist(found, found), torch.cdist(plane, plane), atol=1e-6, rtol=0
    )
    assert sum(shares) == pytest.approx(1)
    variances = found.var(0)
    assert shares[0] == pytest.approx(float(variances[0] / variances.sum()))
    again, _ = geometry.principal(plane)
    assert torch.equal(found, again)


def test_neighbours_stay_neighbours_and_the_seed_decides(points) -> None:
    clouds = torch.cat([points[:30], points[:30] + 100])
    found = geometry.neighbours(clouds, seed=3)
    distances = torch.cdist(found, found).fill_diagonal_(torch.inf)
    assert bool(((distances.argmin(1) < 30) == (torch.arange(60) < 30)).all())
    assert torch.equal(found, geometry.neighbours(clouds, seed=3))


def test_a_component_points_where_its_largest_loading_is_positive(points) -> None:
    found, _ = geometry.principal(points)
    for axis, component in enumerate(found.T):
        assert float(component @ points[:, axis]) > 0  # axes 0 and 1 vary most, in this order
