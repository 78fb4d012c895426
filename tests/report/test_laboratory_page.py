"""The page of the laboratory, from simulated records: one row for each explanation."""

import json
import shutil

import numpy as np
import pytest

from lightning_sparse.analysis.judge import judge_all
from lightning_sparse.analysis.laboratory import ESCAPES, SIGNS, laboratory
from lightning_sparse.analysis.stronger_search import SEARCHED
from lightning_sparse.cli.main import main
from lightning_sparse.errors import UserError
from lightning_sparse.files.manifests import write_record
from lightning_sparse.planning.laboratory import plan_all
from lightning_sparse.records import to_json
from lightning_sparse.report.document import write_report
from lightning_sparse.report.findings import Findings
from lightning_sparse.report.laboratory_page import Course, _geometric_means, write_page
from lightning_sparse.report.readme import markers
from lightning_sparse.settings.compose import compose_settings
from tests.analysis.claims.test_laboratory_truth import RULES, TRUTHS, records
from tests.analysis.claims.test_stronger_search import controls
from tests.analysis.claims.test_stronger_search import records as searched
from tests.analysis.simulate import (
    ENDS_AND_MIDDLE,
    HEADLINE_SPARSITY,
    evaluation,
    path_points,
    simulated_path,
)
from tests.analysis.test_critical_share import records as share_records

CHOSEN = ("laboratory.control=cyclic", "laboratory.detour=burst")
SIMULATED = ("experiment_name=simulated", *CHOSEN)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("laboratory")
    experiment = records(np.random.default_rng(0), *TRUTHS["true"])
    found = [*experiment.runs, *experiment.paths]
    claims = judge_all(found, headline_sparsity=HEADLINE_SPARSITY, rules=RULES)
    courses = [
        Course(arm=arm, seed=seed, steps=[1, 2], losses=[0.2, 0.0])
        for arm in ("cyclic", "burst")
        for seed in (31, 32)
    ]
    findings = Findings(found, HEADLINE_SPARSITY, RULES)
    write_page(findings, claims, courses, title="Simulated", folder=folder)
    return folder


def test_each_explanation_has_what_speaks_for_and_against_it_with_its_numbers(page):
    text = (page / "report.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| The ")]
    assert [row.split(":")[0] for row in rows] == [
        "| The subspace", "| The mask", "| The start", "| The time"
    ]  # fmt: skip
    subspace, mask, start, time = (row.split(" | ") for row in rows)
    assert "E1" in subspace[1]
    assert "E2" in subspace[1]
    assert "G" in subspace[1]
    assert "n = 10" in subspace[1]
    # Each claim on a line of its own, with its numbers below.
    assert subspace[1].count("<br>") == 2 * subspace[1].count("n = 10") - 1
    assert "E3" in mask[1]
    assert "I1" in start[1]
    assert "E1" in time[2]


def test_the_courses_are_drawn_and_what_was_not_trained_is_shown_as_missing(page):
    assert (page / "figures" / "escapes.png").stat().st_size > 5000
    assert 'id="escapes"' in (page / "report.html").read_text()
    rows = [line for line in (page / "report.md").read_text().splitlines() if "| jump" in line]
    assert rows == ["| jump | 0 | — | — | — | — |"]


def test_what_lies_down_the_gradient_is_listed_by_point_and_coordinates(page):
    text = (page / "report.md").read_text()
    assert "straight down the gradient outside" in text
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| scratch:end |")]
    found = {row[1]: (row[2], float(row[3])) for row in rows if row[2] != "0"}
    assert found.keys() == {"inside the mask", "outside"}
    assert found["outside"][0] == "10"
    assert found["outside"][1] / found["inside the mask"][1] == pytest.approx(9, rel=0.5)


