import dataclasses

import pytest

from lightning_sparse.analysis.experiment import CUBIC, Route
from lightning_sparse.report.blocks import Table, as_inlines
from lightning_sparse.report.endpoint_tables import counts, endpoint_blocks, missing_runs, remarks
from lightning_sparse.report.layer_tables import layer_blocks
from lightning_sparse.report.measurement_tables import measurement_blocks, record_blocks
from lightning_sparse.report.path_tables import missing_routes, path_blocks
from lightning_sparse.report.style import NONE
from tests.analysis.simulate import (
    HEADLINE_SPARSITY,
    evaluation,
    path_points,
    simulated_path,
    simulated_run,
)
from tests.report.found import found as found_in


def tables(blocks):
    return [block for block in blocks if isinstance(block, Table)]


def plain(text):
    return [piece if isinstance(piece, str) else piece.text for piece in as_inlines(text)]


def cells(table, row=0):
    return dict(zip(table.columns, map(plain, table.rows[row].cells), strict=True))


def run_of(seed, accuracy, loss, **changes):
    changes = {"method": "prune", **changes}
    method = changes.pop("method")
    return simulated_run(
        method,
        seed,
        HEADLINE_SPARSITY,
        train=evaluation(loss),
        test=evaluation(2 * loss, accuracy),
        **changes,
    )


def rising_path(seed, rise, **changes):
    points = path_points(evaluation(1.0), evaluation(0.5), rise)
    return simulated_path("scratch:end", "prune:end", seed, points=points, **changes)


def test_end_points_show_mean_margin_and_exact_counts():
    runs = [run_of(seed, accuracy, 0.1) for seed, accuracy in ((11, 0.96), (12, 0.97), (13, 0.98))]
    (table,) = tables(endpoint_blocks(found_in(runs, HEADLINE_SPARSITY)))
    row = cells(table)
    # t(0.975, 2) = 4.3027 times the deviation of 1 point, over the root of 3.
    assert row["test accuracy [%]"] == ["97.00 ± 2.48"]
    assert row["training loss [nats]"] == ["0.100 ± 0"]
    assert row["kept / prunable"] == ["733 / 23,824"]
    assert row["overall sparsity"] == ["96.92\xa0%"]
    assert row["sparsity"] == ["98\xa0%"]
    assert row["records"] == ["R1", " ", "R2", " ", "R3"]


def test_one_seed_has_no_margin():
    (table,) = tables(endpoint_blocks(found_in([run_of(11, 0.96, 0.1)], HEADLINE_SPARSITY)))
    assert cells(table)["test accuracy [%]"] == ["96.00"]


def test_counts_that_differ_between_seeds_are_all_shown():
    assert counts([run_of(11, 0.9, 0.1), run_of(12, 0.9, 0.1, kept=734)]) == (
        "733 / 23,824; 734 / 23,824"
    )


def test_seeds_that_lack_an_arm_are_named():
    runs = [run_of(11, 0.9, 0.1), run_of(12, 0.9, 0.1), run_of(12, 0.9, 0.1, method="scratch")]
    assert missing_runs(found_in(runs, HEADLINE_SPARSITY)) == (
        "Missing end points: dense, scratch at 98\xa0% (seeds 11) and lottery at 98\xa0%."
    )


def test_seeds_that_lack_a_path_are_named():
    paths = [rising_path(11, 1.0), rising_path(12, 1.0), rising_path(11, 1.0, degree=3)]
    found = found_in([*paths], HEADLINE_SPARSITY)
    routes = [Route("scratch:end", "prune:end"), Route("scratch:end", "prune:end", CUBIC, "dense")]
    assert missing_routes(found, routes) == (
        "Not measured: scratch solution → pruned solution, cubic curve in the dense space "
        "(seeds 12)."
    )


def test_layers_are_counted_at_every_sparsity(findings):
    (table,) = tables(layer_blocks(findings))
    assert [plain(row.cells[0]) for row in table.rows[:2]] == [["conv1"], ["conv2"]]
    assert cells(table, 1)["prunable"] == ["4,608"]
    assert cells(table, 1)["kept at 98\xa0%"] == ["92", "98.00\xa0%"]


