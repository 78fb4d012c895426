"""The style of the page: quiet, for reading and for print."""

from lightning_sparse.report.style import VERDICT_COLOURS

_VERDICTS = "\n".join(
    f".{verdict.replace(' ', '-')} {{ color: {colour}; border-color: {colour}; }}"
    for verdict, colour in VERDICT_COLOURS.items()
)

STYLESHEET = (
    """\
:root { color-scheme: light; }
* { box-sizing: border-box; }
html { background: #fff; }
body { margin: 0; color: #1c1c1c; font: 16px/1.55 "Charter", "Bitstream Charter", "Georgia",
  "Liberation Serif", serif; }
main { max-width: 1000px; margin: 0 auto; padding: 2.2rem 1.4rem 4rem; }
h1, h2 { font-weight: 600; line-height: 1.2; }
h1 { font-size: 1.9rem; margin: 0 0 1rem; }
h2 { font-size: 1.3rem; margin: 3rem 0 .8rem; padding-top: .9rem; border-top: 1px solid #d8d8d8; }
p { max-width: 46rem; margin: .7rem 0; }
.note { color: #6b4a00; border-left: 3px solid #d9a400; padding-left: .8rem; }
a { color: #00558a; text-decoration: none; }
a:hover { text-decoration: underline; }
figure { margin: 1.6rem 0 2rem; }
figure svg { display: block; width: 100%; height: auto; }
#positive-control svg { max-width: 640px; }
figcaption, caption { color: #444; font-size: .88rem; line-height: 1.45; text-align: left; }
figcaption { max-width: 52rem; margin-top: .5rem; }
caption { caption-side: top; padding-bottom: .5rem; }
.table { overflow-x: auto; margin: 1.2rem 0 1.8rem; }
table { border-collapse: collapse; width: 100%; font: .8rem/1.4 "Helvetica Neue", "Arial",
  "Liberation Sans", sans-serif; font-variant-numeric: tabular-nums; }
th { text-align: left; vertical-align: bottom; font-weight: 600; color: #333;
  border-bottom: 1.5px solid #444; padding: .3rem .8rem .35rem 0; }
td { vertical-align: top; border-bottom: 1px solid #e6e6e6; padding: .38rem .8rem .38rem 0; }
th:last-child, td:last-child { padding-right: 0; }
.number { text-align: right; }
td.number { white-space: nowrap; }
td.number:has(a) { white-space: normal; }
.records { min-width: 5.8rem; }
summary { color: #00558a; cursor: pointer; white-space: nowrap; }
.number small { white-space: nowrap; }
tr.part td { color: #4a4a4a; border-bottom-color: #f0f0f0; }
tr.part td:first-child { padding-left: 1rem; white-space: nowrap; }
tr:target td { background: #fff6d6; }
small { display: block; color: #666; font-size: .92em; margin-top: .15rem; }
.verdict { white-space: nowrap; font-weight: 700; }
.part .verdict { font-weight: 400; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .35rem 1.2rem; font-size: .92rem; }
dt { font-weight: 600; }
dd { margin: 0; max-width: 44rem; }
@media (max-width: 640px) { dl { display: block; } dd { margin: 0 0 .6rem; } }
@media print {
  body { font-size: 10.5pt; }
  main { max-width: none; padding: 0; }
  figure, tr { break-inside: avoid; }
  h2 { break-after: avoid; }
  .table { overflow: visible; }
  a { color: inherit; }
}
"""
    + _VERDICTS
    + "\n"
)