def test_it_plans_each_arm_once_a_seed_and_takes_the_runs_of_the_main_experiment():
    jobs = plan_all(compose_settings(["experiment=smoke", "laboratory.seeds=[31]"]))
    assert len({job.run_id for job in jobs}) == len(jobs) == 26 + 5  # and the spectra
    titles = " ".join(job.title for job in jobs)
    assert "line burst:end to prune:end" in titles.replace("straight line", "line")
    assert {need.run_id for job in jobs for need in job.needs} <= {job.run_id for job in jobs}


@pytest.mark.parametrize(
    ("experiment", "routes", "num_seeds"),
    [
        ("fashion", ["burst:end to prune:end", "signs:end to prune:end"], 6),
        (
            "fashion_resnet50_small",
            ["burst:end to prune:end", "signs:end to prune:end", *["down the gradient"] * 6],
            1,
        ),
    ],
)
def test_on_fashion_it_asks_what_can_be_afforded_there(experiment, routes, num_seeds):
    jobs = plan_all(compose_settings([f"experiment={experiment}", *CHOSEN]))
    arms = [job.settings.method.name for job in jobs if job.kind == "train"]
    # Escapes, signs, and what they start from or end at.
    expected = {*ESCAPES, *SIGNS, "prune", "scratch"}
    assert {arm: arms.count(arm) for arm in arms} == dict.fromkeys(expected, num_seeds)
    paths = [job.title for job in jobs if job.kind == "path"]
    assert len(paths) == len(routes) * num_seeds
    for route in routes:
        assert sum(route in title for title in paths) == routes.count(route) * num_seeds
    longer = [job for job in jobs if job.settings.method.name in {"continued_5", "cyclic_5"}]
    steps = {job.settings.training.num_steps for job in longer}
    assert steps == {5 * jobs[0].settings.training.num_steps}


def test_claims_are_asked_by_name_and_the_rest_by_one_setting():
    words = [
        "experiment=fashion_resnet50_small", "laboratory.num_seeds_of_shares=0",
        "laboratory.num_seeds_of_spectra=1",
    ]  # fmt: skip
    signs_alone = ["laboratory.claims=[I2]", "laboratory.num_seeds_of_shares=1"]
    some, everything, signs = (
        {job.run_id: job for job in plan_all(compose_settings([*words, *more]))}
        for more in ([], ["laboratory.claims=[]"], signs_alone)
    )
    assert signs.keys() < some.keys() == everything.keys()
    arms = {job.settings.method.name for job in signs.values() if job.kind == "train"}
    assert arms == {*SIGNS, "prune"}
    # What is made on some of the seeds belongs to claims too.
    assert [job.title for job in signs.values() if job.kind == "path"] == [
        "straight line signs:end to prune:end, seed 31"
    ]
    assert sum(job.settings.path.spectrum is not None for job in some.values()) == 4
    with pytest.raises(
        UserError, match=r"no claim 'E4'; choose of E1, E2, E3, F1, F2, I1, I2, G, B\+"
    ):
        plan_all(compose_settings([*words, "laboratory.claims=[E4]"]))


def test_what_was_not_chosen_on_pilot_seeds_or_has_no_seed_is_refused():
    words = ["experiment=smoke", "laboratory.seeds=[31]"]
    unchosen = [*words, "laboratory.detour=null"]
    with pytest.raises(UserError) as caught:
        plan_all(compose_settings(unchosen))
    assert str(caught.value).startswith(
        "laboratory.control=cyclic, laboratory.detour=null: E compares arms that are chosen, and "
        "tuned, on the pilot seeds: run make pilot EXPERIMENT=NAME "
        "ARGS="
    )
    assert "pilot.arms=[continued,cyclic,jump,burst,burst_fade,burst_reprune" in str(caught.value)
    assert plan_all(compose_settings([*unchosen, "laboratory.claims=[I1]"]))
    with pytest.raises(UserError, match=r"num_seeds_of_shares=0: F2 is asked of no seed; say"):
        plan_all(compose_settings([*words, "laboratory.claims=[I1,F2]"]))


