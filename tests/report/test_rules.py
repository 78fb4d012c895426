"""Pages under both sets of rules: the old ones stay as they were, the new ones show R, M and H."""

import dataclasses
import hashlib
import json
import re
from pathlib import Path

import pytest

from lightning_sparse.analysis.claim import to_json
from lightning_sparse.analysis.judge import judge_all
from lightning_sparse.analysis.triples import judge_triples
from lightning_sparse.planning.laboratory import rules
from lightning_sparse.points import parse_point
from lightning_sparse.records import read_records
from lightning_sparse.report.document import make_document
from lightning_sparse.report.markdown import render_markdown
from lightning_sparse.report.readme import SEARCH, in_full, in_short, markers, picture
from lightning_sparse.settings.compose import compose_settings
from tests.analysis.simulate import (
    ENDS_AND_MIDDLE,
    FULL_GRID,
    HEADLINE_SPARSITY,
    path_points,
    simulated_path,
    simulated_records,
)
from tests.report.found import found as found_in

ROOT = Path(__file__).parents[2]
LETTERS = re.compile(r"(?<![\w-])(D2?|P|S|L)-(start|end)(?![\w-])")  # not in run ids
PUBLISHED = ("digits", "digits_resnet")

# Of report.md, made from the published records before there were rules 2, but for the words of
# points, which were letters then.
PAGES_OF_RULES_1 = {
    "digits": "8873eace250b6360a1355265be99b7ad45b9fcef183978057c1d785bb1e175bd",
    "digits_resnet": "587fa976029673136243eebc2e27063336bcfa4496abc56c66a7ac1b77158c6a",
}
TITLES = {
    "digits": "Handwritten digits, four-layer convolutional network",
    "digits_resnet": ("Handwritten digits, ResNet-50's bottleneck topology at one eighth width"),
}


@pytest.fixture(scope="module", params=PUBLISHED)
def published(request):
    name = request.param
    records = read_records(ROOT / "results" / "rules_1" / name / "records.jsonl")
    return name, records, judge_all(records, headline_sparsity=HEADLINE_SPARSITY)


def test_published_verdicts_are_judged_again_to_the_last_bit(published):
    name, _, claims = published
    file = ROOT / "results" / "rules_1" / name / "claims.json"
    then = file.read_text(encoding="utf-8")
    assert to_json(claims) == LETTERS.sub(lambda found: str(parse_point(found[0])), then)


def test_the_page_of_results_shows_what_the_published_records_give(published):
    name, records, claims = published
    page = ROOT / "docs" / "results.md"
    triples = judge_triples(records, headline_sparsity=HEADLINE_SPARSITY)
    figure = ROOT / "results" / "rules_1" / name / "headline.png"

    begin, end = markers(f"{name}, rules 1")
    shown = page.read_text(encoding="utf-8").partition(begin)[2].partition(end)[0]

    assert shown.strip() == f"{picture(figure, page)}\n\n{in_full(records, claims, triples)}"


def test_what_was_published_under_rules_2_is_judged_again_and_shown_on_both_pages():
    folder = ROOT / "results" / "digits"
    records = read_records(folder / "records.jsonl")
    claims = judge_all(records, headline_sparsity=HEADLINE_SPARSITY)
    assert to_json(claims) == (folder / "claims.json").read_text(encoding="utf-8")

    triples = judge_triples(records, headline_sparsity=HEADLINE_SPARSITY)
    begin, end = markers("digits")
    readme, page_of_results = ROOT / "README.md", ROOT / "docs" / "results.md"
    search = picture(folder / "search.png", page_of_results, SEARCH)
    pages = {
        readme: in_short(records, claims),
        page_of_results: f"{search}\n\n{in_full(records, claims, triples)}",
    }
    for page, results in pages.items():
        shown = page.read_text(encoding="utf-8").partition(begin)[2].partition(end)[0]
        assert shown.strip() == f"{picture(folder / 'headline.png', page)}\n\n{results}"


@pytest.mark.parametrize("experiment", ["digits", "fashion"])
def test_what_the_laboratory_published_is_what_its_records_give_today(experiment):
    folder = ROOT / "results" / experiment / "laboratory"
    settings = compose_settings([f"experiment={experiment}"])
    records = read_records(folder / "records.jsonl")
    claims = judge_all(records, headline_sparsity=settings.sparsity, rules=rules(settings))
    today = json.loads(to_json(claims))
    # Of what was asked: on Fashion-MNIST not everything was.
    then = json.loads((folder / "claims.json").read_text(encoding="utf-8"))
    assert then
    assert [claim for claim in then if claim not in today] == []


def test_the_page_of_rules_1_is_what_it_was(published):
    name, records, claims = published
    findings = found_in(records, HEADLINE_SPARSITY, rules=1)
    triples = judge_triples(records, headline_sparsity=HEADLINE_SPARSITY, rules=1)
    page = render_markdown(make_document(findings, claims, triples, title=TITLES[name]))
    assert hashlib.sha256(page.encode()).hexdigest() == PAGES_OF_RULES_1[name]


