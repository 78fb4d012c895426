import dataclasses

import numpy as np
import pytest
from matplotlib.colors import to_hex

from lightning_sparse.analysis.experiment import CUBIC, QUADRATIC, Route
from lightning_sparse.records import PathRecord
from lightning_sparse.report.drawing import drawing
from lightning_sparse.report.headline import headline_picture
from lightning_sparse.report.path_figures import (
    curve_panel,
    draw_panel,
    mean_along,
    paths_picture,
    solution_panels,
    start_panels,
)
from lightning_sparse.report.sparsity_figure import (
    accuracy_on_test,
    draw_arms,
    sparsity_picture,
    training_loss,
    use_log_scale,
)
from lightning_sparse.report.style import IN_DENSE, IN_MASK, STRAIGHT
from tests.analysis.simulate import HEADLINE_SPARSITY, evaluation, path_points, simulated_path
from tests.report.found import LOOKS
from tests.report.found import found as found_in


@pytest.fixture
def axes():
    with drawing(5, 4) as figure:
        yield figure.subplots()


def path_with_rise(seed, rise, **changes):
    points = path_points(evaluation(1.0), evaluation(0.5), rise)
    return simulated_path("scratch:end", "prune:end", seed, points=points, **changes)


def labelled(axes):
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


def test_arms_are_drawn_at_their_means_in_their_colours(axes, findings):
    draw_arms(axes, findings, accuracy_on_test)
    lines = labelled(axes)
    assert list(lines) == ["dense (not pruned)", "pruned", "scratch", "lottery"]
    for method, label in (("prune", "pruned"), ("scratch", "scratch"), ("lottery", "lottery")):
        expected = [
            100 * np.mean([run.test.accuracy for run in findings.arm(method, sparsity)])
            for sparsity in (0.8, 0.9, 0.95, 0.98)
        ]
        assert lines[label].get_ydata() == pytest.approx(expected)
        assert to_hex(lines[label].get_color()) == LOOKS.colour(method)


def test_every_seed_is_a_dot(axes, findings):
    draw_arms(axes, findings, training_loss)
    drawn = {y for line in axes.lines if line.get_marker() == "o" for y in line.get_ydata()}
    sparse = [run.train.loss for run in findings.runs if run.method != "dense"]
    assert len(sparse) == 36
    assert set(sparse) <= drawn


def test_the_second_dense_run_of_the_positive_control_is_not_in_the_dense_band(findings):
    assert {run.start for run in findings.arm("dense")} == {"init"}
    assert len(findings.arm("dense")) == 3


def test_sparsities_are_labelled_where_they_were_measured(axes, findings):
    draw_arms(axes, findings, training_loss)
    axes.figure.canvas.draw()
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == ["80\xa0%", "90\xa0%", "95\xa0%", "98\xa0%"]


def test_the_mean_of_seeds_measured_at_different_t_is_interpolated():
    first, second = path_with_rise(11, 0.0), path_with_rise(12, 0.0)
    first = dataclasses.replace(first, points=[p for p in first.points if p.t in {0.0, 0.5, 1.0}])
    second = dataclasses.replace(second, points=[p for p in second.points if p.t in {0.0, 1.0}])
    ts, losses = mean_along([first, second])
    assert ts == [0.0, 0.5, 1.0]
    assert losses == pytest.approx([1.0, (1.0 + 0.75) / 2, 0.5])


def test_the_largest_rise_is_marked_where_it_begins_and_ends(axes):
    findings = found_in([path_with_rise(11, 3.0)], HEADLINE_SPARSITY)
    draw_panel(axes, findings, curve_panel("scratch:end", "prune:end", QUADRATIC, LOOKS))
    marks = [
        (line.get_marker(), *line.get_xdata(), *line.get_ydata())
        for line in axes.lines
        if line.get_marker() in {"o", "^"}
    ]
    assert marks == [("o", 0.0, 1.0), ("^", 0.5, pytest.approx(4.0))]