def test_courses_that_were_looked_at_at_other_steps_share_a_line():
    first, second = (
        Course(arm="cyclic", seed=seed, steps=steps, losses=[0.5] * len(steps))
        for seed, steps in [(31, [2, 4, 6, 12]), (32, [3, 6, 9, 12])]
    )
    assert _geometric_means([first, second]) == ([6, 12], pytest.approx([0.5, 0.5]))


def test_what_is_not_asked_is_not_judged_and_is_named(tmp_path):
    experiment = records(np.random.default_rng(0), *TRUTHS["true"])
    found = [*experiment.runs, *experiment.paths]
    asked = laboratory(control="cyclic", detour="burst", claims=["I1", "E2"])
    claims = judge_all(found, headline_sparsity=HEADLINE_SPARSITY, rules=asked)
    assert [claim.claim for claim in claims] == ["E2", "I1"]
    findings = Findings(found, HEADLINE_SPARSITY, asked)
    write_page(findings, claims, [], title="Simulated", folder=tmp_path)
    assert "Not asked here: E1, E3, F1, F2, I2, G and B+." in (tmp_path / "report.md").read_text()


def test_what_was_asked_of_no_seed_says_what_asks_it(page):
    text = (page / "report.md").read_text()
    (row,) = [line for line in text.splitlines() if line.startswith("| B+ |")]
    assert "asked of no seed so far; 6 seeds that all agree are the fewest that decide: " in row
    assert "ARGS=laboratory.num_seeds_of_search=6" in row


def test_a_stronger_search_is_planned_on_the_seeds_that_it_is_asked_of_and_listed(tmp_path):
    words = [
        "experiment=smoke", "laboratory.seeds=[31,32]", "laboratory.search_times=[4]",
        "laboratory.num_seeds_of_spectra=0",
    ]  # fmt: skip
    before, jobs = (
        plan_all(compose_settings([*words, f"laboratory.num_seeds_of_search={number}"]))
        for number in (0, 1)
    )
    added = [job for job in jobs if job.run_id not in {one.run_id for one in before}]
    # The line, and the strongest fit three times; two dense runs, two at the sparsity of the
    # control, and a line and a curve between each pair.
    assert len(added) == 1 + 3 + 2 * (2 + 2)
    assert all("seed 31" in job.title for job in added)
    assert sum(job.settings.path.training.num_steps == 24 for job in added) == 3
    assert {job.settings.sparsity for job in added if "at sparsity" in job.title} == {0.8}

    found = [*searched(lambda route, _: 0.2 / route.times, seeds=[31]).paths, *controls([], [31])]
    findings = Findings(found, HEADLINE_SPARSITY, RULES)
    claims = judge_all(found, headline_sparsity=HEADLINE_SPARSITY, rules=RULES)
    write_page(findings, claims, [], title="Simulated", folder=tmp_path)
    text = (tmp_path / "report.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| polygonal chain with 9 ")]
    assert [row.split(" | ")[-2] for row in rows] == ["0.200", "0.0500"]
    (said,) = [line for line in text.splitlines() if line.startswith("The verdict of B+ hangs on")]
    assert "control: dense **? undecided** (n = 1), control: in the mask " in said


def test_the_path_that_climbs_least_is_drawn_of_each_seed_that_was_searched(page, tmp_path):
    lowest = SEARCHED[-1]._replace(times=4)
    rises = {31: 0.02, 32: 0.07}
    found = searched(
        lambda route, seed: rises[seed] if route == lowest else 0.2, seeds=[*rises]
    ).paths
    found = [*found, *searched(lambda *_: 0.01, seeds=[33]).paths]
    # Seed 33 has no chain, so it was not chosen to be searched.
    found = [path for path in found if path.seed != 33 or "chain" not in path.curve]
    # Seed 31 was lost by the first fit that was tried.
    found = [path for path in found if path.seed != 31 or path.curve == lowest.curve]
    claims = judge_all(found, headline_sparsity=HEADLINE_SPARSITY, rules=RULES)
    write_page(Findings(found, HEADLINE_SPARSITY, RULES), claims, [], title="X", folder=tmp_path)
    assert (tmp_path / "figures" / "lowest.png").stat().st_size > 5000
    text = (tmp_path / "report.md").read_text()
    assert "re-inserted 9 times, 0 steps: 0.0200 (seed 31) and 0.0700 (seed 32). The" in text
    assert "No quadratic was fitted in 31: a seed in which a path leads down" in text
    assert not (page / "figures" / "lowest.png").exists()


