import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_sparse.paths.curves import (
    bernstein_basis,
    curve_length,
    point_on_curve,
    straight_line,
)
from tests.reference.interpolation import de_casteljau

ts = st.floats(-0.2, 1.2)
inside = st.floats(0, 1)
degrees = st.integers(1, 5)


def control_points(degree, seed=0, num_weights=7):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(degree + 1, num_weights, generator=generator, dtype=torch.float64)


def raised(points):
    """The same curve with one control point more: the textbook rule."""
    degree = len(points) - 1
    k = torch.arange(degree + 2, dtype=points.dtype)[:, None] / (degree + 1)
    zero = torch.zeros_like(points[:1])
    return k * torch.cat([zero, points]) + (1 - k) * torch.cat([points, zero])


def polyline_length(points, num_pieces=4000):
    walk = torch.stack([point_on_curve(points, i / num_pieces) for i in range(num_pieces + 1)])
    return float(walk.diff(dim=0).norm(dim=1).sum())


@given(ts, degrees)
def test_the_basis_sums_to_one(t, degree):
    assert float(bernstein_basis(t, degree).sum()) == pytest.approx(1.0, abs=1e-12)


@given(inside, degrees)
def test_the_basis_is_not_negative_between_the_ends(t, degree):
    assert bool((bernstein_basis(t, degree) >= 0).all())


@given(ts, degrees)
def test_reversing_t_reverses_the_basis(t, degree):
    backwards = bernstein_basis(1 - t, degree).flip(0)

    assert torch.allclose(bernstein_basis(t, degree), backwards, rtol=1e-9, atol=1e-12)


def test_the_cubic_basis_at_a_quarter():
    # 27, 27, 9 and 1 of 64.
    assert bernstein_basis(0.25, 3).tolist() == [27 / 64, 27 / 64, 9 / 64, 1 / 64]


@pytest.mark.parametrize("degree", [0, -1])
def test_a_curve_without_two_ends_is_refused(degree):
    with pytest.raises(ValueError, match=f"degree={degree}"):
        bernstein_basis(0.5, degree)


@given(degrees, st.integers(0, 9), st.sampled_from([torch.float32, torch.float64]))
def test_the_ends_come_out_exactly(degree, seed, dtype):
    points = control_points(degree, seed).to(dtype)

    assert torch.equal(point_on_curve(points, 0.0), points[0])
    assert torch.equal(point_on_curve(points, 1.0), points[-1])


@given(ts, degrees, st.integers(0, 9))
def test_a_point_is_the_one_de_casteljau_constructs(t, degree, seed):
    points = control_points(degree, seed)

    expected = de_casteljau([{"w": point} for point in points], t)["w"]

    assert torch.allclose(point_on_curve(points, t), expected, rtol=1e-9, atol=1e-9)


@given(ts, degrees, st.integers(0, 9))
def test_raising_the_degree_leaves_the_curve_as_it_is(t, degree, seed):
    points = control_points(degree, seed)

    here, there = point_on_curve(points, t), point_on_curve(raised(points), t)

    assert torch.allclose(here, there, rtol=1e-9, atol=1e-9)


@given(ts, degrees)
def test_a_straight_line_has_constant_speed_at_every_degree(t, degree):
    start, end = control_points(1)

    point = point_on_curve(straight_line(start, end, degree), t)

    assert torch.allclose(point, (1 - t) * start + t * end, rtol=1e-9, atol=1e-9)


def test_a_straight_line_keeps_its_ends_bit_for_bit():
    start, end = control_points(1).float()
    points = straight_line(start, end, 3)

    assert torch.equal(points[0], start)
    assert torch.equal(points[-1], end)
    assert points.shape == (4, 7)


@pytest.mark.parametrize(("degree", "seed"), list(itertools.product([2, 3, 5], [0, 1])))
def test_the_length_is_that_of_a_fine_polyline(degree, seed):
    points = control_points(degree, seed)

    # The polyline is short by about 1e-7; a length over half as many pieces is off by 4e-7.
    assert curve_length(points) == pytest.approx(polyline_length(points), rel=1e-6)


def test_the_length_of_a_parabola_is_that_of_the_textbook():
    # y = x (1 - x) over [0, 1] has half the length asinh(1) + root 2.
    points = torch.tensor([[0.0, 0.0], [0.5, 0.5], [1.0, 0.0]], dtype=torch.float64)

    assert curve_length(points) == pytest.approx((math.asinh(1) + math.sqrt(2)) / 2, rel=1e-9)


@given(degrees, st.integers(0, 9))
def test_no_curve_is_shorter_than_its_chord(degree, seed):
    points = control_points(degree, seed)
    chord = float((points[-1] - points[0]).norm())

    assert curve_length(points) >= chord * (1 - 1e-12)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_a_line_is_as_long_as_its_chord(degree):
    start, end = control_points(1)

    length = curve_length(straight_line(start, end, degree))

    assert length == pytest.approx(float((end - start).norm()), rel=1e-12)
