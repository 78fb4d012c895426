import dataclasses
import json

import pytest
import torch
from torch import nn

from lightning_sparse.errors import UserError
from lightning_sparse.files.tensor_files import load_tensors
from lightning_sparse.paths.curves import Bezier, Line, PolygonalChain
from lightning_sparse.paths.end_points import load_end_point
from lightning_sparse.paths.run import PathIdentity, PathRun
from lightning_sparse.paths.settings import EvaluationSettings
from lightning_sparse.records import from_json
from lightning_sparse.training.run import distance
from tests.training.problems import make_data, make_network, make_settings

EVALUATION = EvaluationSettings(
    num_points=8, num_recalibration_images=48, recalibration_batch_size=16, max_refinements=2
)


@pytest.fixture
def connect(ends, tmp_path):
    def make(*, start=ends[0], end=ends[1], curve=None, space="end_mask", **changes):
        options = changes.pop("trainer_options", {})
        return PathRun(
            network=changes.pop("network", None) or make_network(seed=7),
            data=make_data(),
            start=start,
            end=end,
            curve=curve or Line(),
            space=space,
            settings=make_settings(**{"num_steps": 20, "weight_decay": 0.01, **changes}),
            evaluation=EVALUATION,
            identity=PathIdentity(run_id="path", experiment="tests", seed=1, target_sparsity=0.4),
            run_dir=tmp_path / "path",
            trainer_options={"accelerator": "cpu", "devices": 1, **options},
        ).make()

    return make


def parameters_of(state):
    return {name: state[name] for name, _ in make_network().named_parameters()}


def test_a_line_is_measured_without_a_fit(connect, ends, tmp_path):
    record = connect()

    assert record.curve == "straight line"
    assert record.space == "dense"
    assert record.num_steps == 0
    assert record.fit_objective is None
    assert record.length == pytest.approx(record.distance)
    assert record.distance == pytest.approx(
        distance(parameters_of(ends[0].state), ends[1].state), rel=1e-6
    )
    names = sorted(file.name for file in (tmp_path / "path").iterdir())
    assert names == ["SHA256SUMS", "record.json"]


def test_a_record_names_its_ends_and_how_they_were_measured(connect, tmp_path):
    record = connect()

    assert (record.start, record.end) == ("scratch:end", "prune:end")
    assert (record.start_run, record.end_run) == ("S", "P")
    assert record.batch_norm == "recalibrated"
    assert record.num_recalibration_images == 48
    assert record.train_subset_hash == make_data().train_subset_hash
    ts = [point.t for point in record.points]
    assert ts == sorted(set(ts))
    assert set(EVALUATION.grid()) <= set(ts)
    assert from_json((tmp_path / "path" / "record.json").read_text().strip()) == record


def test_a_record_counts_the_weights_and_the_cost_between_the_ends(connect, ends):
    line, inside, outside = (
        connect(**choice)
        for choice in (
            {},
            {"curve": Bezier(2), "space": "end_mask"},
            {"curve": Bezier(2), "space": "dense"},
        )
    )

    assert (line.kept, line.prunable) == (ends[1].run.kept, ends[1].run.prunable)
    assert (inside.kept, outside.kept) == (line.kept, line.prunable)
    assert line.flops.training == 0
    assert line.flops.inference == pytest.approx(ends[1].run.flops.inference)
    for curve in (inside, outside):
        assert curve.flops.training == pytest.approx(3 * curve.flops.inference)
    assert outside.flops.inference == outside.flops.dense > line.flops.inference


def test_the_measured_line_runs_from_the_start_to_the_end(connect, ends):
    at = {point.t: point for point in connect().points}

    # Statistics differ a little: recalibrated here, stored in the records of the runs.
    assert at[0.0].train.loss == pytest.approx(ends[0].run.train.loss, abs=0.1)
    assert at[1.0].train.loss == pytest.approx(ends[1].run.train.loss, abs=0.1)
    assert abs(at[0.0].train.loss - at[1.0].train.loss) > 0.08


@pytest.mark.parametrize(
    ("curve", "space"),
    [(Bezier(2), "end_mask"), (Bezier(3), "dense"), (PolygonalChain(3), "end_mask")],
)
def test_a_curve_is_fitted_and_kept_by_name(connect, ends, tmp_path, curve, space):
    record = connect(curve=curve, space=space)

    stored = load_tensors(tmp_path / "path" / "control_points.safetensors")
    names = list(parameters_of(ends[0].state))
    assert set(stored) == {f"{k}/{name}" for k in range(curve.num_points) for name in names}
    for k, end in ((0, ends[0]), (curve.num_points - 1, ends[1])):
        assert all(torch.equal(stored[f"{k}/{name}"], end.state[name]) for name in names)
    outside = ~ends[1].masks["conv2.weight"]
    assert bool(stored["1/conv2.weight"][outside].any()) == (space == "dense")
    assert (record.curve, record.space, record.num_steps) == (curve.name, space, 20)
    assert record.length > record.distance
    assert record.fit_objective > 0


def test_the_middle_of_a_fitted_curve_is_better_than_that_of_the_line(connect):
    line, curve = connect(), connect(curve=Bezier(2), space="dense", num_steps=120)

    highest = [max(p.train.loss for p in path.points if 0 <= p.t <= 1) for path in (line, curve)]

    assert highest[1] < 0.8 * highest[0]


def test_the_history_of_a_fit_is_kept(connect, tmp_path):
    connect(curve=Bezier(2))

    lines = (tmp_path / "path" / "history.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, 21))


def test_a_fit_that_diverges_leaves_no_record(connect, tmp_path):
    with pytest.raises(UserError, match=r"lower path\.training\.learning_rate=1e\+30"):
        connect(curve=Bezier(2), learning_rate=1e30)

    assert not (tmp_path / "path").exists()


def test_a_loss_that_is_no_number_on_a_line_leaves_no_record(connect, ends, tmp_path):
    broken = {**ends[0].state, "fc.bias": torch.full((3,), torch.nan)}

    with pytest.raises(UserError, match=r"the loss at t = -0\.2 of the path is nan"):
        connect(start=dataclasses.replace(ends[0], state=broken))

    assert not (tmp_path / "path").exists()


def test_a_fit_that_is_ended_early_is_refused(connect):
    with pytest.raises(UserError, match=r"training stopped after 6 of 20 steps"):
        connect(curve=Bezier(2), trainer_options={"max_epochs": 1})


class Wider(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(36, 3)


def test_ends_that_do_not_fit_the_network_are_refused(connect):
    with pytest.raises(UserError, match=r"scratch:end \(run S\) does not fit the model Wider"):
        connect(network=Wider())


def test_ends_of_two_architectures_are_refused(connect, ends):
    state = {**ends[1].state, "extra": torch.zeros(1)}

    with pytest.raises(UserError, match=r"prune:end \(run P\) does not fit .* 'extra'"):
        connect(end=dataclasses.replace(ends[1], state=state))


def test_a_dense_end_has_no_mask_for_a_sparse_space(connect, run_dirs):
    dense = load_end_point(run_dirs["dense"], "end", name="dense2:end")

    with pytest.raises(UserError, match=r"path.space=end_mask: the end of the path has no masks"):
        connect(end=dense, curve=Bezier(2))


def test_the_same_path_twice_gives_the_same_numbers(connect):
    first, second, other = (
        connect(curve=Bezier(2), learning_rate=rate) for rate in (0.1, 0.1, 0.11)
    )

    assert first.points == second.points
    assert first.fit_objective == second.fit_objective
    assert first.points != other.points
