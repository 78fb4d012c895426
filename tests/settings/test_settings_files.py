"""A user's own files of settings, with the mistakes that people make in them."""

from collections.abc import Callable
from pathlib import Path
from typing import Optional

import pytest

from lightning_sparse.errors import UserError
from lightning_sparse.execution.build import build_data, build_network
from lightning_sparse.settings.arguments import check_arguments
from lightning_sparse.settings.compose import compose_settings
from lightning_sparse.settings.data_settings import compose_data_settings
from lightning_sparse.settings.settings_files import read_yaml
from lightning_sparse.settings.shipped import CONF_DIR
from lightning_sparse.settings.tree import as_plain

SMOKE = (CONF_DIR / "experiment" / "smoke.yaml").read_text(encoding="utf-8")
LAST = SMOKE.count("\n")

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write ``conf/<group>/mine.yaml`` in the current folder."""
    monkeypatch.chdir(tmp_path)

    def to(text: str | bytes, group: str = "experiment") -> Path:
        file = tmp_path / "conf" / group / "mine.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file

    return to


def refused(overrides: list[str]) -> str:
    with pytest.raises(UserError) as caught:
        compose_settings(overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_experiment_in_the_current_folder_is_found(write):
    write(SMOKE.replace("sparsity: 0.9", "sparsity: 0.7"))
    assert compose_settings(["experiment=mine"]).sparsity == 0.7
    assert compose_settings(["experiment=smoke"]).sparsity == 0.9
    assert "available: digits," in refused(["experiment=nothing"])
    assert "mine, smoke" in refused(["experiment=nothing"])


def test_a_file_of_the_current_folder_that_would_hide_one_of_ours_is_refused(write):
    own = write("_target_: my.Net\n", "model").rename("conf/model/convnet.yaml")
    assert refused([]).startswith(f"{own.absolute()}: {CONF_DIR}/model/convnet.yaml has the same")


def test_config_yaml_of_another_project_in_the_current_folder_is_not_ours(write):
    write("x: 1\n", ".").rename("conf/config.yaml")
    assert compose_settings([]).seed == 11


MISTAKES = {
    "unknown name": (
        SMOKE.replace("sparsity: 0.9", "sparsitty: 0.9"),
        "no setting is called 'sparsitty'; did you mean sparsity?",
    ),
    "unknown name below": (
        SMOKE.replace("training:\n  num", "training:\n  weight_dekay: 0.5\n  num", 1),
        "no setting is called 'training.weight_dekay'; did you mean training.weight_decay?",
    ),
    "unknown name that is known elsewhere": (
        f"{SMOKE}\nnum_steps: 5\n",
        "no setting is called 'num_steps'; did you mean",
    ),
    "number in quotes": (
        SMOKE.replace("num_steps: 12", 'num_steps: "12"'),
        "training.num_steps='12': must be an integer",
    ),
    "truth value in quotes": (
        f'{SMOKE}\nchannels_last: "false"\n',
        "channels_last='false': must be true or false",
    ),
    "truth value for a number": (f"{SMOKE}\nseed: yes\n", "seed=True: must be an integer"),
    "null where something is needed": (f"{SMOKE}\nseed:\n", "seed=None: must be an integer"),
    "text in a list": (
        SMOKE.replace("seeds: [11, 12]", 'seeds: ["11", 12]'),
        "reproduce.seeds=['11', 12]: must be a list of integers, for example",
    ),
    "nothing below a name": (
        f"{SMOKE}\nslurm:\n",
        "slurm is empty; leave it out, or give what it holds, such as slurm.partition",
    ),
    "a value for several settings": (f"{SMOKE}\nslurm: 5\n", "slurm=5: holds several settings;"),
    "tab": (f"{SMOKE}\tbad: 1\n", f", line {LAST + 1}: found character '\\t' that cannot"),
    "name twice": (
        SMOKE.replace("num_steps: 12", "num_steps: 12\n  num_steps: 13"),
        ", line 16: found duplicate key num_steps",
    ),
    "list of something else": (
        SMOKE.replace("- {learning_rate: 0.1}", "- 0.1"),
        "pilot.prune_trials=[0.1, {'learning_rate': 0.2}]: must be a list of mappings",
    ),
    "octal number": (f"{SMOKE}\nseed: 010\n", f", line {LAST + 2}: 010 would be read as 8;"),
    "sexagesimal number": (f"{SMOKE}\nseed: 1:30\n", f", line {LAST + 2}: 1:30 would be read as"),
    "no package": (
        SMOKE.partition("\n")[2],
        "the first line of an experiment must be `# @package _global_`",
    ),
    "package after other comments": (
        f"# mine\n{SMOKE}",
        "the first line of an experiment must be `# @package _global_`",
    ),
    "no mapping": ("# @package _global_\n- seed: 3\n", "holds no settings; write name: value"),
    "other encoding": (SMOKE.encode("utf-16"), "is not encoded in UTF-8; save it as UTF-8"),
    "brace that is not closed": (f"{SMOKE}\nseed: {{\n", f", line {LAST + 3}: "),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_an_experiment_is_named_with_its_file(mistake, write):
    text, expected = MISTAKES[mistake]
    file = write(text)
    message = refused(["experiment=mine", "method=dense"])
    assert message.startswith(str(file))
    assert expected in message


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (
            "/data: digits",
            "/data: digit",
            "experiment=mine, of which a file names data=digit: no such choice; available: cifar10",
        ),
        (
            "override /data: digits",
            "override data: digits",
            "cannot use the settings experiment=mine: In 'experiment/mine': Could not override",
        ),
        (
            "override /data: digits",
            "data: digits",
            "cannot use the settings experiment=mine: In 'experiment/mine': Could not find",
        ),
    ],
)
def test_a_mistake_in_the_list_of_choices_is_said_of_the_experiment(first, second, expected, write):
    write(SMOKE.replace(first, second))
    assert refused(["experiment=mine"]).startswith(expected)


@pytest.mark.parametrize(
    ("group", "text", "expected"),
    [
        ("method", 'name: prune\nneeds_masks: "false"\n', "method.needs_masks='false': must be t"),
        ("method", "name: prune\nrewind: false\n", "no setting is called 'method.rewind'; did you"),
        ("logger", "name: wandb\nprojekt: x\n", "no setting is called 'logger.projekt'; did you"),
        ("logger", "name: wandb\nproject: 5\n", "logger.project=5: must be a text"),
        ("model", "_target_: a.Net\n_target_: b.Net\n", ", line 2: found duplicate key _target_"),
    ],
)
def test_a_mistake_in_a_file_of_a_group_is_named_with_its_file(group, text, expected, write):
    file = write(text, group)
    message = refused([f"{group}=mine"])
    assert message.startswith(str(file))
    assert expected in message


def test_a_mark_of_the_encoding_changes_nothing(write):
    write(b"\xef\xbb\xbf" + SMOKE.encode())
    marked, plain = (compose_settings([f"experiment={name}"]) for name in ("mine", "smoke"))
    assert as_plain(marked) == as_plain(plain)


def test_numbers_are_read_as_on_the_command_line(write):
    write(f"{SMOKE}\nrun_learning_rate: 1e-3\nseed: 12_000\n")
    settings = compose_settings(["experiment=mine"])
    assert settings.run_learning_rate == 1e-3
    assert settings.seed == 12_000


@pytest.mark.parametrize(
    ("group", "text", "expected"),
    [
        (
            "data",
            '_target_: lightning_sparse.data.synthetic.build_synthetic\nin_memory: "false"\n',
            "data.in_memory='false': must be true or false, without quotes",
        ),
        (
            "data",
            '_target_: lightning_sparse.data.digits.build_digits\nsize: "28"\n',
            "data.size='28': must be an integer, without quotes",
        ),
        (
            "model",
            "_target_: lightning_sparse.models.resnet.BottleneckResNet\nsmall_images: 'no'\n",
            "model.small_images='no': must be true or false, without quotes",
        ),
    ],
)
def test_an_argument_in_quotes_is_refused_where_the_class_declares_a_number(
    group, text, expected, write
):
    write(text, group)
    settings = compose_settings([f"{group}=mine"])
    with pytest.raises(UserError) as caught:
        build_network(settings, build_data(settings).source)
    assert str(caught.value) == expected


def test_only_what_is_declared_as_number_or_truth_value_is_compared():
    def build(
        plain,
        sizes: list[int],
        rate: float | None,
        cap: Optional[float],  # noqa: UP045
        name: str,
        *,
        flag: bool,
    ): ...

    fitting = {"plain": "1", "sizes": ["a"], "rate": None, "cap": 1, "name": 3, "flag": True}
    check_arguments(build, {**fitting, "unknown": "1"}, "model")
    check_arguments(None, {"_target_": "nowhere"}, "model")
    for name in ("rate", "cap", "flag"):
        with pytest.raises(UserError, match=f"model.{name}='no': must be "):
            check_arguments(build, {**fitting, name: "no"}, "model")


def test_settings_of_data_commands_are_read_the_same_way(monkeypatch, tmp_path):
    command = tmp_path / "command"
    command.mkdir()
    (command / "data_synthetic.yaml").write_text("size: 8\nsize: 9\n", encoding="utf-8")
    monkeypatch.setattr("lightning_sparse.settings.data_settings.CONF_DIR", tmp_path)
    with pytest.raises(UserError, match=r"data_synthetic.yaml, line 2: found duplicate key size"):
        compose_data_settings("data-synthetic", [])


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match=f"{tmp_path}: cannot be read: Is a directory"):
        read_yaml(tmp_path)
