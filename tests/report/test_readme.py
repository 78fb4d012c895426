"""Results go into pages, between markers."""

import pytest

from lightning_sparse.analysis.triples import Triple
from lightning_sparse.errors import UserError
from lightning_sparse.report.readme import (
    has_markers,
    in_full,
    in_short,
    markers,
    picture,
    update_page,
)
from tests.report.conftest import HOSTILE

BEGIN, END = markers("digits")


@pytest.fixture
def page(tmp_path):
    file = tmp_path / "README.md"
    file.write_text(f"# Title\n\n{BEGIN}\nold results\n{END}\n\nThe rest.\n", encoding="utf-8")
    return file


def test_results_replace_what_is_between_the_markers_and_nothing_else(page):
    update_page(page, "digits", "new results")
    first = page.read_text(encoding="utf-8")
    update_page(page, "digits", "new results")

    assert first == f"# Title\n\n{BEGIN}\n\nnew results\n\n{END}\n\nThe rest.\n"
    assert page.read_text(encoding="utf-8") == first


def test_two_experiments_stand_side_by_side(page):
    begin, end = markers("digits, rules 1")
    page.write_text(f"{page.read_text()}\n{begin}\n{end}\n", encoding="utf-8")

    update_page(page, "digits", "new results")

    text = page.read_text(encoding="utf-8")
    assert text.endswith(f"{END}\n\nThe rest.\n\n{begin}\n{end}\n")
    assert has_markers(page, "digits, rules 1")
    assert not has_markers(page, "digits_resnet")
    assert not has_markers(page.parent / "none.md", "digits")


@pytest.mark.parametrize(
    "text",
    ["no markers", f"{BEGIN}", f"{END}\n{BEGIN}", f"{BEGIN}{END}{END}", f"{BEGIN}{BEGIN}{END}"],
)
def test_markers_that_are_missing_doubled_or_swapped_are_refused(page, text):
    page.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="once each and in this order"):
        update_page(page, "digits", "new results")
    assert page.read_text(encoding="utf-8") == text


def test_a_page_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match="no file"):
        update_page(tmp_path / "README.md", "digits", "new results")


def test_the_full_page_has_a_row_for_every_claim_and_part(records, claims):
    text = in_full(records, claims, [])
    assert "seeds 11 to 13: 42 trained networks and 39 paths." in text
    for claim in claims:
        (row,) = [line for line in text.splitlines() if line.startswith(f"| {claim.claim} |")]
        assert claim.statement in row
        assert f" {claim.verdict}**" in row
    parts = [part for claim in claims for part in claim.parts]
    assert parts
    assert all(f"| &nbsp;&nbsp;{part.claim} |" in text for part in parts)


def test_the_short_one_has_a_row_for_every_claim_and_nothing_more(records, claims):
    rows = [line for line in in_short(records, claims).splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + len(claims)
    for row, claim in zip(rows[2:], claims, strict=True):
        assert row.startswith(f"| {claim.claim} | {claim.statement} | ")
        assert f" {claim.verdict}**" in row
        assert row.endswith(f"| {claim.num_seeds} |")


def test_triples_of_seeds_follow_the_claims_where_there_are_some(records, claims):
    triple = Triple(seeds=(12, 13, 14), claims=tuple(claims))
    assert "triples" not in in_full(records, claims, [])
    text = in_full(records, claims, [triple, triple])
    assert "| claim | all seeds | seeds 12 to 14 | seeds 12 to 14 |" in text


def test_names_from_records_are_escaped(records, claims):
    assert HOSTILE.startswith("<script>")
    assert "<script" not in in_full(records, claims, []) + in_short(records, claims)


def test_a_figure_is_found_from_the_page_that_shows_it(tmp_path):
    figure = tmp_path / "results" / "digits" / "headline.png"
    figure.parent.mkdir(parents=True)
    figure.write_bytes(b"picture")

    assert picture(figure, tmp_path / "README.md").endswith("](results/digits/headline.png)")
    beside = picture(figure, tmp_path / "docs" / "results.md")
    assert beside.endswith("](../results/digits/headline.png)")
    with pytest.raises(UserError, match="must lie near"):
        picture(figure, tmp_path / "docs" / "deeper" / "results.md")
    with pytest.raises(UserError, match="no such file"):
        picture(tmp_path / "other.png", tmp_path / "README.md")
