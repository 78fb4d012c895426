"""Every verb there is: what it does, what it is told, and what beside this machine may run it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Verb:
    """One verb, which `run` in the module of its name carries out.

    Attributes:
        words: What it does, for ``--help``.
        told: What follows it: settings; settings of which some have several values; settings of a
            file of its own under ``conf/command/``; or folders.
        is_submitted: Whether ``where=slurm`` has it run as jobs, by `submit` of the same module.
        has_ranks: Whether its process may be one of several that share a run.
        has_status: Whether its exit status says what it found.
    """

    words: str
    told: Literal["settings", "points", "data", "folders"] = "settings"
    is_submitted: bool = False
    has_ranks: bool = False
    has_status: bool = False


VERBS = {
    "train": Verb(
        words="train one end point: method=dense, prune, scratch or lottery",
        is_submitted=True,
        has_ranks=True,
    ),
    "line": Verb(
        words="measure the straight line between two points: path.start=scratch:end",
        is_submitted=True,
        has_ranks=True,
    ),
    "path": Verb(
        words="fit and measure a curve: curve=quadratic, cubic or polygonal_chain path.space=dense",
        is_submitted=True,
        has_ranks=True,
    ),
    "reproduce": Verb(
        words="train, connect, judge and report everything: reproduce.seeds=[11,12,13]",
        is_submitted=True,
    ),
    "laboratory": Verb(
        words="is it the subspace, the start or the time? laboratory.seeds=[31,32,33]",
        is_submitted=True,
    ),
    "pilot": Verb(words="try the settings that are tuned, on the pilot seeds only"),
    "methods": Verb(
        words="tune arms, train them and set them beside each other: methods.arms=[prune,rigl]"
    ),
    "report": Verb(words="write the report again from records that exist"),
    "check": Verb(
        words="would a run begin, and what holds it up: loader, memory, disk; 0 fine, 1 warned",
        has_status=True,
    ),
    "verify": Verb(
        words="check what runs left behind: hashes, masks, counts, ids: verify runs/NAME ...",
        told="folders",
        has_status=True,
    ),
    "export": Verb(
        words="write a finished run as ONNX, or its weights as CSR: export.run=runs/NAME"
    ),
    "import-published": Verb(
        words="take a published sparse network as a pruned run: published.file=..."
    ),
    "multirun": Verb(
        words="run points with no server: sweep.file=gap, or method=dense,prune seed=21,22",
        told="points",
        is_submitted=True,
    ),
    "sweep": Verb(words="register a sweep file with W&B: sweep.file=gap"),
    "agent": Verb(
        words="run points of a registered sweep: sweep.id=ENTITY/PROJECT/ID", is_submitted=True
    ),
    "data-imagenet": Verb(
        words="write an image folder as FFCV's .beton files: imagenet=<folder>", told="data"
    ),
    "data-synthetic": Verb(
        words="paint a procedural image set, as a folder and as .beton files", told="data"
    ),
    "data-fashion": Verb(
        words="fetch Fashion-MNIST, 31 MB, by the package of Debian and Ubuntu", told="data"
    ),
    "publish": Verb(
        words="copy records and figures of a finished experiment, and its laboratory, to results/"
    ),
    "readme": Verb(words="put the results under results/ into README.md and pages of docs/"),
}
"""By the words that name them on the command line."""

SUBMITTED = tuple(name for name, verb in VERBS.items() if verb.is_submitted)
