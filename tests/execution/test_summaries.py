from dataclasses import replace

from lightning_sparse.execution.summaries import describe_path, in_short
from tests.analysis.simulate import evaluation, path_points, simulated_path, simulated_run


def test_no_number_is_shown_as_minus_zero():
    measured = evaluation(0.5, 0.9)
    start, end = (
        simulated_run(method, 11, 0.9, train=measured, test=measured)
        for method in ("scratch", "prune")
    )
    # As records of earlier versions have it, whose first point of the curve is at minus zero.
    points = path_points(measured, measured, 0.3, grid=(-0.2, -0.0, 0.5, 1.0, 1.2))
    path = simulated_path("scratch:end", "prune:end", 11, points=points)

    shown = f"{describe_path(path, start, end)}\n{in_short(path)}"

    assert "from t = 0 to t = 0.5" in shown
    assert "-0" not in shown


def test_descent_rise_and_barrier_are_told_apart():
    high, low = evaluation(0.5, 0.9), evaluation(0.2, 0.9)
    run = simulated_run("scratch", 11, 0.9, train=high, test=high)
    # Up by 0.1, down below the end, and up again from there to the end.
    points = tuple(
        replace(point, train=replace(point.train, loss=loss))
        for point, loss in zip(
            path_points(high, low, 0.0, grid=(0.0, 0.25, 0.5, 1.0)),
            (0.5, 0.6, 0.05, 0.2),
            strict=True,
        )
    )
    path = simulated_path("scratch:end", "prune:end", 11, points=points)

    assert in_short(path) == "descent 0.1000, rise 0.1500, barrier 0.1000 nats"
    assert "rises by 0.1000 nats at most" in describe_path(path, run, run)
    assert "largest rise of the training loss 0.1500" in describe_path(path, run, run)
