"""On which kinds of machine the records were made: numbers of several are told apart."""

from collections.abc import Sequence

from lightning_sparse.records import Record
from lightning_sparse.report.style import seed_words


def kind_of_machine(record: Record) -> str:
    """Name the GPU that a record was made on, or else the processor and its instruction set.

    Processors of one name may differ in their vector instructions, and then sums are rounded
    elsewhere: the same seed ends as another network.
    """
    of = record.provenance
    if gpu := of.get("accelerator"):
        return str(gpu)
    processor = str(of.get("processor") or "an unknown machine")
    vectors = of.get("instruction_set")
    return f"{processor} with {vectors}" if vectors else processor


def machines_sentence(records: Sequence[Record]) -> str:
    """Say on which kinds of machine the records were made, and for which seeds.

    Args:
        records: What claims are judged on.

    Returns:
        A sentence; nothing where all are of one kind.
    """
    seeds: dict[str, set[int]] = {}
    for record in records:
        seeds.setdefault(kind_of_machine(record), set()).add(record.seed)
    if len(seeds) <= 1:
        return ""
    kinds = "; ".join(f"{kind}, seeds {seed_words(own)}" for kind, own in sorted(seeds.items()))
    return f"Measured on {len(seeds)} kinds of machine, on which every verdict rests: {kinds}."
