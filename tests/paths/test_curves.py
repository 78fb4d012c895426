import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_sparse.errors import UserError
from lightning_sparse.paths.curves import (
    AbstractCurve,
    Bezier,
    Line,
    PolygonalChain,
    checked,
    own_curve,
)
from lightning_sparse.paths.geometry import curve_length, on_straight_line, point_on_curve
from tests.reference.curve_points import on_polygon
from tests.reference.interpolation import de_casteljau


@dataclass(frozen=True)
class SineBump(AbstractCurve):
    """A curve from elsewhere: what a user would write."""

    @property
    def name(self):
        return "sine bump"

    @property
    def num_points(self):
        return 3

    def basis(self, t):
        bump = math.sin(math.pi * t)
        return (1 - t - bump / 2, bump, t - bump / 2)


ts = st.floats(-0.2, 1.2)
inside = st.floats(0, 1)
BEZIERS = [Line(), *map(Bezier, (2, 3, 4, 5))]
CHAINS = [*map(PolygonalChain, (1, 2, 3, 7)), PolygonalChain(2, reinsertions=2)]
CURVES = [*BEZIERS, *CHAINS, SineBump()]
beziers, curves = st.sampled_from(BEZIERS), st.sampled_from(CURVES)


def control_points(curve, seed=0, num_weights=7):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(curve.num_points, num_weights, generator=generator, dtype=torch.float64)


def raised(points):
    """The same curve with one control point more: the textbook rule."""
    degree = len(points) - 1
    k = torch.arange(degree + 2, dtype=points.dtype)[:, None] / (degree + 1)
    zero = torch.zeros_like(points[:1])
    return k * torch.cat([zero, points]) + (1 - k) * torch.cat([points, zero])


def polyline_length(curve, points, num_pieces=4200):
    walk = [point_on_curve(curve, points, i / num_pieces) for i in range(num_pieces + 1)]
    return float(torch.stack(walk).diff(dim=0).norm(dim=1).sum())


@given(ts, curves)
def test_the_basis_sums_to_one(t, curve):
    assert len(curve.basis(t)) == curve.num_points
    assert sum(curve.basis(t)) == pytest.approx(1.0, abs=1e-12)


@given(inside, st.sampled_from([*BEZIERS, *map(PolygonalChain, (1, 2, 7))]))
def test_the_basis_is_not_negative_between_the_ends(t, curve):
    assert min(curve.basis(t)) >= 0


@given(ts, curves)
def test_reversing_t_reverses_the_basis(t, curve):
    assert [*curve.basis(1 - t)] == pytest.approx([*curve.basis(t)][::-1], rel=1e-9, abs=1e-12)


def test_the_cubic_basis_at_a_quarter():
    # 27, 27, 9 and 1 of 64.
    assert Bezier(3).basis(0.25) == [27 / 64, 27 / 64, 9 / 64, 1 / 64]


def test_what_has_nothing_to_fit_names_the_line_instead():
    for degree in (1, 0, -1):
        with pytest.raises(UserError, match=rf"curve.degree={degree}: .* curve=line"):
            Bezier(degree)
    with pytest.raises(UserError, match=r"curve.bends=0: .* curve=line"):
        PolygonalChain(0)


@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: curve.name)
def test_a_curve_is_fitted_where_it_has_points_between_its_ends(curve):
    assert curve.is_fitted == (curve != Line())
    assert checked(curve, "curve") is curve
    assert len({other.name for other in CURVES}) == len(CURVES)


@given(
    st.sampled_from(CURVES[:-1]), st.integers(0, 9), st.sampled_from([torch.float32, torch.float64])
)
def test_the_ends_come_out_exactly(curve, seed, dtype):
    points = control_points(curve, seed).to(dtype)

    assert torch.equal(point_on_curve(curve, points, 0.0), points[0])
    assert torch.equal(point_on_curve(curve, points, 1.0), points[-1])


@given(ts, beziers, st.integers(0, 9))
def test_a_point_is_the_one_de_casteljau_constructs(t, curve, seed):
    points = control_points(curve, seed)

    expected = de_casteljau([{"w": point} for point in points], t)["w"]

    assert torch.allclose(point_on_curve(curve, points, t), expected, rtol=1e-9, atol=1e-9)


@given(ts, st.integers(1, 6), st.integers(0, 9))
def test_a_point_of_a_chain_is_the_one_that_a_walk_along_its_pieces_reaches(t, bends, seed):
    curve = PolygonalChain(bends)
    points = control_points(curve, seed)

    expected = on_polygon(points, t)

    assert torch.allclose(point_on_curve(curve, points, t), expected, rtol=1e-9, atol=1e-9)


