"""``lightning-sparse VERB [name=value ...]``: finds the verb; errors become one line."""

import importlib
import os
import sys
import traceback
from collections.abc import Sequence

from lightning_sparse import __version__
from lightning_sparse.errors import UserError, as_line, is_the_users, of_file
from lightning_sparse.process.preemption import EXIT_STATUS, Preempted, ends_when_asked
from lightning_sparse.process.surroundings import prepared

VERBS = {
    "train": "train one end point: method=dense, prune, scratch or lottery",
    "line": "measure the straight line between two points: path.start=scratch:end",
    "path": "fit and measure a curve: curve=quadratic, cubic or polygonal_chain path.space=dense",
    "reproduce": "train, connect, judge and report everything: reproduce.seeds=[11,12,13]",
    "laboratory": "is it the subspace, the start or the time? laboratory.seeds=[31,32,33]",
    "slurm-train": "submit one end point, or one per seed of slurm.seeds, and the runs it needs",
    "slurm-line": "submit a straight line and the runs it needs",
    "slurm-path": "submit a curve and the runs it needs",
    "slurm-reproduce": "submit everything, each job after those it needs, the report last",
    "slurm-laboratory": "submit the laboratory, each job after those it needs, the report last",
    "pilot": "try the settings that are tuned, on the pilot seeds only",
    "methods": "tune arms, train them and set them beside each other: methods.arms=[prune,rigl]",
    "report": "write the report again from records that exist",
    "check": "would a run begin, and what holds it up: loader, memory, disk; 0 fine, 1 warned",
    "verify": "check what runs left behind: hashes, masks, counts, ids: verify runs/NAME ...",
    "export": "write a finished run as ONNX, or its weights as CSR: export.run=runs/NAME",
    "import-published": "take a published sparse network as a pruned run: published.file=...",
    "multirun": "run points with no server: sweep.file=gap, or method=dense,prune seed=21,22",
    "sweep": "register a sweep file with W&B: sweep.file=gap",
    "agent": "run points of a registered sweep: sweep.id=ENTITY/PROJECT/ID",
    "data-imagenet": "write an image folder as FFCV's .beton files: imagenet=<folder>",
    "data-synthetic": "paint a procedural image set, as a folder and as .beton files",
    "data-fashion": "fetch Fashion-MNIST, 31 MB, by the package of Debian and Ubuntu",
    "slurm-multirun": "submit points of a sweep file, or typed ones, with no server",
    "slurm-agents": "submit agents of a registered sweep, as an array: sweep.num_agents=8",
    "publish": "copy records and figures of a finished experiment, and its laboratory, to results/",
    "readme": "put the results under results/ into README.md and pages of docs/",
}

# Verbs with a file of settings of their own under conf/command/.
_ON_DATA = {"data-imagenet", "data-synthetic", "data-fashion"}

# Verbs for which a setting may have several values.
_ON_POINTS = {"multirun", "slurm-multirun"}

# Verbs whose process may be one of several that share a run.
_ON_RANKS = {"train", "line", "path"}

# Verbs whose status says what they found.
_WITH_STATUS = {"check"}

# Verbs that are told folders instead of settings.
_ON_FOLDERS = {"verify"}

_OK, _USER_ERROR, _INTERRUPTED = 0, 2, 130

_HELP = """\
usage: lightning-sparse VERB [name=value ...]
       lightning-sparse verify [--build] FOLDER ...

verbs:
{verbs}

Settings are written name=value and override those of conf/config.yaml and of the experiment:
  lightning-sparse train method=scratch sparsity=0.95 seed=21
  lightning-sparse train experiment=digits_resnet method=prune training.num_steps=500
  lightning-sparse train model._target_=my_package.Net

options:
  -h, --help     show this text
  --version      show the version
  --settings     show every setting of a verb, as composed: lightning-sparse train --settings

LIGHTNING_SPARSE_TRACEBACK=1 in the environment shows where an error came from.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    ``sys.argv`` stays as it is, since distributed children are started with it.

    Args:
        arguments: What follows the program's name; taken from the command line if not given.

    Returns:
        Exit status: 0, 1 if ``verify`` or ``check`` found something, 2 for what the user can mend,
        75 when asked to stop by SIGTERM or SIGUSR1, 130 when interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with prepared(), ends_when_asked():
            return _dispatch(words)
    except (UserError, OSError) as error:
        if isinstance(error, OSError) and not is_the_users(error):
            raise
        if os.environ.get("LIGHTNING_SPARSE_TRACEBACK"):
            traceback.print_exc()
        said = of_file(error) if isinstance(error, OSError) else str(error)
        print(f"error: {as_line(said)}", file=sys.stderr)
        return _USER_ERROR
    except KeyboardInterrupt:
        print("interrupted; start the same command again to go on", file=sys.stderr)
        return _INTERRUPTED
    except Preempted as preempted:
        if preempted.exit_status == EXIT_STATUS:
            print(f"{preempted}; start the same command again to go on", file=sys.stderr)
        return preempted.exit_status


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in {"-h", "--help"} or {"-h", "--help"} & set(words):
        verbs = "\n".join(f"  {verb:<17}{text}" for verb, text in VERBS.items())
        print(_HELP.format(verbs=verbs), end="")
        return _OK
    if words[0] == "--version":
        print(f"lightning-sparse {__version__}")
        return _OK
    verb, *rest = words
    if verb.startswith("-"):
        raise UserError(
            f"unknown option {verb!r}; options are -h, --help, --version and --settings"
        )
    if verb not in VERBS:
        raise UserError(f"unknown verb {verb!r}; choose one of {', '.join(VERBS)}")
    # Imported only now: asking for help must not wait for torch.
    if verb in _ON_FOLDERS:
        return int(importlib.import_module(f"lightning_sparse.cli.{verb}").run(_folders(rest)))
    if verb in _ON_DATA:
        return _write_data(verb, rest)
    compose = importlib.import_module("lightning_sparse.settings.compose")
    if "--settings" in rest:
        rest.remove("--settings")
        print(compose.as_yaml(compose.compose_settings(rest)), end="")
        return _OK
    rest, swept = compose.without_sweeps(rest) if verb in _ON_POINTS else (rest, [])
    settings = compose.compose_settings(rest)
    launch = importlib.import_module("lightning_sparse.execution.launch")
    launch.settle_ranks(settings.trainer if verb in _ON_RANKS else {}, os.environ)
    importlib.import_module("lightning_sparse.execution.tracker_choice").check_tracker(settings)
    run = importlib.import_module(f"lightning_sparse.cli.{verb.replace('-', '_')}").run
    found = run(settings, swept) if verb in _ON_POINTS else run(settings)
    return int(found) if verb in _WITH_STATUS else _OK


def _write_data(verb: str, words: list[str]) -> int:
    as_yaml = importlib.import_module("lightning_sparse.settings.compose").as_yaml
    room = importlib.import_module("lightning_sparse.settings.data_settings")
    settings = room.compose_data_settings(verb, [word for word in words if word != "--settings"])
    if "--settings" in words:
        print(as_yaml(settings), end="")
    else:
        importlib.import_module(f"lightning_sparse.cli.{verb.replace('-', '_')}").run(settings)
    return _OK


def _folders(words: list[str]) -> list[str]:
    for word in words:
        if word.startswith("-") and word != "--build":
            raise UserError(f"unknown option {word!r}; a folder of that name is written ./{word}")
    return words


if __name__ == "__main__":
    sys.exit(main())
