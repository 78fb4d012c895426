import json
import math
import re
from pathlib import Path

import pytest
import yaml

from lightning_sparse.errors import UserError
from lightning_sparse.pipeline.jobs import with_needs
from lightning_sparse.planning.multirun import chosen_points, part, passed_on, plan_points
from lightning_sparse.planning.runs import plan_training
from lightning_sparse.settings.compose import compose_settings, without_sweeps
from lightning_sparse.settings.shipped import SWEEPS_DIR
from lightning_sparse.settings.sweep_file import (
    corner_points,
    parse_sweep,
    points,
    read_sweep,
)
from lightning_sparse.sparsity.settings import PruningSettings

SWEEPS = sorted(file.stem for file in SWEEPS_DIR.glob("*.yaml"))
COMMAND = ["lightning-sparse", "train", "logger=wandb", "${args_no_hyphens}"]


def sweep(parameters, method="grid", command=COMMAND, **others):
    body = {"method": method, "command": command, "parameters": parameters, **others}
    return parse_sweep(body, Path("a.yaml"))


def test_the_sweeps_that_are_promised_are_there():
    assert SWEEPS == [
        "gap", "learning_rate", "longer_training", "paths", "rewind", "schedule", "str_sparsity"
    ]  # fmt: skip


@pytest.mark.parametrize("name", SWEEPS)
def test_a_sweep_says_its_question_the_number_of_its_points_its_cost_and_how_it_is_started(name):
    text = (SWEEPS_DIR / f"{name}.yaml").read_text()
    assert text.startswith("# Question: ")
    number = int(re.search(r"# Runs: .*?= (\d+) (?:points|lines|curves)", text).group(1))
    assert number == len(points(read_sweep(name)))
    assert "\n# Cost: about " in text
    assert f"make sweep SWEEP={name}" in text
    assert f"make sweep-local SWEEP={name}" in text
    assert yaml.safe_load(text)["name"] == name


@pytest.mark.parametrize("name", SWEEPS)
def test_every_value_of_a_sweep_is_a_setting_that_composes_and_plans(name):
    read = read_sweep(name)
    jobs = plan_points(read, corner_points(read), compose_settings([]))
    assert len(jobs) >= max(len(p.get("values", [0])) for p in read.parameters.values()) - 1


def test_pilot_seeds_choose_and_report_seeds_report():
    choosing = {name for name in SWEEPS if read_sweep(name).parameters["seed"]["values"][0] < 11}
    assert choosing == {"learning_rate", "paths", "schedule", "str_sparsity"}


def test_a_grid_is_the_product_in_the_order_of_the_file():
    grid = sweep({"seed": {"values": [1, 2]}, "method": {"values": ["dense", "prune"]},
                  "batch_size": {"value": 8}})  # fmt: skip
    assert points(grid) == [
        ("seed=1", "method=dense", "batch_size=8"),
        ("seed=1", "method=prune", "batch_size=8"),
        ("seed=2", "method=dense", "batch_size=8"),
        ("seed=2", "method=prune", "batch_size=8"),
    ]


def test_values_are_written_as_hydra_reads_them():
    grid = sweep({"a": {"values": [0.1, True, None, [8, 16], "x"]}})
    assert points(grid) == [("a=0.1",), ("a=True",), ("a=null",), ("a=[8,16]",), ("a=x",)]


def test_typed_points_are_those_of_a_file_and_of_single_commands():
    typed = ["experiment=smoke", "method=dense,prune", "seed=range(21,23)"]
    single, swept = without_sweeps(typed)
    settings = compose_settings(single)
    jobs = plan_points(*chosen_points(settings, swept), settings)

    file = sweep({"method": {"values": ["dense", "prune"]}, "seed": {"values": [21, 22]}})
    assert [job.run_id for job in jobs] == [
        job.run_id for job in plan_points(file, points(file), settings)
    ]
    alone = compose_settings(["experiment=smoke", "method=prune", "seed=22"])
    assert plan_training(alone).run_id == jobs[-1].run_id


@pytest.mark.parametrize("value", ["21,22", "range(21,24)", "choice(21,22)"])
def test_one_value_of_a_file_that_would_become_several_is_refused(value):
    for parameter in ({"value": value}, {"values": [value, "23"]}):
        with pytest.raises(UserError, match=r"a.yaml: parameters.seed: seed=.* is several values"):
            points(sweep({"seed": parameter}))


