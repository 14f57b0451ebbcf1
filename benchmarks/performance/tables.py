"""The tables ``python dev.py bench`` prints."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.reporting import table, write

Measure = Callable[..., dict]
OPTIMIZATIONS = (
    "as it is",
    "an instance and a prior pass, not one",
    "nothing cached",
    "all K/V trained, not the selected",
    "gradient checkpointing",
    "channels last",
    "torch.compile",
)
_FORWARD_BACKWARD_TFLOP = 1.67  # a sample at 512 px, K/V alone trained


def train(measure: Measure, pixels: int, steps: int) -> None:
    """Step time and memory of Train CNS Step, beside the arithmetic it cannot do without."""
    plain = measure("train_ours", pixels=pixels, steps=steps)
    saving = measure("train_ours", pixels=pixels, steps=steps, checkpointing="on")
    floor = 2 * _FORWARD_BACKWARD_TFLOP * (pixels / 512) ** 2
    rows = [
        [name, _time(one["step"]), f"{one['all']:.1f} s", _bytes(one["memory"]), f"{floor / one['step']:.2f}"]
        for name, one in {"activations kept": plain, "gradient checkpointing": saving}.items()
    ]
    table([f"{pixels} px, 1 instance + 1 prior", "step", f"{steps} steps with set-up", "peak memory", "TFLOP/s"], rows)
    write("train", {"pixels": pixels, "steps": steps, "TFLOP a step": floor, "kept": plain, "checkpointed": saving})


def peers(measure: Measure, pixels: int, steps: int) -> None:
    """The same images, resolution and batch in diffusers' Custom Diffusion loop and ComfyUI's Train LoRA."""
    ways = {
        "Train CNS Step": "train_ours",
        "diffusers, Custom Diffusion loop": "train_diffusers",
        "ComfyUI, Train LoRA": "train_comfy_lora",
    }
    measured = {title: measure(module, pixels=pixels, steps=steps) for title, module in ways.items()}
    ours = measured["Train CNS Step"]["step"]
    rows = [[t, _time(m["step"]), f"{m['step'] / ours:.2f}", _bytes(m["memory"])] for t, m in measured.items()]
    table([f"{pixels} px, batch 2", "step", "times ours", "peak memory"], rows)
    write("peers", {"pixels": pixels, "steps": steps, "measured": measured})


def optimizations(measure: Measure, pixels: int, steps: int) -> None:
    """What single changes to the step do to its time."""
    measured = {way: measure("optimizations", pixels=pixels, steps=steps, way=way) for way in OPTIMIZATIONS}
    ours = measured[OPTIMIZATIONS[0]]["step"]
    rows = [[way, _time(m["step"]), f"{m['step'] / ours:.2f}", _time(m["first"])] for way, m in measured.items()]
    table([f"{pixels} px, 1 instance + 1 prior", "step", "times as it is", "first two steps with set-up"], rows)
    write("optimizations", {"pixels": pixels, "steps": steps, "measured": measured})


def apply(measure: Measure, pixels: int, steps: int) -> None:
    """Switching states on a loaded model."""
    result = measure("apply_state")
    rows = [[way, *(_time(value) for value in result[way].values())] for way in ("in place", "patches")]
    table([f"switching, {result['elements']:,} elements", *result["in place"]], rows)
    print(f"same storage throughout: {result['same storage']}; bit-exact afterwards: {result['bit-exact']}")
    write("apply", result)


def scoring(measure: Measure, pixels: int, steps: int) -> None:
    """Finding a concept's neurons."""
    result = measure("scoring")
    rows = [[name, value if isinstance(value, bool | int) else _time(value)] for name, value in result.items()]
    table(["5 captions, 20 calibration prompts, 32 matrices", ""], rows)
    write("scoring", result)


def precision(measure: Measure, pixels: int, steps: int) -> None:
    """What of a delta is left in weights stored in 16 bits."""
    rows = measure("precision")
    cells = [[r["stored as"], r["rounding"], f"{r['size']:.0e}", f"{r['unchanged']:.1%}", f"{r['error']:.2%}"] for r in rows]
    table(["stored as", "rounding", "delta / weight", "weights unchanged", "error of the change of K and V"], cells)
    write("precision", {"rows": rows})


def activations(measure: Measure, pixels: int, steps: int) -> None:
    """What a step keeps in memory: twice a sample at 256 px in float32 is one at 512 px in 16 bit."""
    rows = [[name, _bytes(count), _bytes(2 * count)] for name, count in measure("activations").items()]
    table(["activations", "256 px, float32", "512 px, 16 bit"], rows)


def scaling(measure: Measure, pixels: int, steps: int) -> None:
    """One more concept when there are many."""
    rows = measure("scaling", pixels=pixels, steps=min(steps, 50))
    table(
        ["concepts", "K/V ever used", "state file", "save", "load", "apply", "training's set-up", "step"],
        [
            [
                row["concepts"],
                f"{row['used']:.1%}",
                _bytes(row["bytes"]),
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


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.1f} ms"


def _bytes(count: float) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


TABLES = {
    function.__name__: function
    for function in (train, apply, regions, scoring, scaling, precision, optimizations, activations, peers)
}
