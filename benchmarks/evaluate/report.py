"""The figures beside the paper's, for people."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.evaluate.evaluation import Values
from benchmarks.reporting import PAPERS_CNS, table
from cns_core.judge import CLIP_SCORE


def report(results: dict[str, Any], images: int) -> str:
    """Markdown, printed as well: the paper's figures, and each concept after each lesson with its ceiling."""
    end = [values for prompts in results["after"][-1].values() for values in prompts]
    rows = []
    for kind, prompts in (("one", end), ("several", results["multi"])):
        for measure in prompts[0] if prompts else ():
            title, mean, best = f"{measure}, {kind}", _mean(prompts, measure), _best(prompts, measure)
            scale = " (2.5 · cosine)" if measure == "CLIP-T" else ""
            rows.append([f"{title}{scale}", _percent(mean), _percent(best), PAPERS_CNS.get(title, "")])
            if measure == "CLIP-T":
                rows.append([f"{title} (cosine)", *(_percent(value / CLIP_SCORE) for value in (mean, best)), ""])
    parts = [table(["× 100", f"mean of {images}", f"best of {images}", "paper, best of 50"], rows)]
    for measure, ceilings in results["ceilings"].items():
        count = len(results["after"])
        lines = []
        for name, top in ceilings.items():
            scores = [_mean(after[name], measure) if name in after else float("nan") for after in results["after"]]
            lines.append([name, *map(_percent, scores), _percent(top)])
        parts.append(table([f"{measure} after", *range(1, count + 1), "its own images with each other"], lines))
    return "\n\n".join(parts) + "\n"


def _mean(prompts: list[Values], measure: str) -> float:
    return float(np.mean([values[measure] for values in prompts]))


def _best(prompts: list[Values], measure: str) -> float:
    """Over prompts, the value of the image that is best in all measures together."""
    chosen = [int(np.sum(list(values.values()), axis=0).argmax()) for values in prompts]
    return float(np.mean([values[measure][image] for values, image in zip(prompts, chosen, strict=True)]))


def _percent(value: float) -> str:
    return "" if np.isnan(value) else f"{100 * value:.2f}"
