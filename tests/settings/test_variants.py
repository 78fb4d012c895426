import itertools
from multiprocessing.reduction import ForkingPickler

import pytest

from lightning_sparse.errors import UserError
from lightning_sparse.planning.reproduce import plan_all
from lightning_sparse.settings import compose, variants
from lightning_sparse.settings.arms import arms
from lightning_sparse.settings.compose import compose_settings
from lightning_sparse.settings.variants import of_runs, replaced, with_arm, with_curve

SMOKE = "experiment=smoke"


@pytest.fixture
def compositions(monkeypatch):
    """Lists what Hydra composes from here on."""
    found = []
    composing = compose.compose

    def counted(*arguments, **named):
        found.append(named["overrides"])
        return composing(*arguments, **named)

    monkeypatch.setattr(compose, "compose", counted)
    for known in (compose._from_hydra, compose._source):
        known.cache_clear()
    variants._MADE.clear()
    return found


def test_an_experiment_is_planned_from_one_composition(compositions):
    jobs = plan_all(compose_settings([]))
    assert len(jobs) > 100
    assert compositions == [[]]


VARIANTS = {
    "a seed": lambda s: replaced(s, {"seed": 3}),
    "a sparsity": lambda s: replaced(s, {"sparsity": 0.5, "path.steps_multiplier": 4}),
    "a space": lambda s: replaced(s, {"path.space": "union"}),
    "no rate": lambda s: replaced(s, {"run_learning_rate": None, "capture_steps": [1, 2]}),
    "a folder": lambda s: replaced(s, {"runs_dir": "2012", "path.start": "a, b's:end"}),
    "an arm": lambda s: with_arm(s, "lottery"),
    "the same arm": lambda s: with_arm(s, "prune", {"seed": 3}),
    "a control": lambda s: with_arm(s, "random_scaled", {"sparsity": 0.25}),
    "a line": lambda s: with_curve(s, "line", {"path.start": "dense:end"}),
    "a chain": lambda s: with_curve(s, "polygonal_chain"),
    "its runs": of_runs,
    "one of its runs": lambda s: with_arm(of_runs(with_curve(s, "cubic")), "scratch"),
}
SAID = {
    "an experiment": [SMOKE],
    "an arm": [SMOKE, "method=prune", "method.sparsity=0.4", "method.learning_rate=0.7"],
    "a path": [SMOKE, "curve=cubic", "+curve.more=1", "path={space: dense}", "path.start=prune:2"],
    "classes": [SMOKE, "distribution._target_=a.B", "model._target_=a.C", "+model.width=2"],
    "longer": ["experiment=digits", "training_steps_multiplier=2", "run_learning_rate=0.3"],
    "numbers": [SMOKE, "method=prune", "tuned.arguments.prune={update_every: 1}"],
}


@pytest.mark.parametrize(
    ("variant", "said"), list(zip(VARIANTS, itertools.cycle(SAID), strict=False))
)
def test_settings_made_from_others_are_those_that_their_words_compose(variant, said):
    settings = VARIANTS[variant](compose_settings(SAID[said]))
    assert compose_settings(settings.source.words) == settings


def test_what_an_experiment_says_of_the_arm_it_says_of_any(tmp_path, monkeypatch):
    folder = tmp_path / "conf" / "experiment"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(
        "# @package _global_\ndefaults: [smoke]\nmethod: {sparsity: 0.3, keeps: [1]}\n"
    )
    monkeypatch.chdir(tmp_path)
    settings = with_arm(compose_settings(["experiment=mine", "method=prune"]), "snip")
    assert settings.method.sparsity == 0.3
    assert compose_settings(settings.source.words) == settings
    assert {arm.keeps for arm in arms(settings).values()} == {(1,)}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seeed": 3}, "no setting is called 'seeed'; did you mean seed?"),
        ({"model.width": 3}, "no setting is called 'model.width'; an argument of the chosen class"),
        ({"sparsity": "a"}, "sparsity='a': must be a number"),
        ({"sparsity": 1.5}, "sparsity=1.5: must lie in [0, 1)"),
        ({"path.space": "foo"}, "there is no tuned.path_learning_rate.foo"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(values, message):
    with pytest.raises(UserError) as caught:
        replaced(compose_settings([SMOKE]), values)
    assert message in str(caught.value)


def test_jobs_travel_whole():
    jobs = plan_all(compose_settings([SMOKE, "reproduce.seeds=[21]"]))
    # As they do on their way to a worker.
    assert ForkingPickler.loads(ForkingPickler.dumps(jobs)) == jobs
