from pathlib import Path

import hydra
import pytest
import yaml
from omegaconf import OmegaConf

from lightning_sparse.errors import UserError
from lightning_sparse.settings import compose, shipped
from lightning_sparse.settings.compose import as_yaml, compose_settings, with_values
from lightning_sparse.settings.schema import is_open, leaves, schema
from lightning_sparse.settings.shipped import CONF_DIR
from lightning_sparse.settings.tree import as_plain

EXPERIMENTS = sorted(file.stem for file in (CONF_DIR / "experiment").glob("*.yaml"))


def test_there_are_experiments():
    assert {"digits", "smoke"} <= set(EXPERIMENTS)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_composes_for_every_arm_and_is_called_like_its_file(name):
    experiment = yaml.safe_load((CONF_DIR / "experiment" / f"{name}.yaml").read_text())
    # One that sets no name is a part of the one that it begins with, and shares its runs.
    expected = name if "experiment_name" in experiment else experiment["defaults"][0]
    for method in ("dense", "prune", "scratch", "lottery"):
        settings = compose_settings([f"experiment={name}", f"method={method}"])
        assert settings.experiment_name == expected


def test_the_schema_names_what_config_yaml_and_its_groups_set_and_nothing_else():
    set_there = {
        name for choice in ("none", "wandb")
        for name, _ in leaves(as_plain(compose_settings([f"logger={choice}"])))
    }  # fmt: skip
    assert {name for name in set_there if name in schema()} == set(schema())
    assert all(is_open(name) for name in set_there - set(schema()))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_says_what_it_is_how_it_is_run_and_what_it_costs(name):
    head = (CONF_DIR / "experiment" / f"{name}.yaml").read_text().partition("defaults:")[0]
    for part in ("# @package _global_", "# What: ", "# Command: ", "# Cost: "):
        assert part in head


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_pilot_and_report_seeds_are_apart(name):
    settings = compose_settings([f"experiment={name}"])
    assert not set(settings.pilot.seeds) & set(settings.reproduce.seeds)


def test_each_arm_trains_at_its_own_tuned_rate():
    rates = ["tuned.learning_rate.prune=0.7", "tuned.learning_rate.dense=0.3"]
    assert compose_settings([*rates, "method=prune"]).training.learning_rate == 0.7
    assert compose_settings([*rates, "method=dense"]).training.learning_rate == 0.3


def test_each_space_is_fitted_at_its_own_tuned_rate():
    rates = ["tuned.path_learning_rate.dense=0.7", "tuned.path_learning_rate.end_mask=0.3"]
    for space, expected in (("dense", 0.7), ("end_mask", 0.3), ("union", 0.3)):
        settings = compose_settings([*rates, f"path.space={space}"])
        assert settings.path.training.learning_rate == expected


def test_what_is_typed_wins_over_the_experiment():
    settings = compose_settings(["experiment=smoke", "sparsity=0.5", "distribution=uniform"])
    assert settings.sparsity == 0.5
    assert settings.distribution["first_layer"] is None


def test_what_is_said_later_wins():
    assert compose_settings(["seed=1", "seed=2"]).seed == 2
    assert with_values(compose_settings(["seed=1"]), ["seed=2"]).seed == 2


def test_what_is_said_again_wins_over_what_was_said_between():
    settings = compose_settings(["path.space=dense", "path={space: union}"])
    assert with_values(settings, ["path.space=end_mask"]).path.space == "end_mask"


def test_values_follow_the_arm_that_is_chosen_later():
    rates = ["tuned.learning_rate.prune=0.7", "method=dense"]
    settings = with_values(compose_settings(rates), ["method=prune"])
    assert settings.training.learning_rate == 0.7
    assert settings.source.words == ("tuned.learning_rate.prune=0.7", "method=prune")


def test_typed_values_are_what_hydra_makes_of_them():
    overrides = [
        "experiment=smoke",
        "seed=4",
        "model.widths=[8,8]",
        "+model.depth=3",
        "++model.depth=4",
        "training.learning_rate=0.5",
        "method=prune",
        "path={space: union, training: {num_steps: 9}}",
        "reproduce.claims=[B]",
        "mask_source=a/b",
        "mask_source=null",
    ]
    for known in (compose._from_hydra, compose._source):
        known.cache_clear()
    ours = compose_settings(overrides).source.tree
    by_hydra = OmegaConf.to_container(hydra.compose("config", overrides=overrides), resolve=False)

    assert ours == by_hydra
    assert ours["path"]["space"] == "union"
    assert ours["model"] == {**ours["model"], "widths": [8, 8], "depth": 4}


def test_another_class_does_not_get_the_arguments_of_the_one_it_replaces():
    other = compose_settings(["model._target_=my_package.Net"]).model
    assert other == {"_target_": "my_package.Net", "_partial_": True}

    with_widths = compose_settings(["model._target_=my_package.Net", "model.widths=[4]"]).model
    assert with_widths["widths"] == [4]


def test_settings_that_are_composed_do_not_change_those_composed_later():
    compose_settings([]).model["widths"].clear()
    assert compose_settings([]).model["widths"]


