"""Which checkpoint a state or a mask belongs to: its K/V weights, its text encoder and its CLIP skip."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from .errors import CNSError

_PROBES = 4  # per matrix; 128 numbers for SD-1.5's K/V weights


@dataclass(frozen=True)
class Projections:
    """Tells sets of matrices apart in any precision they are stored in.

    ``values`` are four random ±1 projections ``aᵀ W b / ‖W‖_F`` of each matrix, numbers of order 1. Two copies of the same
    weights differ by rounding only, a fifth of ``precision`` (the machine epsilon of the coarser storage); a fine-tune that
    moved the weights by x % differs by about x / 100.
    """

    values: tuple[float, ...]
    precision: float

    @staticmethod
    def of(matrices: Iterable[Tensor]) -> Projections:
        """Of matrices (out, in) as they are stored, in a fixed order."""
        values: list[float] = []
        precisions: list[float] = []
        for index, weight in enumerate(matrices):
            matrix = weight.detach().float()
            rows = _signs(f"rows{index}", (_PROBES, matrix.shape[0])).to(matrix.device)
            columns = _signs(f"columns{index}", (matrix.shape[1], _PROBES)).to(matrix.device)
            norm = matrix.norm().clamp_min(torch.finfo(torch.float32).tiny)
            values += ((rows @ matrix @ columns).diagonal() / norm).tolist()
            precisions.append(_precision(weight.dtype, float(norm) / matrix.numel() ** 0.5))
        return Projections(tuple(values), float(np.sqrt(np.mean(np.square(precisions)))))

    def distance(self, other: Projections) -> float:
        """Root mean square difference of the projections, about ``‖W − W'‖ / ‖W‖``; infinite for other numbers of matrices."""
        if len(self.values) != len(other.values):
            return float("inf")
        return float(np.sqrt(np.mean((np.array(self.values) - np.array(other.values)) ** 2)))

    def matches(self, other: Projections) -> bool:
        """At float8's coarse precision a third of it is enough, and what a fine-tune stays within should be little."""
        coarser = max(self.precision, other.precision)
        return self.distance(other) < (coarser / 3 if coarser > torch.finfo(torch.bfloat16).eps else coarser)

    @property
    def short(self) -> str:
        """Twelve hexadecimal digits for people, the signs of the first 48 projections: rounding turns one in a hundred
        checkpoints' digits, closely related checkpoints have similar ones. Programs compare with :meth:`matches`.
        """
        signs = np.zeros(48, dtype=np.uint8)
        known = np.array(self.values[:48]) > 0
        signs[: len(known)] = known
        return np.packbits(signs).tobytes().hex()


@dataclass(frozen=True)
class Fingerprint:
    """Of a MODEL and a CLIP together.

    ``text``: of the text encoder. ``clip_skip``: the layer its features come from, counted from the end; 1 is the last. Both
    are None where an older state does not record them, and None matches anything. ``name`` is the checkpoint's file, for
    people, where known.
    """

    kv: Projections
    text: Projections | None = None
    clip_skip: int | None = None
    name: str = field(default="", compare=False)

    @property
    def title(self) -> str:
        return f"{self.name} ({self.kv.short})" if self.name else self.kv.short

    @property
    def unrecorded(self) -> str:
        """What this fingerprint does not know, such as ``text encoder and CLIP skip``; empty where it knows everything."""
        parts = {"text encoder": self.text, "CLIP skip": self.clip_skip}
        return " and ".join(name for name, value in parts.items() if value is None)

    def completed(self, other: Fingerprint) -> Fingerprint:
        """This one, with what it does not know taken from ``other``."""
        return replace(
            self,
            text=other.text if self.text is None else self.text,
            clip_skip=other.clip_skip if self.clip_skip is None else self.clip_skip,
        )

    def check_same(self, other: Fingerprint, what: str, remedy: str = "") -> None:
        """Raises CNSError with everything that differs where ``other``, that of ``what``, does not belong to this checkpoint.

        ``remedy`` replaces the advice on how to get the checkpoint that ``what`` was made for.
        """
        found = [pair for pair in (self._other_kv(other), self._other_text(other), self._other_skip(other)) if pair]
        if found:
            differences, remedies = zip(*found, strict=True)
            advice = remedy or " and ".join(dict.fromkeys(remedies))
            raise CNSError(f"{what} was made {', and '.join(differences)}: {advice}.")

    def _other_kv(self, other: Fingerprint) -> tuple[str, str] | None:
        if self.kv.matches(other.kv):
            return None
        return (
            f"for the checkpoint with fingerprint {other.title}, but the one it is used with has fingerprint {self.title} "
            f"(K/V weights differ by {self.kv.distance(other.kv):.1%})",
            f"load {_checkpoint(other)}",
        )

    def _other_text(self, other: Fingerprint) -> tuple[str, str] | None:
        if self.text is None or other.text is None or self.text.matches(other.text):
            return None
        distance = self.text.distance(other.text)
        apart = f"weights differ by {distance:.1%}" if np.isfinite(distance) else "another number of layers"
        # Where the checkpoint is another one too, loading the right one brings its CLIP.
        remedy = f"wire the CLIP of {_checkpoint(other)}" if self.kv.matches(other.kv) else f"load {_checkpoint(other)}"
        return f"with the text encoder {other.text.short}, but the CLIP wired in has {self.text.short} ({apart})", remedy

    def _other_skip(self, other: Fingerprint) -> tuple[str, str] | None:
        if self.clip_skip is None or other.clip_skip is None or self.clip_skip == other.clip_skip:
            return None
        remedy = f"put CLIP Set Last Layer with stop_at_clip_layer {-other.clip_skip} right after the loader"
        if other.clip_skip == 1:
            remedy = "take out CLIP Set Last Layer, or set its stop_at_clip_layer to -1"
        return f"with CLIP skip {other.clip_skip}, but the CLIP wired in has CLIP skip {self.clip_skip}", remedy


def _checkpoint(fingerprint: Fingerprint) -> str:
    return fingerprint.name or "the checkpoint it was made for (ask whoever made it)"


def _precision(dtype: torch.dtype, size: float) -> float:
    """Relative precision of numbers of about ``size`` stored as ``dtype``, at least float16's.

    Below the smallest normal number (1/64 in float8_e4m3fn, about the size of CLIP's weights) the steps stay the same.
    """
    numbers = torch.finfo(dtype)
    step = numbers.smallest_normal * numbers.eps
    return max(numbers.eps, step / size if size > step else 0.0, torch.finfo(torch.float16).eps)


def _signs(label: str, shape: tuple[int, int]) -> Tensor:
    """Reproducible ±1 numbers, independent of any library's random generator."""
    count = shape[0] * shape[1]
    raw = np.frombuffer(hashlib.shake_256(label.encode()).digest((count + 7) // 8), dtype=np.uint8)
    bits = np.unpackbits(raw)[:count].reshape(shape)
    return torch.from_numpy(bits.astype(np.float32) * 2 - 1)
