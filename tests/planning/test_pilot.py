import json
from pathlib import Path

import pytest

from lightning_sparse.cli.main import main
from lightning_sparse.cli.pilot import choices_of_laboratory, edge_remarks
from lightning_sparse.errors import UserError
from lightning_sparse.pipeline.jobs import with_needs
from lightning_sparse.planning.pilot import (
    arm_trials,
    curve_trials,
    jobs_of,
    plan_arm,
    plan_curve,
    plan_stage,
)
from lightning_sparse.settings.compose import compose_settings


def needed(job):
    return [item.run_id for item in with_needs(job.needs)]


def test_every_arm_gets_as_many_trials_as_the_others():
    trials = arm_trials(compose_settings([]))
    assert set(trials) == {"dense", "prune", "scratch", "lottery"}
    assert len({len(choices) for choices in trials.values()}) == 1


@pytest.mark.parametrize("experiment", ["imagenet_small", "fashion_resnet50_small"])
def test_a_smaller_twin_of_an_experiment_has_trials_that_fit_into_its_steps(experiment):
    settings = compose_settings([f"experiment={experiment}", "pilot.seeds=[1]"])

    jobs = jobs_of(plan_stage(settings, arm_trials(settings), plan_arm))

    assert len(jobs) == sum(map(len, arm_trials(settings).values()))


def test_unequal_numbers_of_trials_are_refused():
    settings = compose_settings(["pilot.learning_rates=[0.1]"])
    with pytest.raises(UserError, match="every arm must get as many trials as the others"):
        arm_trials(settings)


def test_a_trial_without_a_learning_rate_is_refused():
    settings = compose_settings(["pilot.prune_trials=[{learning_rate: 0.1}, {sparsity: 0.5}]"])
    with pytest.raises(
        UserError, match=r"method=prune: trials: \{'sparsity': 0.5\} needs a learning"
    ):
        arm_trials(settings)


def tried(rates, best, name="tuned.learning_rate.prune"):
    return [
        {"overrides": [f"{name}={rate}", "pruning.end_step=9"], "objectives": [abs(rate - best)]}
        for rate in rates
    ]


@pytest.mark.parametrize(("best", "is_at_edge"), [(0.1, True), (0.2, False), (0.8, True)])
def test_a_best_rate_at_the_edge_of_what_was_tried_is_named(best, is_at_edge):
    remarks = edge_remarks(
        [*tried([0.1, 0.2, 0.8], best), *tried([0.1, 0.2, 0.4], 0.2, "tuned.learning_rate.dense")]
    )
    assert len(remarks) == is_at_edge
    assert all(
        f"tuned.learning_rate.prune={best} is the best and lies at the edge of what was tried "
        "(0.1, 0.2, 0.8)" in remark
        for remark in remarks
    )


def test_the_published_pilot_of_digits_resnet_would_have_been_questioned():
    # Scratch and dense were best at an end of what was tried for them.
    file = Path(__file__).parents[2] / "results" / "rules_1" / "digits_resnet" / "pilot.jsonl"
    entries = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    named = {remark.partition("=")[0] for remark in edge_remarks(entries)}
    assert {"tuned.learning_rate.scratch", "tuned.learning_rate.dense"} <= named


def test_which_control_and_which_detour_are_compared_is_said_once_all_of_them_were_tuned():
    objectives = {
        "continued": (0.3, 0.2), "cyclic": (0.4, 0.15), "jump": (0.16, 0.9),
        "burst": (0.3, 0.11), "burst_fade": (0.1, 0.3),
    }  # fmt: skip
    entries = [
        {"stage": "arm", "tuned": arm, "overrides": [], "objectives": [value, value + 0.02]}
        for arm, values in objectives.items()
        for value in values
    ]
    control, detour = choices_of_laboratory(entries)
    assert control.startswith(
        "laboratory.control=cyclic: the lowest training objective of continued 0.2100, cyclic "
        "0.1600, jump 0.1700, each the best of 2 trials, mean over the pilot seeds"
    )
    assert detour.startswith("laboratory.detour=burst_fade: ")
    # Unequal numbers of trials choose nothing, nor does a pilot of some of them.
    assert choices_of_laboratory(entries[1:]) == [detour]
    assert choices_of_laboratory([one for one in entries if one["tuned"] != "burst"]) == [control]
    lost = {**entries[0], "objectives": [None, 0.1]}
    assert choices_of_laboratory([lost, *entries[1:]]) == [detour]


