"""The curve of CONTRIBUTING.md, from a folder of a user's: one class, one file, fit to report."""

import json

import pytest
import torch

from lightning_sparse.cli.main import main
from lightning_sparse.files.tensor_files import load_tensors
from lightning_sparse.paths.curves import PolygonalChain, own_curve
from lightning_sparse.paths.geometry import curve_length
from lightning_sparse.records import read_record, to_json
from lightning_sparse.settings.compose import compose_settings
from tests.recipes import recipe_files

LOOSE = """

def loose(height):
    curve = SineBump(height)
    object.__setattr__(curve, "basis", lambda t: (0.5, 0.0, 0.5))
    return curve
"""


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A folder of a user's: a package of hers, and runs that the curves of all tests end at."""
    folder = tmp_path_factory.mktemp("hers")
    (folder / "her_curves.py").write_text(recipe_files()["my_package/sine_bump.py"] + LOOSE)
    (folder / "conf" / "curve").mkdir(parents=True)
    file = folder / "conf" / "curve" / "sine_bump.yaml"
    file.write_text("_target_: her_curves.SineBump\nheight: 1.5\n")
    return folder


@pytest.fixture
def command(folder, monkeypatch, capsys):
    """Run a verb from that folder; return its status and all it said."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)

    def run(verb, *words):
        capsys.readouterr()
        settings = [] if verb == "verify" else ["experiment=smoke", "sparsity=0.9"]
        status = main([verb, *settings, *words])
        said = capsys.readouterr()
        return status, said.out + said.err

    return run


def only_record(folder, pattern):
    (run_dir,) = (folder / "runs").glob(pattern)
    return run_dir, read_record(run_dir)


def test_a_curve_of_another_package_is_fitted_recorded_verified_and_drawn(command, folder):
    status, said = command("path", "curve=sine_bump")
    assert (status, "scratch:end" in said) == (0, True), said
    run_dir, record = only_record(folder, "smoke-*-sine_bump_1.5_high-end_mask-*")
    assert record.curve == "sine bump 1.5 high"
    assert record.config["curve"] == {"_target_": "her_curves.SineBump", "height": 1.5}
    assert record.is_fitted
    assert record.length > record.distance

    for words in ([], ["--build"]):
        status, said = command("verify", *words, str(run_dir))
        assert (status, "1 checked, 0 wrong" in said) == (0, True), said

    records = [read_record(file.parent) for file in (folder / "runs").glob("*/record.json")]
    reproduced = folder / "runs" / compose_settings(["experiment=smoke"]).reproduce.dir
    reproduced.mkdir()
    lines = [to_json(each) for each in records if "degree" not in each.run_id]
    (reproduced / "records.jsonl").write_text("\n".join(lines) + "\n")
    status, said = command("report")
    assert status == 0, said
    page = (reproduced / "report.html").read_text()
    assert "sine bump 1.5 high inside the mask" in page
    assert "Sine bump 1.5 high" in (reproduced / "figures" / "solutions.svg").read_text()


def test_what_it_measures_as_its_length_is_compared_where_its_class_may_be_built(command, folder):
    command("path", "curve=sine_bump", "curve.height=0.5")
    run_dir, record = only_record(folder, "smoke-*-sine_bump_0.5_high-*")
    (run_dir / "SHA256SUMS").unlink()
    body = json.loads(to_json(record))
    (run_dir / "record.json").write_text(json.dumps({**body, "length": 2 * record.length}))
    assert command("verify", str(run_dir))[0] == 0
    status, said = command("verify", "--build", str(run_dir))
    assert status == 1
    assert f"length={2 * record.length}, the control points' is {record.length}"[:40] in said


def test_a_chain_is_measured_as_a_chain(command, folder):
    assert command("path", "curve=polygonal_chain", "curve.bends=2")[0] == 0
    run_dir, record = only_record(folder, "smoke-*-polygonal_chain_with_2_bends-end_mask-*")
    assert own_curve(record.config["curve"]) == PolygonalChain(2)
    assert {*PolygonalChain(2).measured_at} <= {point.t for point in record.points}
    points = load_tensors(run_dir / "control_points.safetensors")
    stacked = torch.stack(
        [
            torch.cat([w.flatten() for name, w in points.items() if name.startswith(f"{k}/")])
            for k in range(4)
        ]
    )
    pieces = float(stacked.double().diff(dim=0).norm(dim=1).sum())
    assert record.length == pytest.approx(pieces, rel=1e-9)
    assert record.length == pytest.approx(curve_length(PolygonalChain(2), stacked))
    status, said = command("verify", str(run_dir))
    assert status == 0, said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["curve._target_=her_curves.loose", "+curve.height=1.0"], "weights that sum to 1, and at"),
        (["curve._target_=her_curves.Missing"], "curve._target_=her_curves.Missing: "),
        (["curve._target_=builtins.dict"], "gave a dict; name a subclass of"),
        (["curve=spiral"], "curve=spiral: no such choice; available: autoneb_5, autoneb_9, cubic"),
        (["curve.degree=1"], "curve.degree=1: a curve to be fitted has degree 2 or more"),
        (["curve.degree=two"], "curve.degree='two': must be an integer"),
        (["path.degree=0"], "curve.degree=0: a curve to be fitted has degree 2 or more"),
    ],
)
def test_a_curve_that_cannot_be_made_is_one_line(command, words, said):
    status, line = command("path", *words)
    assert (status, said in line) == (2, True), line


def test_a_degree_is_understood_and_answered_with_the_curve(command, folder):
    status, said = command("path", "path.degree=2", "path.training.num_steps=2")
    assert status == 0
    assert "path.degree=2 is written curve=quadratic now" in said
    _, record = only_record(folder, "smoke-*-degree2-end_mask-*")
    assert record.curve == "quadratic curve"
    assert "degree" not in record.config["path"]