def test_settings_are_shown_as_yaml_that_can_be_read_back():
    settings = compose_settings(["seed=4"])
    shown = yaml.safe_load(as_yaml(settings))
    assert shown == as_plain(settings)


def test_a_missing_conf_folder_is_one_line(monkeypatch):
    monkeypatch.setattr(shipped, "CONF_DIR", Path("/nowhere"))
    with pytest.raises(UserError, match=r"no settings at /nowhere; install the program again"):
        compose_settings([])


REFUSED = {
    "--foo": "unknown option '--foo'; `lightning-sparse --help`",
    "~seed": "'~seed' is no setting; write name=value",
    "+=": "'+=': names no setting",
    "~seed=11": "~seed=11: removes a setting that is needed; give it another value",
    "data=3.5": "cannot use the settings data=3.5: ",
    "model=[[1],{a: b}]": "cannot use the settings model=[[1],{a: b}]: ",
    "num_threads=1" + 400 * "0": "num_threads=1000000",
    "seed": "'seed' is no setting; write name=value",
    "seeed=3": "no setting is called 'seeed'; did you mean seed?",
    "training.learning_rat=1": "'training.learning_rat'; did you mean training.learning_rate?",
    "+foo=3": "no setting is called 'foo'",
    "+training.foo=3": "no setting is called 'training.foo'",
    "model.width=3": "no setting is called 'model.width'; an argument of the chosen class is added",
    "method=foo": "method=foo: no such choice; available: acdc, ",
    "experiment=foo": "experiment=foo: no such choice; available: digits, ",
    "sparsity=1.0": "sparsity=1.0: must lie in [0, 1)",
    "sparsity=-0.1": "sparsity=-0.1: must lie in [0, 1)",
    "sparsity=abc": "sparsity='abc': must be a number, for example sparsity=0.98",
    "sparsity=true": "sparsity=True: must be a number",
    "sparsity=nan": "sparsity=nan: must lie in [0, 1)",
    "reproduce.sparsities=[0.5,2]": "reproduce.sparsities=[0.5, 2]: must lie in [0, 1)",
    "seed=abc": "seed='abc': must be an integer, for example seed=11",
    "seed=": "seed='': must be an integer",
    "seed=1.5": "seed=1.5: must be an integer",
    "seed=-1": "seed=-1: must be at least 0",
    "seed=1,2": "seed=1,2: is a sweep; give one value",
    "seed=[1": "cannot use the settings seed=[1: ",
    "channels_last=1": "channels_last=1: must be true or false",
    "method.start_change=0": "method.start_change=0: must be a mapping or null",
    "method.sparse_method=0": "method.sparse_method=0: must be a mapping",
    "method.sparse_method=null": "method.sparse_method=None: must be a mapping",
    "trainer=0": "trainer=0: must be a mapping",
    "slurm.options=none": "slurm.options='none': must be a mapping",
    "reproduce.seeds=4": "reproduce.seeds=4: must be a list of integers, for example",
    "reproduce.num_processes=0": "reproduce.num_processes=0: must be at least 1",
    "batch_size=0": "batch_size=0: must be at least 1",
    "evaluation.num_points=1": "evaluation.num_points=1: must be at least 2",
    "evaluation.batch_norm=foo": "evaluation.batch_norm=foo: choose one of recalibrated, recal",
    "path.space=foo": "path.space=foo: there is no tuned.path_learning_rate.foo; available: dense,",
    "method.start=foo": "method.start=foo: write a random stream (init, init/scratch) or a point",
    "pruning.end_step=5": "pruning.end_step=5: need 0 <= start_step < end_step <= training.num",
    "pruning.end_step=99999": "pruning.end_step=99999: need 0 <= start_step < end_step",
    "rewind_step=99999": "rewind_step=99999: must be below training.num_steps=",
    "capture_steps=[99999]": "capture_steps=[99999]: must be steps from 0 to training.num_steps=",
    "capture_steps=[a]": "capture_steps=['a']: must be steps from 0",
    "training.momentum=1": "training.momentum=1: must lie in [0, 1)",
    "path.training.learning_rate=-1": "path.training.learning_rate=-1: must be above 0",
    "checkpoint.largest_share=2": "checkpoint.largest_share=2: must lie in (0, 1]",
    "distribution.first_layer=abc": "distribution.first_layer='abc': must be a number",
}


@pytest.mark.parametrize("override", REFUSED)
def test_a_setting_that_cannot_be_is_refused_by_name(override):
    with pytest.raises(UserError) as caught:
        compose_settings([override])
    assert REFUSED[override] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_arm_may_limit_its_gradients_and_an_experiment_says_more():
    def limits(*words):
        settings = compose_settings(["experiment=smoke", *words])
        return settings.training.gradient_clip_norm, settings.path.training.gradient_clip_norm

    assert limits("method=scratch") == (None, None)
    assert limits("method=continued_rigl") == (1.0, None)
    assert limits("method=continued_rigl", "training.gradient_clip_norm=0.5") == (0.5, None)
