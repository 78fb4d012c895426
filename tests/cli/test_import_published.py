from pathlib import Path

import pytest
import torch

from lightning_sparse.cli.main import main
from lightning_sparse.models.prunable import prunable_weights
from lightning_sparse.records import PathRecord, RunRecord, read_record
from lightning_sparse.sparsity.mask_files import load_masks
from tests.exchange.layouts import small_resnet, write_tensorflow

MODEL = ["model=resnet_small", "model.width_multiplier=0.0625", "+model.layers=[1,2,1,1]"]


@pytest.fixture
def published(tmp_path) -> tuple[Path, Path]:
    """A file of a sparse network, and one of the weights that it started from."""
    torch.manual_seed(0)
    network = small_resnet()
    masks = {
        name: torch.rand(weight.shape) < 0.2 for name, weight in prunable_weights(network).items()
    }
    state = network.state_dict()
    (tmp_path / "start").mkdir()
    start = write_tensorflow(tmp_path / "start", state, {})
    sparse = {
        name: value * masks[name] if name in masks else value for name, value in state.items()
    }
    return write_tensorflow(tmp_path, sparse, masks), start


def command(verb, folder, *others):
    return [verb, "experiment=smoke", *MODEL, f"runs_dir={folder}/runs", "sparsity=0.8", *others]


def record_of(folder, pattern):
    (run,) = (folder / "runs").glob(pattern)
    return run, read_record(run)


def test_a_published_network_becomes_a_pruned_run_that_arms_and_paths_take(
    published, tmp_path, capsys
):
    file, start = published
    words = [f"published.file={file}", "published.layout=rigl"]
    assert main(command("import-published", tmp_path, *words, f"published.start={start}")) == 0
    folder, record = record_of(tmp_path, "smoke-prune-*")
    assert isinstance(record, RunRecord)
    assert record.method == "prune"
    assert 0.78 < record.measured_sparsity < 0.82
    assert record.config["published"]["layout"] == "rigl"
    assert record.distance_from_start > 0
    assert main(["verify", str(folder)]) == 0

    source = f"mask_source={folder}"
    for method in ("scratch", "lottery"):
        assert main(command("train", tmp_path, f"method={method}", source)) == 0
        run, trained = record_of(tmp_path, f"smoke-{method}-*")
        assert trained.mask_source == record.run_id
        assert trained.layers == record.layers
        assert load_masks(run / "masks.safetensors").keys() == record.layers.keys()
    ends = [f"path.start={run}:start", f"path.end={folder}:end"]
    assert main(command("line", tmp_path, *ends)) == 0
    _, line = record_of(tmp_path, "smoke-*-to-*")
    assert isinstance(line, PathRecord)
    assert line.end_run == record.run_id
    assert line.points[-2].test.loss == pytest.approx(record.test.loss, abs=1.0)
    capsys.readouterr()
    assert main(command("import-published", tmp_path, *words)) == 0
    assert "is there already; remove it to import the file again" in capsys.readouterr().out


def test_without_its_start_a_run_says_so_and_lottery_runs_are_refused(published, tmp_path, refused):
    words = [f"published.file={published[0]}", "published.layout=state_of_sparsity"]
    assert main(command("import-published", tmp_path, *words)) == 0
    folder, record = record_of(tmp_path, "smoke-prune-*")
    assert record.distance_from_start is None
    assert main(["verify", str(folder)]) == 0
    message = refused(*command("train", tmp_path, "method=lottery", f"mask_source={folder}"))
    assert message.endswith("import it again with published.start=FILE, if that was published too")


def test_what_cannot_be_imported_is_one_line_and_leaves_nothing(published, tmp_path, refused):
    def said(*words):
        return refused(*command("import-published", tmp_path, *words))

    file = f"published.file={published[0]}"
    assert "are not both given" in said(file)
    assert "choose one of state_of_sparsity" in said(file, "published.layout=set")
    wrong = said(file, "published.layout=rigl", "sparsity=0.95")
    assert f"sparsity=0.95: the masks of {published[0]} come to 0." in wrong
    assert not (tmp_path / "runs").exists()
