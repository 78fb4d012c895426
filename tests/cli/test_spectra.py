"""Spectra along a curve, from the command line to the page, against the exact matrices."""

import contextlib
import dataclasses
import shutil

import numpy as np
import pytest
import torch

from lightning_sparse.analysis.laboratory import laboratory
from lightning_sparse.analysis.spectra import KINDS, PLACES, at_places, extremes, negative_share
from lightning_sparse.cli.main import main
from lightning_sparse.errors import UserError
from lightning_sparse.execution.build import build_data, build_network
from lightning_sparse.models.batch_norm import recalibrate_
from lightning_sparse.paths.control_points import load_control_points
from lightning_sparse.paths.curvature import _probe
from lightning_sparse.paths.layout import WeightLayout
from lightning_sparse.planning.laboratory import plan_all
from lightning_sparse.planning.runs import plan_path
from lightning_sparse.records import read_record, to_json
from lightning_sparse.report.findings import Findings
from lightning_sparse.report.laboratory_page import write_page
from lightning_sparse.settings.compose import compose_settings
from lightning_sparse.sparsity.mask_files import load_masks
from tests.reference.curvature import exact_matrices

NETWORK = """
import torch
from torch import nn

from lightning_sparse.data.augmentation import RandomShift
from lightning_sparse.data.source import ImageSource, TensorImages


def net(num_classes):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(12, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, num_classes)
    )


def build():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(64, 3, 2, 2, generator=generator)
    labels = (images.mean(dim=(1, 2, 3)) > 0).long()
    return ImageSource(
        name="mine", train=TensorImages(images, labels),
        test=TensorImages(images[:32], labels[:32]), num_classes=2, image_shape=(3, 2, 2),
        augmentation=RandomShift(max_shift=0),
    )
"""
NUM_PROBES = 2


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Settings and records by kind: a network of 70 weights, half of them masked."""
    folder = tmp_path_factory.mktemp("spectra")
    (folder / "spectra_package.py").write_text(NETWORK)
    words = [
        "experiment=smoke", f"runs_dir={folder}/runs", "sparsity=0.5", "distribution=uniform",
        "model._target_=spectra_package.net", "data._target_=spectra_package.build",
        "batch_size=16", "training.num_steps=60", "path.training.num_steps=40",
        "evaluation.train_subset_size=null", "evaluation.num_recalibration_images=64",
        "evaluation.batch_size=24", f"path.num_probes={NUM_PROBES}", "path.num_lanczos_steps=80",
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(folder)
        for kind in KINDS:
            said = folder / f"{kind}.txt"
            with said.open("w") as out, contextlib.redirect_stdout(out):
                assert main(["path", *words, f"path.spectrum={kind}"]) == 0
        settings = compose_settings(words)
        data = build_data(settings)
        network = build_network(settings, data.source)
    found = [read_record(file.parent) for file in (folder / "runs").glob("*/record.json")]
    by_kind = {one.spectrum: one for one in found if getattr(one, "spectrum", None)}
    return folder / "runs", settings, data, network, by_kind


def at_point(made, record, t):
    """The network at a point of the curve, with statistics as the loss was measured with."""
    runs, settings, data, network, _ = made
    layout = WeightLayout(network)
    first, middle, last = load_control_points(layout, runs / record.curve_run, 3).double()
    point = (1 - t) ** 2 * first + 2 * t * (1 - t) * middle + t**2 * last
    network.load_state_dict(layout.unflatten(point.float()), strict=False)
    sizes = (
        settings.evaluation.num_recalibration_images,
        settings.evaluation.recalibration_batch_size,
    )
    recalibrate_(network, (images for images, _ in data.recalibration_batches(*sizes)))
    return network


@pytest.mark.parametrize("kind", KINDS)
def test_spectra_are_those_of_the_exact_matrices_at_the_point_they_are_of(made, kind):
    runs, _, data, _, by_kind = made
    record = by_kind[kind]
    masks = load_masks(runs / record.end_run / "masks.safetensors")
    kept = torch.cat([mask.reshape(-1) for mask in masks.values()]).numpy()
    places = at_places(record)
    assert list(places) == [PLACES[0], PLACES[2], PLACES[1]]
    for spectrum in record.spectra:
        network = at_point(made, record, spectrum.t)
        loss = next(p.train.loss for p in record.points if p.t == spectrum.t)
        full, gauss_newton = exact_matrices(network, data.train_subset_batches())
        matrix = full if kind.startswith("hessian") else gauss_newton
        if kind.endswith("inside"):
            matrix = matrix[np.ix_(kept, kept)]
        assert spectrum.num_coordinates == len(matrix) == (35 if kind.endswith("inside") else 70)
        eigenvalues = np.linalg.eigvalsh(matrix)
        scale = np.abs(eigenvalues).max()
        assert extremes(spectrum) == pytest.approx(
            (eigenvalues[0], eigenvalues[-1]), abs=1e-6 * scale
        )
        for number in range(NUM_PROBES):
            probe = _probe(len(matrix), record.seed, number)
            nodes, weights = map(np.array, (spectrum.nodes[number], spectrum.weights[number]))
            for degree in range(8):
                expected = probe @ np.linalg.matrix_power(matrix / scale, degree) @ probe
                assert weights @ (nodes / scale) ** degree == pytest.approx(expected, abs=1e-6)
        assert loss > 0
        if kind.startswith("gauss"):
            assert negative_share(spectrum) < 1e-6


def test_the_command_says_between_which_eigenvalues_each_lies(made):
    runs, *_, by_kind = made
    for kind, words in (
        ("hessian_inside", "hessian inside the mask"), ("gauss_newton", "gauss-newton"),
    ):  # fmt: skip
        lines = (runs.parent / f"{kind}.txt").read_text().splitlines()
        for spectrum in by_kind[kind].spectra:
            low, high = extremes(spectrum)
            assert (
                f"{words}: eigenvalues from {low:.4g} to {high:.4g} at t = {spectrum.t:g}" in lines
            )


def test_they_are_verified_and_what_is_no_spectrum_of_its_curve_is_named(made, tmp_path, capsys):
    runs, _, _, _, by_kind = made
    record = by_kind["gauss_newton_inside"]
    copied = shutil.copytree(runs, tmp_path / "runs")
    assert main(["verify", str(copied)]) == 0
    first, *others = record.spectra
    changes = {
        "sum to 1 but to 2": {"weights": [[2 * w for w in p] for p in first.weights]},
        "not in increasing order": {"nodes": [p[::-1] for p in first.nodes]},
        "which no Gauss-Newton matrix has": {"nodes": [[n - 9 for n in p] for p in first.nodes]},
        "has 1 probes, config has 2": {"nodes": first.nodes[:1], "weights": first.weights[:1]},
    }
    damaged = {
        words: {"spectra": [dataclasses.replace(first, **change), *others]}
        for words, change in changes.items()
    }
    moved = [dataclasses.replace(point, t=point.t / 2) for point in record.points]
    damaged["not the ends and the highest one of"] = {"points": moved}
    damaged["its spectra are not at its points"] = {"spectra": others}
    train = dataclasses.replace(record.points[1].train, loss=9.0)
    higher = dataclasses.replace(record.points[1], train=train)
    damaged["is 9, on"] = {"points": [record.points[0], higher, record.points[2]]}
    damaged["fit_objective is not that of its curve"] = {"fit_objective": 9.0}
    folder = copied / record.run_id
    (folder / "SHA256SUMS").unlink()
    for words, change in damaged.items():
        (folder / "record.json").write_text(to_json(dataclasses.replace(record, **change)) + "\n")
        capsys.readouterr()
        assert main(["verify", str(folder)]) == 1, words
        assert words in capsys.readouterr().out


def test_the_page_draws_and_lists_them(made, tmp_path):
    found = [read_record(file.parent) for file in made[0].glob("*/record.json")]
    findings = Findings(found, 0.5, laboratory(control="cyclic", detour="burst"))
    write_page(findings, [], [], title="Mine", folder=tmp_path)
    assert (tmp_path / "figures" / "spectra.png").stat().st_size > 10000
    rows = [
        line for line in (tmp_path / "report.md").read_text().splitlines() if "-Newton, " in line
    ]
    assert len(rows) == 6
    assert all(row.endswith("| 0.0 % |") for row in rows)
    assert {tuple(row.split(" | ")[2:4]) for row in rows} == {("1", "35"), ("1", "70")}


def test_the_laboratory_plans_them_on_its_first_seeds_each_after_the_curve_that_it_is_of():
    words = ["experiment=smoke", "laboratory.seeds=[31,32]"]
    before, jobs = (
        plan_all(compose_settings([*words, f"laboratory.num_seeds_of_spectra={number}"]))
        for number in (0, 1)
    )
    added = [job for job in jobs if job.run_id not in {one.run_id for one in before}]
    (curve,) = (job for job in added if job.settings.path.spectrum is None)
    spectra = [job for job in added if job is not curve]
    assert {job.settings.path.spectrum for job in spectra} == {*KINDS}
    assert all("seed 31" in job.title for job in added)
    assert all(curve.run_id in [need.run_id for need in job.needs] for job in spectra)


def test_what_decides_a_spectrum_is_in_its_id_and_what_has_none_is_refused():
    words = ["experiment=smoke", "path.spectrum=hessian"]
    more = ([], ["path.num_probes=5"], ["path.num_lanczos_steps=9"], ["path.training.num_steps=7"])
    assert len({plan_path(compose_settings([*words, *each])).run_id for each in more}) == 4
    # To the curve itself they are nothing.
    curves = {plan_path(compose_settings([words[0], *each])).run_id for each in more[:3]}
    assert len(curves) == 1
    with pytest.raises(UserError, match="which a straight line is not; say curve=quadratic"):
        plan_path(compose_settings([*words, "curve=line"]))