def test_a_rise_that_does_not_count_is_not_marked_and_called_below_tol(axes):
    findings = found_in([path_with_rise(11, 0.05)], HEADLINE_SPARSITY)
    draw_panel(axes, findings, curve_panel("scratch:end", "prune:end", QUADRATIC, LOOKS))
    assert [line for line in axes.lines if line.get_marker() in {"o", "^"}] == []
    assert list(labelled(axes)) == ["straight line, rise below tol"]


def test_the_legend_gives_the_range_of_rises_over_seeds(axes):
    paths: list[PathRecord] = [path_with_rise(11, 2.0), path_with_rise(12, 3.0)]
    draw_panel(
        axes,
        found_in(paths, HEADLINE_SPARSITY),
        curve_panel("scratch:end", "prune:end", QUADRATIC, LOOKS),
    )
    assert list(labelled(axes)) == ["straight line, rise 2.0 to 3.0"]


def test_spaces_keep_their_colour_and_line_in_every_panel():
    for curve in (QUADRATIC, CUBIC):
        styles = {
            trace.label: trace.style
            for trace in curve_panel("scratch:end", "prune:end", curve, LOOKS).traces
        }
        assert styles == {
            "straight line": STRAIGHT,
            "inside the mask": IN_MASK,
            "dense space": IN_DENSE,
        }


def test_extrapolation_is_shaded_on_both_sides_and_named(axes, findings):
    draw_panel(axes, findings, curve_panel("scratch:end", "prune:end", QUADRATIC, LOOKS))
    assert [text.get_text() for text in axes.texts] == ["extrapolation", "extrapolation"]
    spans = sorted((patch.get_x(), patch.get_x() + patch.get_width()) for patch in axes.patches)
    low, high = axes.get_xlim()
    assert spans == [pytest.approx((low, 0.0)), pytest.approx((1.0, high))]


def test_a_panel_without_paths_says_so(axes):
    draw_panel(
        axes, found_in([], HEADLINE_SPARSITY), start_panels(found_in([], HEADLINE_SPARSITY))[0]
    )
    assert [text.get_text() for text in axes.texts] == ["not measured"]


def test_starts_have_their_controls_behind_them():
    panels = start_panels(found_in([], HEADLINE_SPARSITY))
    routes = [[trace.route for trace in panel.traces] for panel in panels]
    assert routes == [
        [Route("dense:start", "dense:end"), Route("dense:start", "prune:end")],
        [Route("lottery:start", "prune:end")],
        [Route("scratch:start", "scratch:end"), Route("scratch:start", "prune:end")],
    ]


def test_captions_give_the_means_of_the_records(findings):
    caption = sparsity_picture(findings).caption
    mean = 100 * np.mean([run.test.accuracy for run in findings.arm("scratch", 0.98)])
    assert f"scratch {mean:.1f}\xa0% (" in caption
    paths = [path_with_rise(11, 2.0), path_with_rise(12, 3.0)]
    found = found_in(paths, HEADLINE_SPARSITY)
    assert (
        "Lead. Largest rise in nats, mean over seeds, from scratch solution to pruned solution: "
        "straight line 2.5. Thin lines"
    ) in paths_picture(found, solution_panels(found), "solutions", "Lead.").caption


def test_the_headline_shows_the_arms_and_the_quadratic_curves(findings):
    picture = headline_picture(findings)
    assert "98\xa0% sparsity" in picture.caption
    assert picture.svg.count('<g id="axes_') == 2


def test_a_log_axis_over_few_decades_has_ticks_within_them(axes):
    axes.plot([0, 1], [0.06, 3.0])
    use_log_scale(axes)
    axes.figure.canvas.draw()
    low, high = axes.get_ylim()
    shown = [float(tick) for tick in axes.get_yticks() if low <= tick <= high]
    assert shown == pytest.approx([0.05, 0.1, 0.2, 0.5, 1.0, 2.0])


def test_the_same_records_give_the_same_bytes(findings):
    first, second = sparsity_picture(findings), sparsity_picture(findings)
    assert first == second


def test_drawing_leaves_the_settings_of_matplotlib_alone(findings):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    sparsity_picture(findings)
    assert dict(mpl.rcParams) == before