@pytest.mark.parametrize("value", ["it's", {"k": 1}, "nowhere/a(1)"])
def test_a_value_that_no_command_line_takes_is_refused_by_the_name_of_its_parameter(value):
    with pytest.raises(UserError, match=r"a.yaml: parameters.logger.project: .* is nothing"):
        points(sweep({"logger.project": {"values": [value, "runs"]}}))


def test_a_folder_of_a_sweep_may_be_called_anything():
    name = "it's a=b, (c)"
    grid = sweep({"runs_dir": {"values": [name, "runs"]}, "seed": {"value": 3}})
    assert [compose_settings(point).runs_dir for point in points(grid)] == [name, "runs"]
    typed = [f"runs_dir={name}", "path.start=scratch:end,dense:end"]
    assert without_sweeps(typed) == ([f"runs_dir={name}"], ["path.start=scratch:end,dense:end"])


def test_an_empty_text_is_a_value():
    grid = sweep({"runs_dir": {"values": ["", "runs"]}})
    assert points(grid) == [("runs_dir=''",), ("runs_dir=runs",)]


def test_typed_points_may_be_paths():
    settings = compose_settings(["experiment=smoke", "sweep.verb=path"])
    jobs = plan_points(*chosen_points(settings, ["curve=quadratic,cubic"]), settings)
    assert [job.kind for job in jobs] == ["path", "path"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sweep.file=gap", "seed=1,2"], "sweep.file=gap, seed=1,2: give a file, or settings"),
        (["sweep.verb=report", "seed=1,2"], "sweep.verb=report: choose one of train, line, path"),
        (["seed=interval(1,2)"], "does not support sweep type"),
        (["seed=glob(*)"], "seed=glob(*): ConfigLoader is not set; list the values, for example"),
        (["methd=dense,prune"], "no setting is called 'methd'; did you mean"),
    ],
)
def test_typed_points_that_cannot_be_are_refused(refused, words, message):
    assert message in refused("multirun", *words)


def test_a_random_search_draws_the_same_points_each_time_within_their_ranges():
    search = sweep(
        {
            "rate": {"min": 0.001, "max": 1.0, "distribution": "log_uniform_values"},
            "seed": {"min": 3, "max": 5},
            "momentum": {"min": 0.5, "max": 1},
            "method": {"values": ["dense", "prune"]},
        },
        method="random",
        run_cap=200,
    )
    drawn = [dict(item.split("=") for item in point) for point in points(search)]
    assert points(search) == points(search)
    assert len(drawn) == 200
    rates = sorted(float(point["rate"]) for point in drawn)
    assert rates[0] >= 0.001
    assert rates[-1] <= 1
    # The median of a log-uniform draw is the middle of the logarithms, 0.03; of a uniform one 0.5.
    assert 0.015 < rates[100] < 0.07
    assert {point["seed"] for point in drawn} == {"3", "4", "5"}
    assert {point["method"] for point in drawn} == {"dense", "prune"}
    assert math.isclose(sum(float(p["momentum"]) for p in drawn) / 200, 0.75, abs_tol=0.05)


def test_probabilities_of_values_are_those_of_the_draws():
    search = sweep(
        {"method": {"values": ["dense", "prune", "scratch"], "probabilities": [0.7, 0.3, 0]}},
        method="random",
        run_cap=400,
    )
    drawn = [point[0] for point in points(search)]
    assert 0.64 < drawn.count("method=dense") / 400 < 0.76
    assert "method=scratch" not in drawn


DRAWS = {  # parameter: least, mean and largest value of many draws, by the formulas of W&B
    '{"distribution": "log_uniform", "min": -2, "max": 0}': (math.exp(-2), 0.432, 1),
    '{"distribution": "inv_log_uniform", "min": 0, "max": 2}': (math.exp(-2), 0.432, 1),
    '{"distribution": "inv_log_uniform_values", "min": 0.1, "max": 1}': (0.1, 0.391, 1),
    '{"distribution": "q_log_uniform_values", "min": 1, "max": 10, "q": 2}': (0, 3.9, 10),
    '{"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.25}': (0, 0.5, 1),
    '{"distribution": "normal"}': (-4, 0, 4),
    '{"distribution": "q_normal", "mu": 10, "sigma": 0.1, "q": 5}': (10, 10, 10),
    '{"distribution": "log_normal", "sigma": 0}': (1, 1, 1),
    '{"distribution": "beta", "a": 2, "b": 2}': (0, 0.5, 1),
    '{"distribution": "q_beta", "q": 1}': (0, 0.5, 1),
}