def test_a_seed_is_searched_from_the_strongest_on_until_a_fit_leads_down(tmp_path):
    words = [
        "experiment=smoke", "laboratory.seeds=[31]", "laboratory.search_times=[4]",
        "laboratory.claims=[B+]", "laboratory.num_seeds_of_search=1", f"runs_dir={tmp_path}",
    ]  # fmt: skip
    settings = compose_settings(words)

    def missing():
        return [job for job in plan_all(settings) if job.kind == "path" and not job.is_finished]

    def fits():
        return [job for job in missing() if "chain" in job.run_id]

    def finish(job, rise):
        job.run_dir.mkdir(parents=True)
        points = path_points(evaluation(0.16), evaluation(0.04), rise, grid=ENDS_AND_MIDDLE)
        record = simulated_path(
            "scratch:end", "prune:end", 31, points=points, rules=2, num_classes=10,
            curve="chain", space="end_mask", run_id=job.run_id,
        )  # fmt: skip
        write_record(record, job.run_dir)

    nine, five = (f"chain_with_{bends}_bends" for bends in (9, 5))
    first = fits()
    assert [nine in job.run_id and "-x4-" in job.run_id for job in first] == [True] * 3
    for job in first:
        finish(job, rise=0.2)
    second = fits()
    assert [five in job.run_id and "-x4-" in job.run_id for job in second] == [True] * 3
    finish(second[0], rise=0.01)
    # What was tried stays among the jobs, and with it on the page; nothing more is asked for.
    assert fits() == []
    ids = {job.run_id for job in plan_all(settings)}
    assert {job.run_id for job in [*first, second[0]]} <= ids
    assert missing() != []


def test_critical_shares_are_drawn_and_listed_by_order(tmp_path):
    truths = {31: {"random": 0.2, "gradient": 0.05, "magnitude": 2.0}}
    found = [*share_records(truths).paths]
    findings = Findings(found, HEADLINE_SPARSITY, RULES)
    claims = judge_all(found, headline_sparsity=HEADLINE_SPARSITY, rules=RULES)
    write_page(findings, claims, [], title="Simulated", folder=tmp_path)
    rows = [line for line in (tmp_path / "report.md").read_text().splitlines() if "| 1 |" in line]
    shares = {row.split(" | ")[0].strip("| "): row.split(" | ")[2] for row in rows}
    assert {order: shares[order] for order in truths[31]} == {
        "random": "25.0 %", "gradient": "5.0 %", "magnitude": "—",
    }  # fmt: skip
    assert (tmp_path / "figures" / "shares.png").stat().st_size > 5000
    text = (tmp_path / "report.md").read_text()
    assert "| degree 2 in the mask | — | 1 | 0.400 | 0 |" in text
    assert "| quadratic, 25.0 % of the rest by random | — | 1 | 0.0100 | 1 |" in text


def test_the_main_page_leads_to_it_once_it_is_there(page, tmp_path):
    found = [*records(np.random.default_rng(0), *TRUTHS["true"]).runs]
    findings = Findings(found, HEADLINE_SPARSITY, 2)
    pages = []
    for folder in ("without", "with"):
        if folder == "with":
            shutil.copytree(page, tmp_path / folder / "laboratory")
        write_report(findings, [], title="Simulated", report_dir=tmp_path / folder)
        pages.append((tmp_path / folder / "report.html").read_text())
    assert ['href="laboratory/report.html"' in text for text in pages] == [False, True]