@given(ts, beziers, st.integers(0, 9))
def test_raising_the_degree_leaves_the_curve_as_it_is(t, curve, seed):
    points = control_points(curve, seed)

    here = point_on_curve(curve, points, t)
    there = point_on_curve(Bezier(curve.num_points), raised(points), t)

    assert torch.allclose(here, there, rtol=1e-9, atol=1e-9)


@given(ts, curves)
def test_a_straight_line_has_constant_speed_on_every_curve(t, curve):
    start, end = control_points(Line())

    point = point_on_curve(curve, on_straight_line(curve, start, end), t)

    assert torch.allclose(point, (1 - t) * start + t * end, rtol=1e-9, atol=1e-9)


def test_a_straight_line_keeps_its_ends_bit_for_bit():
    start, end = control_points(Line()).float()
    points = on_straight_line(Bezier(3), start, end)

    assert torch.equal(points[0], start)
    assert torch.equal(points[-1], end)
    assert points.shape == (4, 7)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: curve.name)
def test_the_length_is_that_of_a_fine_polyline(curve, seed):
    points = control_points(curve, seed)

    # The polyline is short by about 1e-7; a length over half as many pieces is off by 4e-7.
    expected = polyline_length(curve, points)
    assert curve_length(curve, points) == pytest.approx(expected, rel=1e-6)


def test_the_length_of_a_parabola_is_that_of_the_textbook():
    # y = x (1 - x) over [0, 1] has half the length asinh(1) + root 2.
    points = torch.tensor([[0.0, 0.0], [0.5, 0.5], [1.0, 0.0]], dtype=torch.float64)

    expected = (math.asinh(1) + math.sqrt(2)) / 2
    assert curve_length(Bezier(2), points) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("bends", [1, 2, 3, 10])
def test_the_length_of_a_chain_is_that_of_its_pieces_and_not_that_of_a_bezier_curve(bends):
    points = control_points(PolygonalChain(bends))
    pieces = float(points.diff(dim=0).norm(dim=1).sum())

    assert curve_length(PolygonalChain(bends), points) == pytest.approx(pieces, rel=1e-12)
    assert curve_length(Bezier(bends + 1), points) < 0.95 * pieces


@settings(max_examples=20)
@given(curves, st.integers(0, 9))
def test_no_curve_is_shorter_than_its_chord(curve, seed):
    points = control_points(curve, seed)
    chord = float((points[-1] - points[0]).norm())

    assert curve_length(curve, points) >= chord * (1 - 1e-12)


@pytest.mark.parametrize("curve", [Line(), Bezier(2), Bezier(3), PolygonalChain(2)])
def test_a_line_is_as_long_as_its_chord(curve):
    start, end = control_points(Line())

    length = curve_length(curve, on_straight_line(curve, start, end))

    assert length == pytest.approx(float((end - start).norm()), rel=1e-12)


@dataclass(frozen=True)
class _Odd(AbstractCurve):
    name: str = "odd"
    num_points: int = 2
    weights: tuple = ()

    def basis(self, t):
        return self.weights or (1 - t, t)


@pytest.mark.parametrize(
    ("curve", "said"),
    [
        ("quadratic", "gave a str; name a subclass"),
        (_Odd(name="../odd"), "its name '../odd' becomes part of a folder's"),
        (_Odd(num_points=1), "num_points=1; the two ends are among them"),
        (_Odd(num_points=3), r"basis\(0\) is \[1.0, 0.0\]; it must be 3 weights"),
        (_Odd(weights=(0.5, 0.5)), r"basis\(0\) is \[0.5, 0.5\]"),
        (_Odd(weights=(1.0, 0.0)), r"basis\(1\) is \[1.0, 0.0\]"),
        (_Odd(weights=(1.0, 0.5)), r"basis\(0\) is \[1.0, 0.5\]"),
        (_Odd(weights=(1.0, math.nan)), r"basis\(0\) is \[1.0, nan\]"),
    ],
)
def test_a_curve_that_does_not_join_its_ends_is_refused(curve, said):
    with pytest.raises(UserError, match=f"curve._target_=x: {said}"):
        checked(curve, "curve._target_=x")


def test_a_record_names_curves_of_this_package_and_no_class_from_elsewhere():
    here = "lightning_sparse.paths.curves"
    assert own_curve({"_target_": f"{here}.Line"}) == Line()
    assert own_curve({"_target_": f"{here}.PolygonalChain", "bends": 3}) == PolygonalChain(3)
    assert own_curve({"_target_": f"{__name__}.SineBump"}) is None
    assert own_curve({"_target_": f"{here}.AbstractCurve"}) is None
    assert own_curve({"_target_": ["list"]}) is own_curve(None) is None
    with pytest.raises(UserError, match=r"record.json: config.curve: "):
        own_curve({"_target_": f"{here}.Bezier", "bends": 3})
