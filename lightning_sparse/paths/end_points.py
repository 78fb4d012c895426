"""End points of paths: the start or the end of a finished run, read from its folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from lightning_sparse.errors import UserError
from lightning_sparse.files.tensor_files import load_tensors
from lightning_sparse.points import Moment
from lightning_sparse.records import RunRecord, read_record
from lightning_sparse.sparsity.mask_files import load_masks
from lightning_sparse.sparsity.masks import Masks, layer_counts
from lightning_sparse.training.run import (
    MASKS_FILE,
    weights_file,
)


@dataclass(frozen=True, kw_only=True)
class EndPoint:
    """One end of a path.

    Attributes:
        name: As in protocol and figures, for example ``prune:end``.
        run: Record of the run it belongs to.
        state: The network's state dict there.
        masks: Masks of the run, or None if it is dense.
    """

    name: str
    run: RunRecord
    state: Mapping[str, Tensor]
    masks: Masks | None

    def buffers(self, network: nn.Module) -> dict[str, Tensor]:
        """Return the entries of the state that are buffers of ``network``."""
        return {name: self.state[name] for name, _ in network.named_buffers() if name in self.state}

    def check_fits(self, network: nn.Module) -> None:
        """Compare names and shapes with those of ``network``, both ways.

        Raises:
            UserError: If they differ: the run is one of another architecture.
        """
        own = network.state_dict()
        for name in (*own, *self.state):
            here, there = _shape(own, name), _shape(self.state, name)
            if here != there:
                raise UserError(
                    f"{self.name} (run {self.run.run_id}) does not fit the model "
                    f"{type(network).__name__}: {name!r} is {there} in the run, {here} in the "
                    "model; connect runs of one architecture, with model= set to it"
                )


def load_end_point(run_dir: Path, moment: Moment, *, name: str) -> EndPoint:
    """Read a finished run at its start, at its end, or at a step whose weights it has kept.

    Raises:
        UserError: If the run has not finished, has not kept that step, or one of its files is
            missing, damaged, or of another run.
    """
    run = load_run_record(run_dir)
    file = run_dir / weights_file(moment)
    if isinstance(moment, int) and not file.is_file():
        raise UserError(
            f"{name}: {run_dir} kept no weights of that step; train it with "
            f"capture_steps=[{moment}]"
        )
    state = load_tensors(file)
    masks = load_masks(run_dir / MASKS_FILE) if run.kept < run.prunable else None
    if masks is not None and layer_counts(masks) != run.layers:
        raise UserError(
            f"{run_dir / MASKS_FILE}: other layers or counts than in the run's record, so not the "
            "masks of this run; remove its folder and train it again"
        )
    return EndPoint(name=name, run=run, state=state, masks=masks)


def load_run_record(run_dir: Path) -> RunRecord:
    """Read the record of a finished training run.

    Raises:
        UserError: If there is none, or it belongs to something else than a training run.
    """
    record = read_record(run_dir)
    if not isinstance(record, RunRecord):
        raise UserError(f"{run_dir} holds a path; the end of a path must be a training run")
    return record


def _shape(state: Mapping[str, Tensor], name: str) -> str:
    return f"of shape {tuple(state[name].shape)}" if name in state else "missing"
