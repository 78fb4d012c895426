"""Text of records in the page, as a real browser takes it."""

import html
import json
import re
import subprocess
from collections.abc import Mapping

import pytest

from lightning_sparse.analysis.judge import judge_all
from lightning_sparse.records import from_json, to_json
from lightning_sparse.report.document import write_report
from tests.analysis.simulate import ENDS_AND_MIDDLE, HEADLINE_SPARSITY, simulated_records
from tests.report.found import found as found_in

PAYLOADS = [
    "<script>document.title='ran'</script>",
    "<img src=x onerror=document.title='ran'>",
    "\"><svg onload=document.title='ran'>",
    "' autofocus onfocus=document.title='ran' x='",
    "</style></title></textarea><script>document.title='ran'</script>",
    "javascript:document.title='ran'",
    "${document.title='ran'} {{7*7}} <!-- ]]> &lt;script&gt;",
]
# A run's name becomes a folder's, so that only payloads without a slash get that far.
NAMES = [payload for payload in PAYLOADS if "/" not in payload]

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update"
)
# Asked after everything that could run has had its time to run.
PROBE = """<head><script>setTimeout(() => {
    const all = [...document.querySelectorAll('main *')];
    const handlers = all.flatMap(e => [...e.attributes]).filter(a => a.name.startsWith('on'));
    const links = [...document.links].filter(a => a.protocol === 'javascript:');
    const made = all.filter(e => ['SCRIPT', 'IMG', 'IFRAME', 'OBJECT'].includes(e.tagName));
    document.documentElement.dataset.probe = JSON.stringify(
        [document.title, handlers.length, links.length, made.length]);
}, 500)</script>"""


def hostile_lines() -> list[str]:
    """Records as a stranger may write them: a payload in every text that is free."""
    records = simulated_records([11, 12], sparsities=[0.98], grid=ENDS_AND_MIDDLE)
    bodies = [json.loads(to_json(record)) for record in records]
    named = {b["run_id"]: f"{b['run_id']}{NAMES[n % len(NAMES)]}" for n, b in enumerate(bodies)}
    for number, body in enumerate(bodies):
        payload = PAYLOADS[number % len(PAYLOADS)]
        body["experiment"] = NAMES[0]
        for name in {"run_id", "mask_source", "start_run", "end_run"} & set(body):
            body[name] = named.get(body[name])
        for name in ("config", "provenance"):
            body[name] = with_payload(body[name], payload)
        if "layers" in body:
            body["layers"] = {f"{name}{payload}": n for name, n in body["layers"].items()}
    return [json.dumps(body) for body in bodies]


def with_payload(node: object, payload: str) -> object:
    if isinstance(node, Mapping):
        return {f"{name}": with_payload(value, payload) for name, value in node.items()}
    return f"{node}{payload}" if isinstance(node, str) else node


def page_of(folder) -> str:
    records = [from_json(line) for line in hostile_lines()]
    write_report(
        found_in(records, HEADLINE_SPARSITY),
        judge_all(records, headline_sparsity=HEADLINE_SPARSITY),
        title=f"Report {PAYLOADS[0]}",
        report_dir=folder,
    )
    return (folder / "report.html").read_text(encoding="utf-8")


def seen_by(chromium, page: str, folder) -> list[object]:
    """Title, event handlers, script links and made elements, as the browser sees them."""
    file = folder / "probed.html"
    file.write_text(page.replace("<head>", PROBE), encoding="utf-8")
    command = [str(chromium), *FLAGS.split(), f"--user-data-dir={folder}/profile"]
    command += ["--virtual-time-budget=3000", "--dump-dom", file.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout
    found = re.findall(r'data-probe="(.*?)"', shown)
    return json.loads(html.unescape(found[0]))


@pytest.mark.browser
def test_nothing_in_a_record_runs_or_becomes_markup(chromium, tmp_path):
    page = page_of(tmp_path)
    assert all(html.escape(name) in page for name in NAMES[:3])
    assert seen_by(chromium, page, tmp_path) == [f"Report {PAYLOADS[0]}", 0, 0, 0]


@pytest.mark.browser
def test_the_browser_would_tell_if_text_were_not_escaped(chromium, tmp_path, monkeypatch):
    monkeypatch.setattr(html, "escape", lambda text, **_: text)
    title, _, _, num_made = seen_by(chromium, page_of(tmp_path), tmp_path)
    assert title == "ran"
    assert num_made > 0
