"""Settings as nobody would type them: a clear line or settings, never a traceback."""

import contextlib

from hypothesis import example, given, settings
from hypothesis import strategies as st

from lightning_sparse.errors import UserError
from lightning_sparse.planning.runs import plan_path, plan_training
from lightning_sparse.settings.compose import compose_settings
from lightning_sparse.settings.schema import leaves
from lightning_sparse.settings.tree import as_plain

NAMES = sorted(name for name, _ in leaves(as_plain(compose_settings(["experiment=smoke"]))))
GROUPS = ["data", "model", "method", "distribution", "experiment"]
NAMES = [name for name in NAMES if name != "source"]

names = st.sampled_from([*NAMES, *GROUPS]) | st.text(max_size=8)
numbers = st.integers() | st.floats() | st.sampled_from([10**400, -1, 0, 1, 0.5, 1e308])
words = st.sampled_from(
    [
        "null", "true", "???", "${seed}", "${nowhere}", "${oc.env:NOWHERE}", "${oc.env:HOME}",
        "${training}", "${path.start}", "[]", "{}", "[1,2]", "{a: 1}", "{seed: {}}", "[[1],{a: b}]",
        "../../x", "a/b:end", "runs/x:start", ":end", "prune:end", "P-end", "dense", "choice(1,2)",
        "range(1,5)",
        "glob(*)", "int('x')", "str(3)", "'", '"', "\\", "${", "}", "=", "a=b", "@", "a@b",
    ]
)  # fmt: skip
values = numbers.map(str) | words | st.text(max_size=12)
prefixes = st.sampled_from(["", "", "", "", "+", "++", "~"])


@st.composite
def overrides(draw) -> str:
    text = f"{draw(prefixes)}{draw(names)}={draw(values)}"
    if draw(st.integers(0, 5)):
        return text
    # One character lost, doubled or replaced.
    place = draw(st.integers(0, len(text) - 1))
    return text[:place] + draw(st.text(max_size=2)) + text[place + 1 :]


@settings(max_examples=150)
@given(st.lists(overrides(), max_size=3))
@example(["method.name=.hidden"])
@example(["seed=${seed}"])
@example(["+="])
@example(["data=1e-9"])
@example(["model=[[1],{a: b}]"])
@example(["~reproduce.sparsities=1"])
@example([f"evaluation.num_points={10**400}"])
def test_any_overrides_give_settings_and_a_plan_or_one_clear_line(items):
    with contextlib.suppress(UserError):
        composed = compose_settings(["experiment=smoke", *items])
        plan_training(composed)
        plan_path(composed)