def test_both_spaces_get_the_same_trials():
    trials = curve_trials(compose_settings(["pilot.path_learning_rates=[0.1,0.2]"]))
    assert trials == {
        space: [[f"tuned.path_learning_rate.{space}={rate}"] for rate in (0.1, 0.2)]
        for space in ("end_mask", "dense")
    }


def test_a_trial_changes_its_own_arm_and_no_run_that_it_builds_on():
    settings = compose_settings(["experiment=smoke"])
    plain = plan_arm(settings, "scratch", ["seed=1"])
    trial = plan_arm(settings, "scratch", ["seed=1", "tuned.learning_rate.scratch=0.7"])
    assert trial.run_id != plain.run_id
    assert needed(trial) == needed(plain)


def test_a_trial_of_a_curve_joins_the_same_ends():
    settings = compose_settings(["experiment=smoke"])
    first, second = (
        plan_curve(settings, "dense", ["seed=1", f"tuned.path_learning_rate.dense={rate}"])
        for rate in (0.1, 0.2)
    )
    assert first.run_id != second.run_id
    assert needed(first) == needed(second)


def test_a_trial_of_the_pruned_arm_sets_rate_and_window():
    settings = compose_settings(
        [
            "pilot.learning_rates=[1]",
            "pilot.prune_trials=[{learning_rate: 2, pruning: {end_step: 9}}]",
        ]
    )
    assert arm_trials(settings)["prune"] == [["tuned.learning_rate.prune=2", "pruning.end_step=9"]]


@pytest.mark.pipeline
def test_the_pilot_keeps_what_each_trial_reached(tmp_path, capsys):
    words = ["pilot", "experiment=smoke", f"runs_dir={tmp_path}", "pilot.seeds=[1]"]
    words.append("reproduce.num_processes=1")

    assert main(words) == 0

    lines = (tmp_path / "pilot_smoke.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    assert [(entry["stage"], entry["tuned"]) for entry in entries] == [
        *(("arm", name) for name in ("dense", "prune", "scratch", "lottery") for _ in range(2)),
        ("curve", "end_mask"),
        ("curve", "dense"),
    ]
    assert all(entry["seeds"] == [1] and len(entry["objectives"]) == 1 for entry in entries)
    # One best trial of each arm and of each space.
    assert capsys.readouterr().out.count("<- lowest") == 6
    assert not list(tmp_path.glob("*-seed11-*"))


@pytest.mark.pipeline
def test_a_trial_that_diverges_is_worst_and_any_other_failure_ends_the_pilot(tmp_path, capsys):
    words = ["pilot", "experiment=smoke", f"runs_dir={tmp_path}", "pilot.seeds=[1,2]"]
    words += ["pilot.arms=[dense]", "reproduce.num_processes=1", "training.num_steps=8"]

    assert main([*words, "pilot.learning_rates=[0.1,1e30]", "pilot.prune_trials=null"]) == 0

    lines = (tmp_path / "pilot_smoke.jsonl").read_text().splitlines()
    good, lost = (json.loads(line)["objectives"] for line in lines)
    assert None not in good
    assert lost == [None, None]
    shown = capsys.readouterr().out
    assert "counted as worst: train dense from init, seed 1 and 1 other: " in shown
    assert "=1e+30: objective inf (nothing nothing)\n" in shown
    assert "dense=0.1 is the best and lies at the edge" in shown

    run = next(tmp_path.glob("*-seed2-*"))
    run.rename(tmp_path / "elsewhere")
    run.touch()
    assert main([*words, "pilot.learning_rates=[0.1,1e30]", "pilot.prune_trials=null"]) == 2
    assert "seed 2" in capsys.readouterr().err
    assert (tmp_path / "pilot_smoke.jsonl").read_text().splitlines() == lines


def test_arms_that_are_named_are_tuned_alone_and_no_curves():
    settings = compose_settings(["pilot.arms=[cyclic,burst]"])
    rates = compose_settings([]).pilot.learning_rates
    assert arm_trials(settings) == {
        arm: [[f"tuned.learning_rate.{arm}={rate}"] for rate in rates]
        for arm in ("cyclic", "burst")
    }
    assert curve_trials(settings) == {}