@pytest.mark.parametrize("parameter", DRAWS)
def test_every_distribution_of_wandb_is_drawn_from(parameter):
    least, mean, largest = DRAWS[parameter]
    search = sweep({"lr": json.loads(parameter)}, method="random", run_cap=500)
    drawn = [float(point[0].removeprefix("lr=")) for point in points(search)]
    assert min(drawn) >= least
    assert max(drawn) <= largest
    assert math.isclose(sum(drawn) / 500, mean, rel_tol=0.08, abs_tol=0.08)
    corners = [float(point[0].removeprefix("lr=")) for point in corner_points(search)]
    assert least - 1e-9 <= min(corners)
    assert max(corners) <= largest + 1e-9


def test_a_grid_lists_ranges_of_integers_and_of_steps():
    grid = sweep(
        {
            "seed": {"min": 21, "max": 23},
            "sparsity": {"distribution": "q_uniform", "min": 0.5, "max": 1.0, "q": 0.25},
        }
    )
    assert len(points(grid)) == 6
    assert points(grid)[-1] == ("seed=23", "sparsity=0.75")


def test_no_more_points_are_run_than_run_cap_says():
    assert len(points(sweep({"seed": {"values": [1, 2, 3]}}, run_cap=2))) == 2
    assert len(points(sweep({"seed": {"values": [1, 2, 3]}}, run_cap=9))) == 3


def test_numbers_of_a_file_are_read_as_on_the_command_line(tmp_path):
    file = tmp_path / "rates.yaml"
    command = "command: [lightning-sparse, train, '${args_no_hyphens}']"
    parameters = "parameters: {training.learning_rate: {min: 1e-3, max: 1e-1}}"
    file.write_text(f"method: random\nrun_cap: 2\n{command}\n{parameters}\n")
    assert all(0.001 < float(p[0].partition("=")[2]) < 0.1 for p in points(read_sweep(str(file))))

    file.write_text(f"method: random\nmethod: grid\n{command}\n{parameters}\n")
    with pytest.raises(UserError, match=r"rates.yaml, line 2: found duplicate key method"):
        read_sweep(str(file))


def test_null_is_what_the_agent_of_wandb_makes_of_it():
    from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

    values = {"compile": None, "mask_source": None, "distribution.first_layer": None, "seed": 3}
    told = {name: {"value": value} for name, value in values.items()}
    words = create_sweep_command_args({"args": told})["args_no_hyphens"]
    assert words[0] == "compile=None"
    settings = compose_settings(words)
    plain = compose_settings([f"{name}=null" for name in list(values)[:3]] + ["seed=3"])
    assert settings == plain


def test_more_points_of_a_random_search_leave_the_earlier_ones():
    few, many = (
        points(sweep({"lr": {"min": 0.0, "max": 1.0}}, method="random", run_cap=number))
        for number in (3, 9)
    )
    assert many[:3] == few


def test_another_seed_draws_other_points_and_the_same_seed_the_same():
    search = sweep({"lr": {"min": 0.0, "max": 1.0}}, method="random", run_cap=4)
    drawn = {seed: tuple(points(search, seed)) for seed in (None, 7, 8)}
    assert len(set(drawn.values())) == 3
    assert tuple(points(search, 7)) == drawn[7]
    settings = compose_settings(["experiment=smoke", "sweep.seed=7"])
    assert settings.sweep.seed == 7
    # What was drawn before there were seeds.
    assert points(search)[0] == ("lr=0.03111617532652511",)


def test_every_point_is_planned_for_each_of_the_seeds_that_are_asked_for():
    settings = compose_settings(["experiment=smoke", "sweep.seeds=[21,22]"])
    grid = sweep({"method": {"values": ["dense", "prune"]}})
    ids = [job.run_id for job in plan_points(grid, points(grid), settings)]
    assert [re.sub(r"-[0-9a-f]{8}$", "", name) for name in ids] == [
        "smoke-dense-init-seed21", "smoke-dense-init-seed22",
        "smoke-prune-s0.9-seed21", "smoke-prune-s0.9-seed22",
    ]  # fmt: skip
    alone = compose_settings(["experiment=smoke", "method=prune", "seed=22"])
    assert plan_training(alone).run_id == ids[-1]


@pytest.mark.parametrize(
    ("words", "parameters"),
    [
        (["sweep.seeds=[21,22]"], {"seed": {"values": [1, 2]}}),
        (["sweep.seeds=[21,22]", "seed=3"], {"method": {"values": ["dense"]}}),
    ],
)
def test_seeds_that_are_said_twice_are_refused(words, parameters):
    settings = compose_settings(["experiment=smoke", *words])
    grid = sweep(parameters)
    with pytest.raises(UserError, match=r"sweep.seeds=\[21, 22\], seed=.: the sweep says itself"):
        plan_points(grid, points(grid), settings)


