"""Nothing in the code can run what a stranger's file says: read from the source itself."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SOURCES = [
    file for folder in ("lightning_sparse", "tools") for file in (REPOSITORY / folder).rglob("*.py")
]

# Modules whose files are programs.
RUNS_FILES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
# Functions that run text or load pickles, whatever their arguments.
NEVER = {"unsafe_load", "full_load", "load_from_checkpoint", "read_pickle"}


def told(call: ast.Call, name: str, *, value: bool) -> bool:
    return any(
        item.arg == name and isinstance(item.value, ast.Constant) and item.value.value is value
        for item in call.keywords
    )


def name_of(call: ast.Call) -> str:
    return ast.unparse(call.func)


def is_dangerous(call: ast.Call) -> bool:
    name = name_of(call)
    names = {item.arg for item in call.keywords}
    if name in {"torch.load", "load"} or "ckpt_path" in names:
        return not told(call, "weights_only", value=True)
    if name in {"np.load", "numpy.load"}:
        return "allow_pickle" in names and not told(call, "allow_pickle", value=False)
    return name in {"eval", "exec", "yaml.load"} or name.rpartition(".")[2] in NEVER


def dangers(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (item.name for item in node.names if item.name in RUNS_FILES)
        if isinstance(node, ast.ImportFrom):
            # The exception alone runs nothing: it is what torch refuses such a file with.
            if node.module in RUNS_FILES and {item.name for item in node.names} != {
                "UnpicklingError"
            }:
                yield str(node.module)
            # A bare name would hide from a search for torch.load.
            if node.module in {"torch", "numpy", "yaml"}:
                yield from (item.name for item in node.names if item.name.endswith("load"))
        if isinstance(node, ast.Call) and is_dangerous(node):
            yield f"{node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize(
    "source",
    [
        "torch.load(file)",
        "torch.load(file, weights_only=False)",
        "torch.load(file, weights_only=choice)",
        "import torch\ndef f():\n    return [torch.load(x, map_location='cpu') for x in y]",
        "from torch import load",
        "trainer.fit(module, ckpt_path=file)",
        "trainer.fit(module, ckpt_path=file, weights_only=False)",
        "Module.load_from_checkpoint(file)",
        "import pickle",
        "from pickle import loads as harmless",
        "import joblib",
        "np.load(file, allow_pickle=True)",
        "yaml.load(text)",
        "yaml.unsafe_load(text)",
        "eval(text)",
        "exec(text)",
    ],
)
def test_each_way_to_run_a_file_is_noticed(source):
    assert list(dangers(source))


@pytest.mark.parametrize(
    "source",
    [
        "torch.load(file, map_location='cpu', weights_only=True)",
        "trainer.fit(module, ckpt_path=file, weights_only=True)",
        "network.eval()",
        "safetensors.torch.load(data)",
        "np.load(file)",
        "yaml.safe_load(text)",
    ],
)
def test_what_only_reads_is_allowed(source):
    assert not list(dangers(source))


def test_there_is_source_to_look_at():
    assert len(SOURCES) > 80


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(REPOSITORY)))
def test_no_source_runs_what_a_file_says(file):
    assert list(dangers(file.read_text(encoding="utf-8"))) == []
