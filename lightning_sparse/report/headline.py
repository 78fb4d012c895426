"""The one figure that tells the story: the gap, and what lies between the two solutions."""

from lightning_sparse.report.blocks import Picture
from lightning_sparse.report.drawing import drawing, picture
from lightning_sparse.report.findings import Findings
from lightning_sparse.report.path_figures import curve_panel, draw_panel, in_full
from lightning_sparse.report.sparsity_figure import accuracy_on_test, draw_arms, use_log_scale
from lightning_sparse.report.style import nominal


def headline_picture(findings: Findings) -> Picture:
    """Draw accuracy against sparsity beside the loss between scratch and pruned solution."""
    with drawing(10, 4.4) as figure:
        left, right = figure.subplots(1, 2, width_ratios=[1, 1.15])
        draw_arms(left, findings, accuracy_on_test)
        left.set_title("Test accuracy of the arms")
        left.set_ylabel("test accuracy [%]")
        left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
        between = next(route for route in findings.asked.routes if route.is_fitted)
        panel = curve_panel(between.start, between.end, between.curve, findings.looks)
        draw_panel(right, findings, in_full(panel))
        right.set_title("Training loss between the two solutions")
        right.set_ylabel("training loss [nats]")
        use_log_scale(right)
        return picture(figure, "headline", _caption(findings))


def _caption(findings: Findings) -> str:
    return (
        "Left: test accuracy against sparsity. Right: training loss from the scratch solution to "
        f"the pruned solution at {nominal(findings.headline_sparsity)} sparsity, on the straight "
        "line, on a quadratic curve inside the mask and on a quadratic curve that may use all "
        "weights. Mean and single seeds; shaded regions are extrapolation."
    )
