"""``lightning-sparse VERB [name=value ...]``: finds the verb; errors become one line."""

import importlib
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lightning_sparse import __version__
from lightning_sparse.cli.verbs import SUBMITTED, VERBS, Verb
from lightning_sparse.errors import UserError, as_line, is_the_users, of_file
from lightning_sparse.process.preemption import EXIT_STATUS, Preempted, ends_when_asked
from lightning_sparse.process.surroundings import prepared
from lightning_sparse.settings.older_words import begin_remarks_anew, verb_in_todays_words

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

Where it runs is a setting too: where=slurm submits it, with what it needs, as jobs of a cluster:
  {submitted}

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
    begin_remarks_anew()
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
        verbs = "\n".join(f"  {name:<17}{verb.words}" for name, verb in VERBS.items())
        print(_HELP.format(verbs=verbs, submitted=", ".join(SUBMITTED)), end="")
        return _OK
    if words[0] == "--version":
        print(f"lightning-sparse {__version__}")
        return _OK
    name, *rest = verb_in_todays_words(words)
    if name.startswith("-"):
        raise UserError(
            f"unknown option {name!r}; options are -h, --help, --version and --settings"
        )
    if name not in VERBS:
        raise UserError(f"unknown verb {name!r}; choose one of {', '.join(VERBS)}")
    verb = VERBS[name]
    found = _TOLD[verb.told](name, verb, rest)
    return int(found) if verb.has_status else _OK


def _on_settings(name: str, verb: Verb, words: list[str]) -> Any:
    # Imported only now: asking for help must not wait for Hydra.
    compose = importlib.import_module("lightning_sparse.settings.compose")
    if "--settings" in words:
        words.remove("--settings")
        print(compose.as_yaml(compose.compose_settings(words)), end="")
        return _OK
    words, swept = compose.without_sweeps(words) if verb.told == "points" else (words, [])
    settings = compose.compose_settings(words)
    is_here = settings.where == "here"
    if not (is_here or verb.is_submitted):
        raise UserError(
            f"where={settings.where}: {name} runs here; say where=here (what is submitted: "
            f"{', '.join(SUBMITTED)})"
        )
    launch = importlib.import_module("lightning_sparse.execution.launch")
    launch.settle_ranks(settings.trainer if verb.has_ranks and is_here else {}, os.environ)
    importlib.import_module("lightning_sparse.execution.tracker_choice").check_tracker(settings)
    carry_out = _module(name).run if is_here else _module(name).submit
    return carry_out(settings, swept) if verb.told == "points" else carry_out(settings)


def _on_data(name: str, _: Verb, words: list[str]) -> Any:
    as_yaml = importlib.import_module("lightning_sparse.settings.compose").as_yaml
    room = importlib.import_module("lightning_sparse.settings.data_settings")
    settings = room.compose_data_settings(name, [word for word in words if word != "--settings"])
    if "--settings" in words:
        print(as_yaml(settings), end="")
        return _OK
    return _module(name).run(settings)


def _on_folders(name: str, _: Verb, words: list[str]) -> Any:
    return _module(name).run(_folders(words))


_TOLD: Mapping[str, Callable[[str, Verb, list[str]], Any]] = {
    "settings": _on_settings,
    "points": _on_settings,
    "data": _on_data,
    "folders": _on_folders,
}


def _module(name: str) -> Any:
    return importlib.import_module(f"lightning_sparse.cli.{name.replace('-', '_')}")


def _folders(words: list[str]) -> list[str]:
    for word in words:
        if word.startswith("-") and word != "--build":
            raise UserError(f"unknown option {word!r}; a folder of that name is written ./{word}")
    return words


if __name__ == "__main__":
    sys.exit(main())
