"""The recipes of CONTRIBUTING.md, followed as they stand there, in a package that is installed."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_sparse.cli.main import main
from lightning_sparse.records import read_record
from lightning_sparse.settings.shipped import PACKAGES, choices
from lightning_sparse.sparsity.mask_files import load_masks
from tests.recipes import recipe_files
from tests.sparsity.simulation import same_masks
from tools.environment import REPOSITORY, find_uv
from tools.virtual_environment import Environment

# What the recipes do not show, since docs/your-network.md does: a data set.
STRIPES = """
import torch

from lightning_sparse.data.augmentation import RandomShift
from lightning_sparse.data.source import ImageSource, TensorImages


def build_stripes(num_images):
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
"""
DATA = {
    "my_package/__init__.py": "",
    "my_package/stripes.py": STRIPES,
    "my_package/conf/data/stripes.yaml": "_target_: my_package.stripes.build_stripes\n"
    "num_images: 512\n",
}
WORDS = [
    "experiment=smoke", "data=stripes", "reproduce.seeds=[31]", "reproduce.sparsities=[]",
    "reproduce.control_sparsity=null", "reproduce.claims=[M]",
    "reproduce.further_claims=[my_package.claims.QUESTION]",
]  # fmt: skip


def install(files, folder):
    """Build and install the package as users do; return the folder that Python is to look in."""
    for name, text in files.items():
        file = folder / "project" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    environment = Environment(REPOSITORY)
    subprocess.run(
        [*find_uv(environment), "pip", "install", "-q", "--offline", "--no-deps",
         "--no-build-isolation", "--python", environment.python,
         "--target", folder / "site", folder / "project"],
        check=True,
    )  # fmt: skip
    return folder / "site"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return install({**DATA, **recipe_files()}, tmp_path_factory.mktemp("package"))


@pytest.fixture
def installed(site, tmp_path, monkeypatch):
    """A copy that a test may spoil, in a process that has not seen it; in a folder of its own."""
    copy = Path(shutil.copytree(site, tmp_path / "site"))
    monkeypatch.syspath_prepend(copy)
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_package"]:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return copy


@pytest.mark.usefixtures("installed")
def test_method_arm_curve_and_claim_are_trained_connected_judged_reported_and_verified(capsys):
    assert main(["reproduce", *WORDS]) == 0, capsys.readouterr()

    made = [read_record(file.parent) for file in Path("runs").glob("*/record.json")]
    (path,) = (record for record in made if record.kind == "path")
    arms = {record.arm: record for record in made if record.kind == "run"}
    assert set(arms) == {"smallest", "restarted"}
    assert (path.start, path.end) == ("restarted:end", "smallest:end")
    assert (path.curve, path.is_fitted) == ("sine bump 1.5 high", True)
    assert path.length > path.distance
    assert arms["smallest"].target_sparsity == 0.9
    assert arms["restarted"].mask_source == arms["smallest"].run_id
    masks = [load_masks(Path("runs") / arm.run_id / "masks.safetensors") for arm in arms.values()]
    assert same_masks(*masks)
    data = {"_target_": "my_package.stripes.build_stripes", "num_images": 512}
    assert path.config["data"] == data
    claims = json.loads(Path("runs/reproduce_smoke/claims.json").read_text())
    assert [claim["records"] for claim in claims if claim["claim"] == "M"] == [[path.run_id]]
    page = Path("runs/reproduce_smoke/report.md").read_text()
    assert "| smallest at the start |" in page
    assert "restarted solution" in page
    assert main(["verify", "--build", "runs"]) == 0


@pytest.mark.parametrize("left_out", sorted(recipe_files()))
def test_a_recipe_without_one_of_its_files_does_not_work(left_out, installed, capsys):
    """So nothing stands on the page that is not needed, and the test above needs all of it."""
    if left_out == "pyproject.toml":
        shutil.rmtree(*installed.glob("*.dist-info"))
    else:
        (installed / left_out).unlink()
    # Whatever the runs are for, nothing begins.
    assert main(["reproduce", *WORDS]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert not Path("runs").exists()


def test_a_package_that_has_lost_its_settings_is_named(installed, capsys):
    shutil.rmtree(installed / "my_package/conf")

    assert main(["train", "experiment=smoke"]) == 2

    said = capsys.readouterr().err
    assert f"my-package 1.0: its entry point {PACKAGES} names my_package" in said


def test_what_is_not_installed_is_no_choice():
    assert "smallest" not in choices("method")
