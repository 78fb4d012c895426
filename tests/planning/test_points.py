"""Points on the command line: any arm at any moment that its run keeps, and today's words."""

import shutil

import pytest

from lightning_sparse.cli.main import main
from lightning_sparse.files.tensor_files import load_tensors
from lightning_sparse.paths.end_points import load_end_point
from lightning_sparse.planning.runs import plan_path
from lightning_sparse.records import read_record
from lightning_sparse.settings.compose import compose_settings
from lightning_sparse.settings.older_words import begin_remarks_anew, in_todays_words
from lightning_sparse.settings.shipped import CONF_DIR

SMOKE = ("experiment=smoke", "sparsity=0.9")


def ends(*words):
    return plan_path(compose_settings([*SMOKE, *words])).ends


def test_the_start_and_the_end_of_an_arm_are_of_one_run():
    start, end = ends("path.start=scratch:start", "path.end=scratch:end")
    assert (start.name, end.name) == ("scratch:start", "scratch:end")
    assert start.run_id == end.run_id
    assert start.identity != end.identity


def test_steps_of_one_arm_are_kept_by_one_run():
    start, end = ends("path.start=dense:2", "path.end=dense:3", "capture_steps=[1]")
    assert start.run_id == end.run_id
    assert (start.moment, end.moment) == (2, 3)
    assert start.job.settings.capture_steps == [1, 2, 3]
    plain, _ = ends("path.start=dense:start", "path.end=dense:end")
    assert plain.run_id != start.run_id


def test_an_arm_of_the_users_own_needs_no_table(tmp_path, monkeypatch):
    methods = tmp_path / "conf" / "method"
    methods.mkdir(parents=True)
    shutil.copy(CONF_DIR / "method" / "scratch.yaml", methods / "mine.yaml")
    monkeypatch.chdir(tmp_path)
    start, end = ends("path.start=mine:end", "path.end=prune:end")
    assert start.name == "mine:end"
    assert [job.run_id for job in start.job.needs] == [end.run_id]
    job = plan_path(compose_settings([*SMOKE, "path.start=mine:end"]))
    assert job.run_id.startswith("smoke-mine-end-to-P-end-degree2-")


def test_the_ids_of_points_that_were_letters_stay():
    settings = compose_settings([*SMOKE, "path.start=dense:end", "path.end=dense2:end"])
    assert plan_path(settings).run_id.startswith("smoke-D-end-to-D2-end-degree2-end_mask-seed11")


def test_letters_are_understood_and_answered_with_the_point(capsys):
    words = ["path.start=L-start", "path.end=S-end", "seed=3"]
    begin_remarks_anew()
    now = in_todays_words(words)
    assert now == ["path.start=lottery:start", "path.end=scratch:end", "seed=3"]
    assert in_todays_words(now) == now
    in_todays_words(words)
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "path.start=L-start is written path.start=lottery:start now",
        "path.end=S-end is written path.end=scratch:end now",
    ]
    assert plan_path(compose_settings([*SMOKE, *words])) == plan_path(
        compose_settings([*SMOKE, *now])
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["path.start=X-end"], "path.start: 'X-end' is no point; write an arm or a run folder"),
        (["path.end=scratch"], "path.end: 'scratch' is no point; write an arm or a run folder"),
        (
            ["path.start=nowhere:end"],
            "path.start=nowhere:end: there is no such run folder; train it ",
        ),
        (["path.start=prune:end"], "are one point; a path needs two"),
        (["path.start=dense:101"], "capture_steps=[101]: must be steps from 0 to"),
    ],
)
def test_a_point_that_is_not_there_is_one_line(words, said, refused):
    assert said in refused("line", *SMOKE, "training.num_steps=100", "pruning.end_step=50", *words)


def test_a_line_begins_at_a_step_that_a_run_has_kept(tmp_path, capsys):
    words = [*SMOKE, f"runs_dir={tmp_path}"]
    assert main(["line", *words, "path.start=dense:2", "path.end=dense:end"]) == 0
    assert "dense:2 (kept" in capsys.readouterr().out
    (run_dir,) = tmp_path.glob("smoke-D-2-to-D-end-line-*")
    record = read_record(run_dir)
    assert (record.start, record.end) == ("dense:2", "dense:end")
    assert record.start_run == record.end_run
    end_dir = tmp_path / record.start_run
    kept = load_tensors(end_dir / "weights_step_2.safetensors")
    state = load_end_point(end_dir, 2, name="dense:2").state
    assert kept.keys() == state.keys()
    assert main(["verify", str(tmp_path)]) == 0

    words = [*words, f"path.start={end_dir}:3"]
    assert main(["line", *words, "path.end=dense:end"]) == 2
    assert "kept no weights of that step; train it with capture_steps=[3]" in (
        capsys.readouterr().err
    )