def test_the_laboratory_is_published_with_its_page_beside_what_else_has_been_made(
    page, tmp_path, monkeypatch, capsys
):
    words = ["publish", f"runs_dir={tmp_path}/runs", "experiment_name=simulated"]
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert "no file runs/reproduce/records.jsonl" in capsys.readouterr().err.replace(
        f"{tmp_path}/", ""
    )
    source = tmp_path / "runs" / "reproduce" / "laboratory"
    shutil.copytree(page, source)
    experiment = records(np.random.default_rng(0), *TRUTHS["true"])
    lines = [to_json(record) for record in (*experiment.runs, *experiment.paths)]
    (source / "records.jsonl").write_text("\n".join(lines) + "\n")
    (source / "claims.json").write_text("[]\n")
    # All or nothing.
    assert main(words) == 2
    assert "courses.jsonl; run `make laboratory` first" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()
    courses = [
        {"arm": arm, "seed": 31, "steps": steps, "losses": [0.2] * len(steps)}
        for arm, steps in (("cyclic", [1, 2]), ("burst", [1, 2]), ("cyclic_5", [1, 10]))
    ]
    (source / "courses.jsonl").write_text("".join(json.dumps(one) + "\n" for one in courses))
    # What `make laboratory` ends with, from the records that it has left.
    assert main(["report", *SIMULATED, f"runs_dir={tmp_path}/runs"]) == 0
    assert "6 supported" in (source / "report.md").read_text()

    assert main(words) == 0
    target = tmp_path / "results" / "simulated" / "laboratory"
    published = {str(file.relative_to(target)) for file in target.rglob("*") if file.is_file()}
    assert published == {
        "records.jsonl", "claims.json", "courses.jsonl", "report.md", "figures/escapes.png",
    }  # fmt: skip
    assert all((target / name).read_bytes() == (source / name).read_bytes() for name in published)
    assert not (tmp_path / "results" / "simulated" / "records.jsonl").exists()
    check_published_page(target, (source / "report.md").read_bytes(), capsys)
    check_tables_of_pages(tmp_path, capsys)


def check_published_page(target, expected, capsys):
    """``report`` draws a published page again from what is published with it."""
    again = ["report", *SIMULATED, "runs_dir=results", "reproduce.dir=simulated"]
    (target / "report.md").unlink()
    assert main(again) == 0
    assert (target / "report.md").read_bytes() == expected
    courses = (target / "courses.jsonl").read_text()
    (target / "courses.jsonl").write_text(
        '{"arm": "burst", "seed": 31, "steps": [1], "losses": []}'
    )
    assert main(again) == 2
    assert "courses.jsonl:1: is no course (steps and losses" in capsys.readouterr().err
    (target / "courses.jsonl").write_text(courses)


def check_tables_of_pages(folder, capsys):
    """``readme`` puts table, figures and claims into one page, the table alone into another."""
    begin, end = markers("simulated, laboratory")
    page = folder / "docs" / "laboratory.md"
    assert main(["readme", *SIMULATED]) == 2
    assert "no file docs/laboratory.md" in capsys.readouterr().err
    page.parent.mkdir()
    for file in (page, folder / "README.md"):
        file.write_text(f"# Title\n\n{begin}\n{end}\n")
    assert main(["readme", *SIMULATED]) == 0
    text, short = page.read_text(), (folder / "README.md").read_text()
    assert "](../results/simulated/laboratory/figures/escapes.png)" in text
    assert "figures/shares.png" not in text  # no share was freed
    for written in (text, short):
        assert "detour beats staying inside, ratio of losses: 1." in written
        assert len([line for line in written.splitlines() if line.startswith("| The ")]) == 4
    assert [line[:6] for line in text.splitlines() if line.startswith("| E1")] == ["| E1 |"]
    assert "| E1 |" not in short