@pytest.fixture(scope="module")
def new_page():
    records = simulated_records(
        range(31, 43), rules=2, sparsities=[HEADLINE_SPARSITY], grid=FULL_GRID
    )
    ends = {record.run_id: record.train for record in records if record.kind == "run"}
    records += [
        simulated_path(
            "scratch:end", "prune:end", seed, degree=2, space="end_mask", rules=2, num_classes=10,
            run_id=f"longer-{times}-{seed}", steps_multiplier=times, num_steps=1500 * times,
            points=path_points(
                ends[f"scratch-init_scratch-0.98-seed{seed}"],
                ends[f"prune-init-0.98-seed{seed}"],
                0.2 / times,
                grid=ENDS_AND_MIDDLE,
            ),
        )
        for seed in range(31, 37)
        for times in (4, 16)
    ]  # fmt: skip
    claims = judge_all(records, headline_sparsity=HEADLINE_SPARSITY)
    triples = judge_triples(records, headline_sparsity=HEADLINE_SPARSITY)
    findings = found_in(records, HEADLINE_SPARSITY, rules=2)
    return claims, make_document(findings, claims, triples, title="New")


def test_a_page_of_rules_2_shows_descent_rise_and_barrier_of_every_path(new_page):
    claims, document = new_page
    text = render_markdown(document)
    assert "| path | descent R | rise M | barrier H | R of the objective |" in text
    assert "scratch solution to pruned solution at 80" in text
    assert "tolerance (tol)" not in text
    assert "- **descent (R)**" in text
    assert "2 disjoint sixes" in text
    assert {claim.rules for claim in claims} == {2}


def test_a_path_of_rules_2_says_in_how_many_seeds_it_stays_within_delta(new_page):
    _, document = new_page
    (rows,) = [
        block.rows
        for section in document.sections
        for block in section.blocks
        if "barrier H" in getattr(block, "columns", ())
    ]
    counts = {}
    for row in rows:
        route, descent, rise, barrier, *_ = row.cells
        name = f"{route[0]} {route[1].text}".replace("\N{NO-BREAK SPACE}", " ")
        counts[name] = [cell[-1].text for cell in (descent, rise, barrier)]
    assert counts["lottery solution → pruned solution straight line at 98 %"] == [
        f"{number} of 12 within delta" for number in (7, 0, 3)
    ]
    longest = (
        "scratch solution → pruned solution quadratic curve inside the mask, 16 times the steps"
    )
    assert counts[f"{longest} at 98 %"] == ["6 of 6 within delta"] * 3


def test_a_page_of_rules_2_names_holms_p_and_every_seed(new_page):
    _, document = new_page
    (verdicts,) = [block for block in document.opening if hasattr(block, "rows")]
    assert verdicts.columns[-2:] == ["p (Holm)", "rule"]
    (section,) = [section for section in document.sections if section.title == "Seed by seed"]
    (table,) = section.blocks
    assert [row.cells[0] for row in table.rows] == [str(seed) for seed in range(31, 43)]
    assert "A: control scratch:start to scratch:end" in table.columns


def test_r_against_steps_is_drawn_beside_b(new_page):
    _, document = new_page
    names = [picture.name for picture in document.pictures]
    assert names.index("search") == names.index("solutions") + 1
    (search,) = [picture for picture in document.pictures if picture.name == "search"]
    assert "nats at 1,500, 6,000 and 24,000 steps" in search.caption


def test_without_longer_fits_nothing_is_drawn_of_them():
    records = simulated_records([31], rules=2, sparsities=[HEADLINE_SPARSITY])
    findings = found_in(records, HEADLINE_SPARSITY, rules=2)
    names = [picture.name for picture in make_document(findings, [], title="").pictures]
    assert "solutions" in names
    assert "search" not in names


def test_what_a_claim_needs_is_said_beside_it():
    few = simulated_records(
        range(31, 36), rules=2, sparsities=[HEADLINE_SPARSITY], grid=ENDS_AND_MIDDLE
    )
    claims = judge_all(few, headline_sparsity=HEADLINE_SPARSITY)
    findings = found_in(few, HEADLINE_SPARSITY, rules=2)
    text = render_markdown(make_document(findings, claims, title=""))
    assert "To decide it: at the effect seen, 6 seeds would decide it" in text
    assert "make reproduce EXPERIMENT=simulated SEEDS=31,32,33,34,35,36" in text
    assert json.loads(to_json(claims))[0]["outlook"]


def test_rules_1_can_be_asked_of_new_records():
    records = simulated_records([31, 32], rules=2, sparsities=[HEADLINE_SPARSITY])
    claims = judge_all(records, headline_sparsity=HEADLINE_SPARSITY, rules=1)
    text = render_markdown(
        make_document(found_in(records, HEADLINE_SPARSITY, rules=1), claims, title="")
    )
    assert "largest rise of the loss" in text
    assert dataclasses.asdict(claims[0])["rules"] == 1
