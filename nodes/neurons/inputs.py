"""What the neuron nodes share: the top-percent widget and the line that sums a mask up."""

from __future__ import annotations

from collections.abc import Sequence

from comfy_api.latest import io

from ...cns_core.comfy_adapter.neurons import Neurons
from ...cns_core.config import SelectionConfig
from ...cns_core.figures import markdown_list


def top_percent_input(note: str = "Use the same value in both Compute nodes.") -> io.Float.Input:
    return io.Float.Input(
        "top_percent",
        default=SelectionConfig.top_fraction * 100,
        min=0.1,
        max=100.0,
        step=1.0,
        round=0.1,
        tooltip=f"Percent of each output's 768 inputs that a prompt selects (r in the paper: 30). {note}".strip(),
    )


def neuron_summary(neurons: Neurons, more: Sequence[str] = ()) -> str:
    counts = (
        f"{neurons.kind} neurons of {len(neurons.prompts)} prompts: {neurons.mask.count:,} of {neurons.mask.layout.size:,} "
        f"K/V weights ({neurons.mask.share:.2%})"
    )
    return markdown_list([counts, *more])
