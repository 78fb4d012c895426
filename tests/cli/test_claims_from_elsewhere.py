"""The recipe of CONTRIBUTING.md for a claim: one value of a user's, from plan to report."""

import dataclasses
import json

import pytest

from lightning_sparse.cli.main import main
from lightning_sparse.errors import UserError
from lightning_sparse.planning.reproduce import plan_all
from lightning_sparse.records import to_json
from lightning_sparse.settings.compose import compose_settings
from tests.analysis.simulate import (
    ENDS_AND_MIDDLE,
    HEADLINE_SPARSITY,
    path_points,
    simulated_path,
    simulated_records,
)

MODULE = """
from lightning_sparse.analysis.experiment import QUADRATIC, Route
from lightning_sparse.analysis.measured_descents import BARRIER_RULE, SHARE_RULE
from lightning_sparse.analysis.question import in_most_seeds
from lightning_sparse.analysis.share_claim import SeedOutcome, ShareClaim

CLAIM = ShareClaim(
    name="E",
    statement="A curve inside the mask joins the lottery solution to the pruned one.",
    rule=f"{BARRIER_RULE} A seed holds if H <= delta on the quadratic curve. {SHARE_RULE}",
)
ROUTES = (Route("lottery:end", "prune:end", QUADRATIC, "sparse"),)


def outcome(paths):
    (curve,) = paths
    return SeedOutcome(holds=curve.has_no_barrier, value=curve.barriers.worse_end)


QUESTION = in_most_seeds(CLAIM, ROUTES, outcome, controls=("control: dense",))
TWICE = in_most_seeds(ShareClaim(name="B", statement="", rule=""), ROUTES, outcome)
UNCONTROLLED = in_most_seeds(CLAIM, ROUTES, outcome, controls=("control: none",))
"""
SEEDS = range(31, 37)
ADDED = "reproduce.further_claims=[her_claims.QUESTION]"


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / "her_claims.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)


def records():
    """What an experiment with this claim would have left, of which its curve has no barrier."""
    found = simulated_records(SEEDS, rules=2, grid=ENDS_AND_MIDDLE)
    ends = {record.run_id: record.train for record in found if record.kind == "run"}
    for seed in SEEDS:
        first, last = (ends[f"{arm}-init-0.98-seed{seed}"] for arm in ("lottery", "prune"))
        points = path_points(first, last, 0.0, grid=ENDS_AND_MIDDLE)
        found.append(
            simulated_path(
                "lottery:end", "prune:end", seed, degree=2, space="end_mask", points=points,
                rules=2, num_classes=10,
            )
        )  # fmt: skip
    return [dataclasses.replace(record, experiment="smoke") for record in found]


def test_what_it_needs_is_planned_after_what_the_others_need():
    words = ["experiment=smoke", "reproduce.seeds=[31]"]
    before = [job.run_id for job in plan_all(compose_settings(words))]
    after = [job.run_id for job in plan_all(compose_settings([*words, ADDED]))]
    (new,) = set(after) - set(before)
    assert [run_id for run_id in after if run_id != new] == before
    assert new.startswith("smoke-L-end-to-P-end-degree2-end_mask")


def test_what_one_claim_needs_can_be_planned_alone():
    words = ["experiment=smoke", "reproduce.seeds=[31]", "reproduce.control_sparsity=null", ADDED]
    alone = plan_all(compose_settings([*words, "reproduce.claims=[E]"]))
    assert [job.kind for job in alone] == ["train", "train", "path"]


def test_it_is_judged_and_reported_like_any_other(tmp_path):
    folder = tmp_path / "reproduce_smoke"
    folder.mkdir()
    lines = [to_json(record) for record in records()]
    (folder / "records.jsonl").write_text("\n".join(lines) + "\n")
    where = ["experiment=smoke", f"sparsity={HEADLINE_SPARSITY}", f"runs_dir={tmp_path}"]

    assert main(["report", *where, ADDED]) == 0

    claims = {item["claim"]: item for item in json.loads((folder / "claims.json").read_text())}
    assert list(claims)[-1] == "E"
    assert (claims["E"]["verdict"], claims["E"]["num_seeds"]) == ("supported", 6)
    page = (folder / "report.md").read_text()
    assert "(claims B, C, C1, E)" in page
    assert "A curve inside the mask joins the lottery solution to the pruned one." in page
    assert "Not measured" not in page


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("her_claims.NOTHING", r"cannot be imported \(.*No module named .her_claims.NOTHING"),
        ("her_claims.CLAIM", "is a ShareClaim, no claim; name a Question"),
        ("her_claims.TWICE", "claim 'B' comes twice"),
        ("her_claims.UNCONTROLLED", "its control 'control: none' is none of rules 2"),
    ],
)
def test_what_is_no_claim_or_does_not_fit_is_refused(name, said):
    settings = compose_settings(["experiment=smoke", f"reproduce.further_claims=[{name}]"])
    with pytest.raises(UserError, match=said):
        plan_all(settings)


def test_an_unknown_claim_is_refused_with_those_that_there_are():
    settings = compose_settings(["experiment=smoke", "reproduce.claims=[Z]"])
    with pytest.raises(
        UserError, match="there is no claim 'Z'; choose one of A, B, C, C1, control"
    ):
        plan_all(settings)
