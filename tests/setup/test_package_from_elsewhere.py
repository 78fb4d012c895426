"""A method, an arm, a curve and a data set of a package that is installed beside this one."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_sparse.cli.main import main
from lightning_sparse.records import read_record
from lightning_sparse.settings.shipped import PACKAGES, choices
from tools.environment import REPOSITORY, find_uv
from tools.virtual_environment import Environment

PROJECT = f"""
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "her-sparsity"
version = "1.0"

[project.entry-points."{PACKAGES}"]
her_sparsity = "her_sparsity"

[tool.setuptools]
packages = ["her_sparsity"]

[tool.setuptools.package-data]
her_sparsity = ["conf/*/*.yaml"]
"""

MODULE = '''
from dataclasses import dataclass

import torch

from lightning_sparse.analysis.experiment import Route
from lightning_sparse.analysis.question import in_most_seeds
from lightning_sparse.analysis.share_claim import SeedOutcome, ShareClaim
from lightning_sparse.data.augmentation import RandomShift
from lightning_sparse.data.source import ImageSource, TensorImages
from lightning_sparse.sparsity.distributions import AbstractDistribution
from lightning_sparse.sparsity.method import AbstractStaticMethod
from lightning_sparse.sparsity.ranking import best_masks


@dataclass(frozen=True, kw_only=True)
class SmallestAtStart(AbstractStaticMethod):
    """Keeps the smallest weights of the start."""

    sparsity: float
    distribution: AbstractDistribution

    def initial_masks(self, view):
        scores = {name: -weight.abs() for name, weight in view.weights.items()}
        return best_masks(scores, self.sparsity, self.distribution)

    def target_sparsity(self, step):
        return self.sparsity


def build_stripes(num_images):
    """Horizontal and vertical stripes of any phase, with noise."""
    generator = torch.Generator().manual_seed(0)

    def images(count):
        labels = torch.arange(count) % 2
        phase = 6.3 * torch.rand(count, 1, 1, 1, generator=generator)
        wave = torch.sin(torch.arange(8.0).view(1, 1, 8, 1) + phase).expand(-1, -1, -1, 8)
        image = torch.where(labels.view(-1, 1, 1, 1) == 1, wave, wave.transpose(2, 3))
        return TensorImages(image + 0.1 * torch.randn(image.shape, generator=generator), labels)

    return ImageSource(
        name="stripes", train=images(num_images), test=images(64), num_classes=2,
        image_shape=(1, 8, 8), augmentation=RandomShift(1),
    )


def _outcome(paths):
    (path,) = paths
    return SeedOutcome(holds=path.is_descent, value=path.descent.value)


QUESTION = in_most_seeds(
    ShareClaim(name="HERS", statement="Her curve leads down from smallest to dense.", rule="R"),
    (Route("smallest:end", "dense:end", "sine bump 1.5 high", "dense"),),
    _outcome,
)
'''

CHOICES = {
    "method/smallest": """
start: init
masks: own
words: smallest at the start
sparse_method:
  _target_: her_sparsity.SmallestAtStart
  sparsity: ${sparsity}
  distribution: ${distribution}
""",
    "curve/sine_bump": "_target_: her_sparsity.sine_bump.SineBump\nheight: 1.5\n",
    "data/stripes": "_target_: her_sparsity.build_stripes\nnum_images: 512\n",
}


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Build and install it as users do, into a folder that Python looks in; return that folder."""
    project, site = tmp_path / "project", tmp_path / "site"
    for name, text in CHOICES.items():
        file = project / "her_sparsity" / "conf" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (project / "pyproject.toml").write_text(PROJECT)
    (project / "her_sparsity" / "__init__.py").write_text(MODULE)
    shutil.copy(REPOSITORY / "tests" / "cli" / "sine_bump.py", project / "her_sparsity")
    environment = Environment(REPOSITORY)
    subprocess.run(
        [*find_uv(environment), "pip", "install", "-q", "--offline", "--no-deps",
         "--no-build-isolation", "--python", environment.python, "--target", site, project],
        check=True,
    )  # fmt: skip
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "her_sparsity", raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return site


@pytest.mark.usefixtures("installed")
def test_all_four_are_trained_connected_judged_reported_and_verified(capsys):
    words = [
        "experiment=smoke", "data=stripes", "reproduce.seeds=[31]", "reproduce.sparsities=[]",
        "reproduce.control_sparsity=null", "reproduce.claims=[HERS]",
        "reproduce.further_claims=[her_sparsity.QUESTION]",
    ]  # fmt: skip

    assert main(["reproduce", *words]) == 0, capsys.readouterr()

    made = [read_record(file.parent) for file in Path("runs").glob("*/record.json")]
    (path,) = (record for record in made if "sine_bump" in record.run_id)
    (arm,) = (record for record in made if record.run_id == path.start_run)
    assert (path.start, path.end, path.curve) == ("smallest:end", "dense:end", "sine bump 1.5 high")
    assert (arm.method, arm.target_sparsity) == ("smallest", 0.9)
    assert arm.config["data"] == {"_target_": "her_sparsity.build_stripes", "num_images": 512}
    claims = json.loads(Path("runs/reproduce_smoke/claims.json").read_text())
    assert [claim["records"] for claim in claims if claim["claim"] == "HERS"] == [[path.run_id]]
    page = Path("runs/reproduce_smoke/report.md").read_text()
    assert "smallest at the start" in page
    assert main(["verify", "--build", "runs"]) == 0


def test_a_package_that_has_lost_its_settings_is_named(installed, capsys):
    shutil.rmtree(installed / "her_sparsity/conf")

    assert main(["train", "experiment=smoke"]) == 2

    said = capsys.readouterr().err
    assert f"her-sparsity 1.0: its entry point {PACKAGES} names her_sparsity" in said


def test_what_is_not_installed_is_no_choice():
    assert "smallest" not in choices("method")