def test_a_registered_sweep_passes_its_seeds_on_to_the_points():
    settings = compose_settings(["experiment=smoke", "sweep.seeds=[21,22]", "sweep.seed=3"])
    grid = sweep({"method": {"values": ["dense"]}})
    assert grid.with_overrides(passed_on(settings))["command"] == [
        "lightning-sparse", "train", "logger=wandb", "experiment=smoke", "sweep.seeds=[21,22]",
        "${args_no_hyphens}",
    ]  # fmt: skip


def test_corner_points_use_every_value_and_both_ends_of_ranges():
    search = sweep(
        {"lr": {"min": 0.1, "max": 0.5}, "seed": {"values": [1, 2, 3]}, "a": {"value": 7}},
        method="bayes",
        metric={"name": "loss"},
    )
    used = {item for point in corner_points(search) for item in point}
    assert used == {"lr=0.1", "lr=0.5", "seed=1", "seed=2", "seed=3", "a=7"}


def test_a_point_that_comes_twice_is_run_once():
    settings = compose_settings(["experiment=smoke"])
    grid = sweep({"method": {"values": ["dense", "scratch"]}, "sparsity": {"values": [0.8, 0.9]}})
    jobs = plan_points(grid, points(grid), settings)
    assert [re.sub(r"-[0-9a-f]{8}$", "", job.run_id) for job in jobs] == [
        "smoke-dense-init-seed11", "smoke-scratch-s0.8-seed11", "smoke-scratch-s0.9-seed11",
    ]  # fmt: skip


def test_masks_come_from_the_pruned_run_at_its_own_learning_rate():
    read = read_sweep("learning_rate")
    scratch = [
        job
        for job in plan_points(read, points(read), compose_settings([]))
        if job.run_id.startswith("digits_short-scratch")
    ]
    tuned = plan_points(read, [("method=prune", "seed=1")], compose_settings([]))
    assert len(scratch) == 18
    assert len({need.run_id for job in scratch for need in job.needs}) == 3
    assert tuned[0].run_id in {need.run_id for need in with_needs(scratch)}


@pytest.mark.parametrize("share", ["1/3", "2/3", "3/3"])
def test_parts_cover_everything_once(share):
    grid = sweep({"seed": {"values": list(range(20, 27))}})
    jobs = plan_points(grid, points(grid), compose_settings(["experiment=smoke"]))
    parts = [part(jobs, f"{i}/3") for i in (1, 2, 3)]
    assert sorted(job.run_id for item in parts for job in item) == sorted(j.run_id for j in jobs)
    assert part(jobs, share)[0] == jobs[int(share[0]) - 1]


REFUSED = {
    "no sweep file; it needs a mapping called parameters": [],
    "method=tree: choose one of grid, random, bayes": {"method": "tree"},
    "must be [lightning-sparse, VERB": {"command": ["python", "train.py", "${args}"]},
    "with a VERB of train, line, path": {"command": ["lightning-sparse"]},
    "VERB, ..., ${args_no_hyphens}]": {"command": ["lightning-sparse", "train", "${args}"]},
    "parameters.seed={'values': [1], 'value': 2}: give value, values, or min and max": {
        "parameters": {"seed": {"values": [1], "value": 2}}
    },
    "parameters.seed={'min': 1}: give value": {"parameters": {"seed": {"min": 1}}},
    "parameters.seed=7: give value": {"parameters": {"seed": 7}},
    "parameters.seed: a grid needs values": {"parameters": {"seed": {"min": 1.5, "max": 2}}},
    "parameters.seed.values=5: must be a list": {"parameters": {"seed": {"values": 5}}},
    "parameters.seed.distribution=gauss: choose one of constant, categorical,": {
        "method": "random",
        "parameters": {"seed": {"min": 1, "max": 2, "distribution": "gauss"}},
    },
    "normal takes mu and sigma": {
        "method": "random",
        "parameters": {"seed": {"min": 1, "max": 2, "distribution": "normal"}},
    },
    "parameters.lr.min='a': must be a number": {
        "method": "random",
        "parameters": {"lr": {"min": "a", "max": 2}},
    },
    "parameters.lr.min=2, max=1: min must be at most max": {
        "method": "random",
        "parameters": {"lr": {"min": 2, "max": 1}},
    },
    "parameters.lr.min=0: must be above 0": {
        "method": "random",
        "parameters": {"lr": {"min": 0, "max": 1, "distribution": "log_uniform_values"}},
    },
    "parameters.lr.q=0: must be above 0": {
        "method": "random",
        "parameters": {"lr": {"min": 0, "max": 1, "q": 0, "distribution": "q_uniform"}},
    },
    "parameters.seed.probabilities=[0.5]: must be as many numbers as values": {
        "method": "random",
        "parameters": {"seed": {"values": [1, 2], "probabilities": [0.5]}},
    },
    "probabilities=[0.5, 0.6]: must be as many numbers as values, at least 0 and with sum 1": {
        "method": "random",
        "parameters": {"seed": {"values": [1, 2], "probabilities": [0.5, 0.6]}},
    },
    "a grid needs values, which categorical_w_probabilities does not list": {
        "parameters": {"seed": {"values": [1, 2], "probabilities": [0.5, 0.5]}},
    },
    "parameters.training: is nested; write nested settings with dots": {
        "parameters": {"training": {"parameters": {"num_steps": {"value": 3}}}},
    },
    "no sweep has a 'run_capp'; did you mean run_cap?": {"run_capp": 3},
    "no sweep has a 'job'; W&B knows apiVersion,": {"job": "x"},
    "run_cap='3': must be an integer": {"run_cap": "3"},
    "run_cap=0: must be at least 1": {"run_cap": 0},
    "metric={'name': 'loss', 'goal': 'min'}: give a name, and a goal, minimize or maximize": {
        "metric": {"name": "loss", "goal": "min"},
    },
    "method=bayes needs a metric with a name": {"method": "bayes"},
    "controller: only W&B's server controls": {"controller": {"type": "local"}},
}