def test_paths_show_rises_barriers_and_where_the_rise_lies():
    found = found_in([rising_path(11, 2.0), rising_path(12, 3.0)], HEADLINE_SPARSITY)
    rises, geometry = tables(path_blocks(found))
    row = cells(rises)
    assert row["path"] == [
        "scratch\xa0solution\xa0→\xa0pruned\xa0solution",
        "straight line at 98\xa0%",
    ]
    assert row["largest rise of the loss"] == ["2.50", "2.0 to 3.0"]
    assert row["largest rise of the objective"] == ["2.50", "2.0 to 3.0"]
    assert row["barrier over the chord"] == ["2.75", "2.2 to 3.2"]
    assert row["over the mean of the ends"] == ["2.75", "2.2 to 3.2"]
    assert row["over the worse end"] == ["2.50", "2.0 to 3.0"]
    assert row["records"] == ["R1", " ", "R2"]
    row = cells(geometry)
    assert [row["rise begins at t"], row["ends at t"]] == [["0"], ["0.500"]]
    assert [row["distance of the ends"], row["length"]] == [["15.0"], ["15.0"]]
    assert row["steps of the fit"] == [NONE]


def test_a_falling_path_rises_nowhere():
    _, geometry = tables(path_blocks(found_in([rising_path(11, 0.0)], HEADLINE_SPARSITY)))
    assert cells(geometry)["rise begins at t"] == [NONE]


def test_curves_of_both_spaces_have_rows_of_their_own():
    curves = [rising_path(11, 1.0, degree=2, space=space) for space in ("end_mask", "dense")]
    rises, _ = tables(path_blocks(found_in(curves, HEADLINE_SPARSITY)))
    assert [cells(rises, row)["path"][1] for row in (0, 1)] == [
        "quadratic curve inside the mask at 98\xa0%",
        "quadratic curve in the dense space at 98\xa0%",
    ]


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"refinement_converged": False}, "still moved the largest rise by 2 % or more"),
        (
            {"points": path_points(evaluation(0.5), evaluation(1.0), 0.0)},
            "On 1 of 1 paths the end at t = 1 has the higher loss.",
        ),
    ],
)
def test_what_weakens_a_path_is_said(changes, note):
    path = dataclasses.replace(rising_path(11, 1.0), **changes)
    assert note in str(path_blocks(found_in([path], HEADLINE_SPARSITY)))
    assert note not in str(path_blocks(found_in([rising_path(11, 1.0)], HEADLINE_SPARSITY)))


def test_records_are_numbered_runs_first_and_lead_to_what_they_come_from():
    pruned = run_of(11, 0.9, 0.1)
    scratch = run_of(11, 0.9, 0.1, method="scratch")
    records = [rising_path(11, 1.0), scratch, pruned]
    runs, paths = tables(record_blocks(found_in(records, HEADLINE_SPARSITY)))
    assert [row.anchor for row in (*runs.rows, *paths.rows)] == ["R1", "R2", "R3"]
    assert cells(runs)["mask from"] == ["R2"]
    assert cells(paths)["runs of its ends"] == ["R1", " ", "R2"]


def test_provenance_that_differs_between_records_is_listed_in_full():
    runs = [
        run_of(11, 0.9, 0.1, provenance={"commit": "aaa", "date": "2026-01-02"}),
        run_of(12, 0.9, 0.1, provenance={"commit": "bbb", "date": "2026-01-01", "dirty": True}),
    ]
    (table,) = measurement_blocks(found_in(runs, HEADLINE_SPARSITY))
    facts = {row.cells[0]: row.cells[1] for row in table.rows}
    assert facts["commit"] == "aaa, bbb"
    assert facts["date"] == "2026-01-01 to 2026-01-02"
    assert facts["dirty"] == "yes"


def test_what_cannot_be_pruned_shows_beside_the_sparsity_of_what_can():
    few = run_of(11, 0.96, 0.1, num_parameters=24_000)
    many = run_of(11, 0.96, 0.1, num_parameters=47_648, remarks=["left dense: rnn.weight"])

    def shown(run):
        (table,) = tables(endpoint_blocks(found_in([run], HEADLINE_SPARSITY)))
        return cells(table)["overall sparsity"]

    assert shown(few) == ["96.92\xa0%"]
    assert shown(many) == ["96.92\xa0% (48.46\xa0% of all parameters)"]
    twice = found_in([many, dataclasses.replace(many, seed=12)], HEADLINE_SPARSITY)
    assert remarks(twice) == ["Noted of runs: left dense: rnn.weight."]
