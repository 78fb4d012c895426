import html
import re
import struct
import subprocess
import sys

import pytest

from lightning_sparse.analysis.experiment import CUBIC
from lightning_sparse.analysis.judge import judge_all
from lightning_sparse.analysis.triples import judge_triples
from lightning_sparse.records import PathRecord, RunRecord
from lightning_sparse.report.document import QUESTION, make_document, write_report
from lightning_sparse.report.markdown import render_markdown
from lightning_sparse.report.style import PAPER_ADDRESS, VERDICT_SYMBOLS
from tests.analysis.simulate import ENDS_AND_MIDDLE, HEADLINE_SPARSITY, simulated_records
from tests.report.conftest import HOSTILE
from tests.report.found import found as found_in
from tests.report.page import Page

FIGURES = ["headline", "positive-control", "solutions", "sparsity", "starts"]


@pytest.fixture(scope="module")
def source(report_dir):
    return (report_dir / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(source):
    return Page(source)


def document_of(records, claims=()):
    findings = found_in(records, HEADLINE_SPARSITY)
    document = make_document(findings, claims, title="Some pieces")
    return [picture.name for picture in document.pictures], render_markdown(document)


def test_the_page_opens_with_the_question_in_two_sentences(page):
    assert page.text.split("Digits & friends")[2].strip().startswith(QUESTION)
    assert len(re.findall(r"[.?](?= |$)", QUESTION)) == 2


def test_every_claim_and_part_stands_beside_its_verdict_and_numbers(page, claims):
    table = {row[0]: row for row in page.rows if len(row) == 7}
    results = [result for claim in claims for result in (claim, *claim.parts)]
    for result in results:
        name, statement, verdict, estimate, interval, seeds, _ = table[result.claim]
        assert name == result.claim
        assert statement.startswith(result.statement)
        assert verdict == f"{VERDICT_SYMBOLS[result.verdict]} {result.verdict}"
        assert float(estimate) == pytest.approx(result.estimate, rel=0.006)
        assert list(map(float, interval.split(" to "))) == pytest.approx(result.interval, rel=0.006)
        assert seeds == "3"
    assert {result.verdict for result in results} == {"supported", "undecided"}


def test_other_seeds_are_heard_as_soon_as_there_are_two_triples(report_dir, tmp_path):
    records = simulated_records(
        range(11, 17), sparsities=(HEADLINE_SPARSITY,), grid=ENDS_AND_MIDDLE
    )
    claims = judge_all(records, headline_sparsity=HEADLINE_SPARSITY)
    triples = judge_triples(records, headline_sparsity=HEADLINE_SPARSITY)
    findings = found_in(records, HEADLINE_SPARSITY)
    write_report(findings, claims, triples, title="", report_dir=tmp_path)
    for folder, is_there in ((report_dir, False), (tmp_path, True)):
        text = (folder / "report.md").read_text()
        assert ("What other seeds would have said" in text) == is_there
        assert ("seeds 14 to 16 |" in text) == is_there


def test_units_rules_and_remarks_of_claims_are_on_the_page(page, claims):
    for claim in claims:
        assert claim.unit in page.text
        assert claim.note in page.text
        assert claim.rule in page.row_of[f"rule-{claim.claim.replace(' ', '-')}"][1]


def test_every_record_has_a_row_that_shows_its_run_id(page, records):
    shown = {row[1] for anchor, row in page.row_of.items() if re.fullmatch(r"R\d+", anchor)}
    assert shown == {record.run_id for record in records}


def test_a_reference_leads_to_the_row_of_its_record(source, page, findings):
    known = {findings.label(record.run_id): record.run_id for record in findings.records}
    titles = dict(re.findall(r'<a href="#(R\d+)" title="([^"]*)"', source))
    assert {label: html.unescape(title) for label, title in titles.items()} == known
    assert {label: page.row_of[label][:2] for label in known} == {
        label: [label, run_id] for label, run_id in known.items()
    }


def test_many_references_are_folded_and_few_are_not(source, page):
    folded = re.findall(r"<details><summary>(\d+) records</summary>(.*?)</details>", source)
    assert folded
    for number, references in folded:
        assert int(number) == references.count("<a ") > 6
    assert len(folded) < len([row for row in page.rows if row[-1].startswith("R")])


def test_links_inside_the_page_have_their_targets(page):
    inside = {link.removeprefix("#") for link in page.links if link.startswith("#")}
    assert inside <= set(page.ids)
    assert len(inside) > 80


def test_every_id_is_used_once(page):
    # Glyphs of the figures' font are drawn alike in every figure, and may share their ids.
    ids = [name for name in page.ids if not name.startswith(("DejaVu", "figure_", "patch_"))]
    own = [name for name in ids if re.fullmatch(r"R\d+|rule-.*|m[0-9a-f]{10}|p[0-9a-f]{10}", name)]
    assert len(own) == len(set(own))


def test_nothing_is_loaded_and_nothing_is_run(page, source):
    assert [target for target in page.loads if not target.startswith("#")] == []
    assert {link for link in page.links if not link.startswith("#")} == {PAPER_ADDRESS}
    assert page.tags.isdisjoint({"script", "link", "iframe", "object", "embed", "base", "form"})
    assert "@import" not in source
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", source))


def test_text_of_records_is_never_markup(page, source, report_dir):
    assert "<script" not in source
    assert HOSTILE in page.text
    markdown = (report_dir / "report.md").read_text(encoding="utf-8")
    assert "<script" not in markdown
    assert "&lt;script&gt;alert('x')&lt;/script&gt;\\|\\`\\*" in markdown


def test_figures_are_on_the_page_and_beside_it_in_both_formats(page, report_dir):
    folder = report_dir / "figures"
    assert sorted(file.name for file in folder.iterdir()) == sorted(
        f"{name}.{ending}" for name in FIGURES for ending in ("png", "svg")
    )
    assert set(FIGURES) - {"headline"} <= set(page.ids)
    for name in FIGURES:
        width, height = struct.unpack(">II", (folder / f"{name}.png").read_bytes()[16:24])
        assert 900 < width < 1700
        assert 500 < height < 800
        svg = (folder / f"{name}.svg").read_text(encoding="utf-8")
        assert svg.startswith("<?xml")
        assert svg.endswith("</svg>\n")


def test_the_markdown_copy_has_the_same_tables_and_shows_the_figures(page, report_dir):
    markdown = (report_dir / "report.md").read_text(encoding="utf-8")
    lines = [line for line in markdown.splitlines() if line.startswith("| ")]
    num_tables = sum("---" in line for line in lines)
    assert len(lines) - num_tables == len(page.rows)
    for name in set(FIGURES) - {"headline"}:
        assert f"![{name}](figures/{name}.png)" in markdown
    assert f"2019, [arXiv 1906.10732]({PAPER_ADDRESS})" in markdown


def test_the_limits_are_said_plainly(page):
    assert "full text is not claimed to be reproduced" in page.text
    assert "Masks simulate sparsity: nothing here is faster for being sparse" in page.text
    for term in ("prune:end", "largest rise", "tolerance (tol)", "extrapolation"):
        assert term in page.text


def test_how_it_was_measured_comes_from_the_records(page):
    facts = {row[0]: row[1] for row in page.rows if len(row) == 2}
    assert facts["experiment"] == HOSTILE
    assert facts["seeds"] == "11, 12, 13"
    assert facts["batch-norm statistics along paths"] == "recalibrated, 512 images"
    assert facts["commit"] == "0" * 40
    assert facts["versions: torch"] == "2.11.0"
    assert facts["records"] == "42 runs and 39 paths"


def test_without_any_record_every_section_says_what_is_missing(tmp_path):
    write_report(found_in([], HEADLINE_SPARSITY), [], title="Nothing", report_dir=tmp_path)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "No claim has been judged yet." in page.text
    assert "No end point has been trained" in page.text
    assert "No path has been measured." in page.text
    assert "Missing end points: dense, pruned at 98\xa0%" in page.text
    assert not (tmp_path / "figures").exists()


def test_missing_arms_and_curves_are_named_and_the_rest_is_drawn():
    records = [
        record
        for record in simulated_records([11], sparsities=(HEADLINE_SPARSITY,), grid=ENDS_AND_MIDDLE)
        if not (isinstance(record, RunRecord) and record.method == "lottery")
        and not (
            isinstance(record, PathRecord)
            and (record.curve == CUBIC or record.start == "lottery:end")
        )
    ]
    pictures, text = document_of(records)
    assert pictures == ["sparsity", "starts", "solutions", "positive-control"]
    assert "> Missing end points: lottery at 98 %.\n" in text
    assert (
        "> Not measured: scratch solution → pruned solution, cubic curve inside the mask; scratch "
        "solution → pruned solution, cubic curve in the dense space; lottery solution → pruned "
        "solution, straight line.\n"
    ) in text


def test_runs_without_paths_are_reported(records):
    pictures, text = document_of([record for record in records if isinstance(record, RunRecord)])
    assert pictures == ["sparsity"]
    assert "> No path has been measured.\n" in text


def test_paths_without_runs_are_reported(records):
    pictures, text = document_of([record for record in records if isinstance(record, PathRecord)])
    assert pictures == ["starts", "solutions", "positive-control"]
    assert "> No end point has been trained" in text


def test_the_report_needs_no_torch():
    code = (
        "import sys, lightning_sparse.report.document, lightning_sparse.report.terminal, "
        "lightning_sparse.report.readme; "
        "sys.exit(any(name in sys.modules for name in "
        "('torch', 'pytorch_lightning', 'matplotlib.pyplot')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.browser
def test_the_page_fits_a_window_without_scrolling_sideways(source, chromium, tmp_path):
    probe = (
        "<script>document.title = [document.documentElement.scrollWidth, "
        "...[...document.querySelectorAll('.table')].map(t => t.scrollWidth - t.clientWidth)]"
        ".join(' ')</script>"
    )
    (tmp_path / "page.html").write_text(source.replace("</body>", f"{probe}</body>"), "utf-8")
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
        "--disable-background-networking --disable-component-update --window-size=1100,900"
    )
    command = [str(chromium), *flags.split(), f"--user-data-dir={tmp_path}/profile", "--dump-dom"]
    command.append((tmp_path / "page.html").as_uri())
    shown = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout
    width, *overflows = map(int, re.findall(r"<title>([\d ]+)</title>", shown)[0].split())
    assert width <= 1100
    assert overflows == [0] * len(overflows)
