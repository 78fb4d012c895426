"""What may hold the scratch solution back, of which the laboratory's claims speak."""

from collections.abc import Mapping
from typing import Literal

Explanation = Literal["subspace", "mask", "start", "time"]

EXPLANATIONS: Mapping[Explanation, str] = {
    "subspace": "The subspace: more coordinates are needed.",
    "mask": "The mask: other coordinates are needed, and no more of them.",
    "start": "The start: the scratch start has the wrong signs.",
    "time": "The time: training inside the mask stopped too early.",
}
