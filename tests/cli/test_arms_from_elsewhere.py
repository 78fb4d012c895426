"""A further arm is one file in a user's folder, from its settings to a line that begins at it."""

import pytest

from lightning_sparse.cli.compose import compose_settings
from lightning_sparse.cli.main import main
from lightning_sparse.errors import UserError
from lightning_sparse.records import read_record

ARM = """
start: init
needs_masks: false
rewound: false
sparse_method:
  _target_: lightning_sparse.sparsity.methods.random_mask.RandomMask
  sparsity: ${sparsity}
  distribution: ${distribution}
"""
WORDS = ("experiment=smoke", "sparsity=0.9", "training.num_steps=40")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with an arm of its user's."""
    (tmp_path / "conf/method").mkdir(parents=True)
    (tmp_path / "conf/method/static.yaml").write_text(ARM)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("words", "rate"),
    [
        ([], 0.4),
        (["tuned.learning_rate.dense=0.3"], 0.3),
        (["tuned.learning_rate.others=0.2"], 0.2),
        (["tuned.learning_rate.static=0.1"], 0.1),
    ],
)
def test_its_learning_rate_is_that_of_the_dense_arm_until_it_has_its_own(words, rate):
    dense = compose_settings(["experiment=smoke", "method=dense"])["training"]["learning_rate"]
    settings = compose_settings(["experiment=smoke", "method=static", *words])
    assert settings["method"]["name"] == "static"
    assert settings["training"]["learning_rate"] == (rate if words else dense)


def test_a_rate_in_its_file_is_its_own(folder):
    (folder / "conf/method/static.yaml").write_text(f"{ARM}learning_rate: 0.05\n")
    settings = compose_settings(["experiment=smoke", "method=static"])
    assert settings["training"]["learning_rate"] == 0.05


def test_an_arm_that_is_not_called_like_its_file_is_refused(folder):
    (folder / "conf/method/static.yaml").write_text(f"{ARM}name: other\n")
    with pytest.raises(UserError, match=r"static\.yaml: name: other: an arm is called like"):
        compose_settings(["experiment=smoke", "method=static"])


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("word", ["method=rigid", "method.name=rigid"])
def test_an_arm_that_is_not_there_is_refused_with_those_that_are(word):
    with pytest.raises(UserError, match=r"rigid.*static"):
        compose_settings(["experiment=smoke", word])


def test_it_is_trained_connected_and_verified(folder, capsys):
    status = main(["line", *WORDS, "path.start=static:end", "path.end=dense:end"])

    assert status == 0, capsys.readouterr()
    (arm,) = map(read_record, (folder / "runs").glob("smoke-static-s0.9-*"))
    (line,) = map(read_record, (folder / "runs").glob("smoke-static-end-*"))
    assert (arm.method, arm.target_sparsity) == ("static", 0.9)
    assert (line.start, line.start_run) == ("static:end", arm.run_id)
    assert main(["verify", "runs"]) == 0
