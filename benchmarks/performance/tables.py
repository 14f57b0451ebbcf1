"""The tables ``python dev.py bench`` prints."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.reporting import table, write

Measure = Callable[..., dict]
_FORWARD_BACKWARD_TFLOP = 1.67  # a sample at 512 px, K/V alone trained


def train(measure: Measure, pixels: int, steps: int) -> None:
    """Step time and memory of Train CNS Step, beside the arithmetic it cannot do without."""
    plain = measure("optimizations", pixels=pixels, steps=steps)
    saving = measure("optimizations", pixels=pixels, steps=steps, way="gradient checkpointing")
    floor = 2 * _FORWARD_BACKWARD_TFLOP * (pixels / 512) ** 2
    rows = [
        [name, _time(one["step"]), f"{one['all']:.1f} s", _bytes(one["memory"]), f"{floor / one['step']:.2f}"]
        for name, one in {"activations kept": plain, "gradient checkpointing": saving}.items()
    ]
    table([f"{pixels} px, 1 instance + 1 prior", "step", f"{steps} steps with set-up", "peak memory", "TFLOP/s"], rows)
    write("train", {"pixels": pixels, "steps": steps, "TFLOP a step": floor, "kept": plain, "checkpointed": saving})


def breakdown(measure: Measure, pixels: int, steps: int) -> None:
    """The parts of a training step; the backward pass of a CPU runs on a thread of its own, whose operations are in it."""
    parts = measure("breakdown", pixels=pixels)
    rows = [[part, f"{one['ms']:.1f} ms", f"{one['operations']:,.0f}"] for part, one in parts.items()]
    table([f"{pixels} px, 1 instance + 1 prior", "until done", "operations"], rows)
    write("breakdown", {"pixels": pixels, "parts": parts})


def peers(measure: Measure, pixels: int, steps: int) -> None:
    """The same images, resolution and batch in diffusers' Custom Diffusion loop and ComfyUI's Train LoRA."""
    ways = {
        "Train CNS Step": "optimizations",
        "diffusers, Custom Diffusion loop": "train_diffusers",
        "ComfyUI, Train LoRA": "train_comfy_lora",
    }
    measured = {title: measure(name, pixels=pixels, steps=steps) for title, name in ways.items()}
    ours = measured["Train CNS Step"]["step"]
    rows = [[t, _time(m["step"]), f"{m['step'] / ours:.2f}", _bytes(m["memory"])] for t, m in measured.items()]
    table([f"{pixels} px, batch 2", "step", "times ours", "peak memory"], rows)
    write("peers", {"pixels": pixels, "steps": steps, "measured": measured})


def optimizations(measure: Measure, pixels: int, steps: int) -> None:
    """What single changes to the step do to its time."""
    from benchmarks.performance.optimizations import AS_IT_IS, WAYS  # not above: it imports ComfyUI

    measured = {}
    for way in WAYS:
        measured[way] = measure("optimizations", pixels=pixels, steps=steps, way=way)
        write("optimizations", {"pixels": pixels, "steps": steps, "measured": measured})
    ours = measured[AS_IT_IS]["step"]
    rows = [[way, _time(m["step"]), f"{m['step'] / ours:.2f}", _time(m["first"])] for way, m in measured.items()]
    table([f"{pixels} px, 1 instance + 1 prior", "step", "times as it is", "first two steps with set-up"], rows)


def apply(measure: Measure, pixels: int, steps: int) -> None:
    """Switching states on a loaded model."""
    modes = {mode: measure("apply_state", dynamic=mode == "dynamic VRAM") for mode in ("static", "dynamic VRAM")}
    modes = {mode: result for mode, result in modes.items() if result}
    rows = [
        [f"{mode}, {way}", *(_switch(one, "counted only" in result) for one in result[way].values())]
        for mode, result in modes.items()
        for way in ("in place", "patches")
    ]
    table(["switching", *modes["static"]["in place"]], rows)
    for mode, result in modes.items():
        print(f"{mode}: {result['elements']:,} elements; bit-exact afterwards: {result['bit-exact']}")
    write("apply", modes)


def _switch(one: dict[str, float], counted_only: bool) -> str:
    return _bytes(one["bytes"]) if counted_only else f"{_time(one['seconds'])}, {_bytes(one['bytes'])}"


def scoring(measure: Measure, pixels: int, steps: int) -> None:
    """Finding a concept's neurons."""
    result = measure("scoring")
    rows = [[name, _time(result[name])] for name in ("encoding", "scoring")]
    table(["5 captions, 20 calibration prompts, 32 matrices", ""], rows)
    write("scoring", result)


def precision(measure: Measure, pixels: int, steps: int) -> None:
    """What of a delta is left in weights stored in 16 bits."""
    rows = measure("precision")
    cells = [[r["stored as"], r["rounding"], f"{r['size']:.0e}", f"{r['unchanged']:.1%}", f"{r['error']:.2%}"] for r in rows]
    table(["stored as", "rounding", "delta / weight", "weights unchanged", "error of the change of K and V"], cells)
    write("precision", {"rows": rows})


def activations(measure: Measure, pixels: int, steps: int) -> None:
    """What a step keeps of a sample."""
    kept = measure("activations")
    rows = [[title, *(f"{count / 1e6:.0f} MB" for count in counts.values())] for title, counts in kept.items()]
    table(["activations of a sample, 512 px, 16 bit", "all kept", "gradient checkpointing"], rows)
    write("activations", {"bytes of a sample at 512 px in 16 bits": kept})


def scaling(measure: Measure, pixels: int, steps: int) -> None:
    """One more concept when there are many."""
    rows = measure("scaling", pixels=pixels, steps=min(steps, 50))
    table(
        ["concepts", "K/V ever used", "state file", "without history", "save", "load", "apply", "training's set-up", "step"],
        [
            [
                row["concepts"],
                f"{row['used']:.1%}",
                *(_bytes(row[name]) for name in ("bytes", "bytes without history")),
                *(_time(row[name]) for name in ("save", "load", "apply", "set-up", "step")),
            ]
            for row in rows
        ],
    )
    write("scaling", {"pixels": pixels, "rows": rows})


def regions(measure: Measure, pixels: int, steps: int) -> None:
    """A step of sampling with regions, in one pass and in one pass each."""
    rows = measure("regions", pixels=pixels)
    plain = rows[0]["one pass"]
    cells = [
        [row["regions"], *(f"{_time(row[way])} ({row[way] / plain:.2f})" for way in ("one pass", "several"))] for row in rows
    ]
    table([f"{pixels} px, regions", "Apply Regions (times none)", "Conditioning Set Mask (times none)"], cells)
    write("regions", {"pixels": pixels, "rows": rows})


def fusion(measure: Measure, pixels: int, steps: int) -> None:
    """What it costs to make one model of seven concepts; CNS has one already, and nothing to load or solve (Table 1)."""
    ways = ("custom_diffusion_merged", "mix_of_show", "orthogonal_adaptation")
    rows = [measure("fusion", method=method) for method in ways]
    table(["seven concepts", "time", "memory"], [[row["title"], _time(row["time"]), _bytes(row["memory"])] for row in rows])
    write("fusion", {"rows": rows})


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.1f} ms"


def _bytes(count: float) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


TABLES = {
    function.__name__: function
    for function in (train, breakdown, apply, regions, scoring, scaling, precision, optimizations, activations, peers, fusion)
}
