import dataclasses
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_sparse.errors import UserError
from lightning_sparse.records import (
    RECORD_VERSION,
    Evaluation,
    Flops,
    LayerSparsity,
    PathRecord,
    RunRecord,
    from_json,
    read_records,
    select_runs,
    to_json,
)
from tests.analysis.simulate import (
    ENDS_AND_MIDDLE,
    evaluation,
    simulated_records,
    simulated_run,
)

RECORDS = simulated_records([11], grid=ENDS_AND_MIDDLE, sparsities=[0.98])
RUN = next(record for record in RECORDS if isinstance(record, RunRecord))
PATH = next(record for record in RECORDS if isinstance(record, PathRecord))
BODIES = [json.loads(to_json(record)) for record in (RUN, PATH)]

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["run", "path", "dense"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


def places(node, path=()):
    """List every place in a JSON tree, the root included."""
    if not isinstance(node, dict | list):
        return [path]
    children = node.items() if isinstance(node, dict) else enumerate(node)
    return [path, *(place for key, child in children for place in places(child, (*path, key)))]


def parent_of(body, place):
    node = body
    for key in place[:-1]:
        node = node[key]
    return node


@st.composite
def mutated_lines(draw):
    body = json.loads(json.dumps(draw(st.sampled_from(BODIES))))
    place = draw(st.sampled_from(places(body)[1:]))
    node = parent_of(body, place)
    if draw(st.booleans()):
        node[place[-1]] = draw(json_values)
    else:
        del node[place[-1]]
    text = json.dumps(body)
    return text[: draw(st.sampled_from([len(text), len(text) // 2, len(text) - 1]))]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.run_id)
def test_a_record_survives_its_line(record):
    line = to_json(record)
    assert "\n" not in line
    assert from_json(line) == record


def test_a_record_is_read_into_the_types_it_was_written_from():
    read = from_json(to_json(PATH))
    assert isinstance(read, PathRecord)
    assert isinstance(read.points[0].train, Evaluation)
    run = from_json(to_json(RUN))
    assert isinstance(run, RunRecord)
    assert isinstance(run.layers["conv1"], LayerSparsity)


@given(mutated_lines())
def test_a_mutated_line_is_a_clear_error_or_a_record_that_says_what_the_line_says(line):
    try:
        read = from_json(line, where="records.jsonl:7")
    except UserError as error:
        outcome = str(error)
    else:
        # Equal as Python values: an integer may have become the float it equals.
        outcome = "records.jsonl:7 " if json.loads(to_json(read)) == json.loads(line) else "wrong"
    assert outcome.startswith("records.jsonl:7")
    assert "\n" not in outcome


@pytest.mark.parametrize(
    "name",
    ["../up", "/etc", "a/b", "a\\b", "..", ".", ".hidden", "-x", "", "a\0b", "a\nb", "\x1b[31m",
     "x" * 201],
    ids=ascii,
)  # fmt: skip
@pytest.mark.parametrize("field", ["run_id", "experiment", "mask_source", "start_run", "end_run"])
def test_a_name_that_leads_out_of_its_folder_is_refused(field, name):
    body = next(body for body in BODIES if field in body)
    with pytest.raises(
        UserError, match=rf"^r\.jsonl:3\.{field}: .* is not the plain name"
    ) as caught:
        from_json(changed(body, **{field: name}), where="r.jsonl:3")
    assert "\n" not in str(caught.value)


@given(json_values)
def test_any_json_that_is_no_record_is_a_clear_error(value):
    with pytest.raises(UserError, match=r"^here: "):
        from_json(json.dumps(value), where="here")


@given(st.text(max_size=20))
def test_any_text_that_is_no_record_is_a_clear_error(text):
    with pytest.raises(UserError, match=r"^here: "):
        from_json(text, where="here")


def changed(body, **changes):
    return json.dumps(body | changes)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[" * 100_000, "not JSON"),
        ("1" * 5000, "not JSON"),
        ('{"kind": ["run"]}', "not a record"),
        (changed(BODIES[0], config={"a": "\ud800"}), "not JSON .*surrogates not allowed"),
        ('{"kind": {"a": 1}}', "not a record"),
        (changed(BODIES[0], version=RECORD_VERSION + 1), r"record version 2.* reads 1; make"),
        (changed(BODIES[0], seed=True), r"\.seed: True is not of type int"),
        (changed(BODIES[0], seed=1.0), r"\.seed: 1.0 is not of type int"),
        (changed(BODIES[0], mask_source=3), r"\.mask_source: 3 is not of type str or NoneType"),
        (changed(BODIES[0], method="../x"), r"\.method: '../x' is not the plain name"),
        (changed(BODIES[0], wall_seconds=10**400), r"\.wall_seconds: .* is too large"),
        (changed(BODIES[0], wall_seconds=math.nan), "NaN is not|nan"),
        (changed(BODIES[0], config={"lr": math.inf}), "Infinity is not a finite"),
        (changed(BODIES[0]).replace('"lr": 0.1', '"lr": 1e999'), "1e999 is not a finite"),
        (changed(BODIES[0], kept=10**9), r"kept=1000000000 of prunable=23824"),
        (changed(BODIES[0], layers=[]), r"\.layers: \[\] should be an object"),
        (changed(BODIES[1], points={}), r"\.points: \{\} should be a list"),
        (changed(BODIES[1], points=[3]), r"\.points\[0\]: 3 should be an object"),
        (changed(BODIES[0], colour="red"), "unknown field 'colour'"),
    ],
)
def test_the_message_names_the_field_and_the_value(line, message):
    with pytest.raises(UserError, match=message):
        from_json(line)


@pytest.mark.parametrize("name", [name for name in BODIES[0] if name not in {"kind", "version"}])
def test_a_missing_field_is_named(name):
    body = {key: value for key, value in BODIES[0].items() if key != name}
    with pytest.raises(UserError, match=f"field '{name}' is missing"):
        from_json(json.dumps(body))


def test_what_records_have_only_lately_may_be_missing_and_is_not_added():
    published = Path(__file__).parents[1] / "results" / "rules_1" / "digits" / "records.jsonl"
    lately = {"flops", "global_batch_size"}
    older = [
        {name: value for name, value in json.loads(line).items() if name not in lately}
        for line in published.read_text(encoding="utf-8").splitlines()
    ]
    records = [from_json(json.dumps(body)) for body in older]

    assert {record.flops for record in records} == {None}
    assert [json.loads(to_json(record)) for record in records] == older


@pytest.mark.parametrize("record", [RUN, PATH], ids=["run", "path"])
def test_flops_survive_their_line_and_are_checked(record):
    counted = dataclasses.replace(record, flops=Flops(dense=10.0, inference=2.0, training=9.0))
    line = to_json(counted)

    assert from_json(line) == counted
    with pytest.raises(UserError, match=r"inference=11.0 of dense=10.0 operations"):
        from_json(line.replace('"inference": 2.0', '"inference": 11.0'))
    with pytest.raises(UserError, match=r"\.flops: field 'training' is missing"):
        from_json(line.replace(', "training": 9.0', ""))
    with pytest.raises(UserError, match=r"\.flops: 3 should be an object"):
        from_json(json.dumps(json.loads(line) | {"flops": 3}))


def test_a_torn_line_is_found_with_its_number(tmp_path):
    record_file = tmp_path / "records.jsonl"
    record_file.write_text(f"{to_json(RUN)}\n\n{to_json(PATH)[:200]}", encoding="utf-8")
    with pytest.raises(UserError, match=r"records\.jsonl:3: not JSON .* damaged"):
        read_records(record_file)


@given(st.data())
def test_a_file_with_any_bytes_in_it_is_a_clear_error_or_its_records(tmp_path_factory, data):
    record_file = tmp_path_factory.getbasetemp() / "mutated.jsonl"
    whole = f"{to_json(RUN)}\n{to_json(PATH)}\n".encode()
    place = data.draw(st.integers(0, len(whole)))
    lost = data.draw(st.sampled_from([0, 1, 7, len(whole)]))
    record_file.write_bytes(
        whole[:place] + data.draw(st.binary(max_size=4)) + whole[place + lost :]
    )
    try:
        outcome = len(read_records(record_file)) in {0, 1, 2}
    except UserError as error:
        outcome = str(error).startswith(str(record_file))
    assert outcome


def test_a_file_is_read_in_order_and_blank_lines_are_allowed(tmp_path):
    record_file = tmp_path / "records.jsonl"
    record_file.write_text(
        "\n" + "\n\n".join(to_json(record) for record in RECORDS) + "\n", encoding="utf-8"
    )
    assert read_records(record_file) == RECORDS


def test_a_line_separator_inside_a_string_does_not_split_a_record(tmp_path):
    odd = simulated_run(
        "prune", 1, 0.9, train=evaluation(0.1), test=evaluation(0.1), config={"a\u2028b": 1}
    )
    record_file = tmp_path / "records.jsonl"
    record_file.write_text(to_json(odd).replace("\\u2028", "\u2028"), encoding="utf-8")
    assert read_records(record_file) == [odd]


def test_a_file_that_is_not_text_is_a_clear_error(tmp_path):
    record_file = tmp_path / "records.jsonl"
    record_file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-8"):
        read_records(record_file)


def test_a_missing_file_names_the_remedy(tmp_path):
    with pytest.raises(UserError, match="make reproduce"):
        read_records(tmp_path / "none.jsonl")


def test_a_number_that_is_not_finite_is_not_written():
    broken = simulated_run("prune", 1, 0.9, train=evaluation(math.nan), test=evaluation(0.1))
    with pytest.raises(ValueError, match="JSON compliant"):
        to_json(broken)


@pytest.mark.parametrize(("kept", "prunable"), [(-1, 5), (6, 5), (0, -1)])
def test_counts_that_no_mask_gives_are_refused(kept, prunable):
    with pytest.raises(ValueError, match=rf"kept={kept} of prunable={prunable}"):
        LayerSparsity(kept=kept, prunable=prunable)


@pytest.mark.parametrize("accuracy", [-0.01, 1.01, 97.0, math.nan])
def test_an_accuracy_is_a_fraction(accuracy):
    with pytest.raises(ValueError, match="accuracy="):
        evaluation(0.1, accuracy)


def test_a_standard_error_is_not_negative():
    with pytest.raises(ValueError, match="loss_standard_error=-1"):
        evaluation(0.1, standard_error=-1.0)


def test_measured_sparsity_counts_what_is_masked():
    ends = {"train": evaluation(0.1), "test": evaluation(0.1)}
    assert simulated_run("prune", 1, 0.9, kept=20, prunable=80, **ends).measured_sparsity == 0.75
    assert simulated_run("dense", 1, 0.0, kept=0, prunable=0, **ends).measured_sparsity == 0.0


def test_runs_are_selected_by_arm_and_sparsity():
    assert [run.method for run in select_runs(RECORDS, target_sparsity=0.98)] == [
        "prune",
        "scratch",
        "lottery",
    ]
    assert [run.start for run in select_runs(RECORDS, method="dense")] == ["init", "init/scratch"]
    assert [
        run.method for run in select_runs(RECORDS, target_sparsity=1 - 0.02, method="prune")
    ] == ["prune"]
    assert len(select_runs(RECORDS)) == 5