@pytest.mark.parametrize("expected", REFUSED)
def test_a_file_that_is_no_sweep_is_refused_by_what_is_wrong(expected):
    changes = REFUSED[expected]
    body = {"method": "grid", "command": COMMAND, "parameters": {"seed": {"values": [1]}}}
    with pytest.raises(UserError) as caught:
        parse_sweep({**body, **changes} if isinstance(changes, dict) else changes, Path("a.yaml"))
    assert expected in str(caught.value)
    assert str(caught.value).startswith("a.yaml: ")


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        (
            {"method": "bayes", "metric": {"name": "loss"}},
            "method=bayes learns from its results, which takes a server",
        ),
        (
            {"method": "grid", "early_terminate": {"type": "hyperband", "min_iter": 3}},
            "early_terminate stops runs by what they have logged, which takes a server",
        ),
        (
            {"method": "grid", "metric": {"name": "loss", "target": 0.1}},
            "metric.target ends a sweep by what was logged, which takes a server",
        ),
        ({"method": "random"}, "run_cap=None: a random search needs a number >= 1"),
    ],
)
def test_a_search_that_cannot_be_done_without_a_server_says_so(search, expected):
    with pytest.raises(UserError, match=re.escape(expected)):
        points(sweep({"seed": {"values": [1]}}, **search))


@pytest.mark.parametrize("share", ["0/3", "4/3", "a/b", "3"])
def test_a_part_that_is_none_is_refused(share):
    with pytest.raises(UserError, match=f"sweep.part={share}: write I/N"):
        part([], share)


def test_longer_training_moves_the_pruning_window_along():
    settings = compose_settings(["method=prune", "training_steps_multiplier=5"])
    assert settings.training.num_steps == 12500
    assert settings.pruning == PruningSettings(start_step=1250, end_step=7500, update_every=25)
    window = settings.method.sparse_method
    assert (window["start_step"], window["end_step"]) == (1250, 7500)
    epochs = compose_settings(
        ["lr_schedule@training.lr_schedule=warmup_epochs", "training_steps_multiplier=2",
         "global_batch_size=128"]
    )  # fmt: skip
    assert epochs.training.lr_schedule["milestones"] == [60, 140, 180]
    with pytest.raises(UserError, match="training_steps_multiplier=0: must be above 0"):
        compose_settings(["training_steps_multiplier=0"])


def test_settings_that_only_say_how_lengths_and_rates_come_about_leave_ids_alone():
    grid = sweep({"training_steps_multiplier": {"values": [1, 2]}})
    once, twice = plan_points(grid, points(grid), compose_settings(["experiment=smoke"]))
    plain = sweep({"training.num_steps": {"values": [12, 24]}, "pruning.start_step": {"value": 2}})
    assert plan_points(plain, points(plain)[:1], compose_settings(["experiment=smoke"])) != [twice]
    assert (
        once.run_id
        == plan_points(plain, points(plain)[:1], compose_settings(["experiment=smoke"]))[0].run_id
    )
