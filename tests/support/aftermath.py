"""What a fault has left behind, in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from cns_pack.cns_core.errors import CNSError
from cns_pack.cns_core.state_file import load_state
from torch import nn


@dataclass(frozen=True)
class Tree:
    """How a module tree stands: which objects are where, and what has been attached to them."""

    modules: dict[str, int]
    tensors: dict[str, tuple]
    attached: dict[str, tuple]

    @classmethod
    def of(cls, root: nn.Module) -> Tree:
        modules, tensors, attached = {}, {}, {}
        for name, module in root.named_modules():
            modules[name] = id(module)
            hooks = tuple(len(value) for key, value in vars(module).items() if key.endswith("_hooks") and value is not None)
            attached[name] = (hooks, "forward" in vars(module), module.training)
            for key, tensor in [*module._parameters.items(), *module._buffers.items()]:
                if tensor is not None:
                    gradient = tensor.grad is not None if tensor.is_leaf else False
                    tensors[f"{name}.{key}"] = (id(tensor), tensor.data_ptr(), tensor.requires_grad, gradient)
        return cls(modules, tensors, attached)


@dataclass
class Snapshot:
    """A checkpoint before a fault; :meth:`changes` says what is different afterwards."""

    studio: object
    weights: dict[str, torch.Tensor] = field(init=False)
    trees: list[Tree] = field(init=False)
    around: tuple = field(init=False)

    def __post_init__(self) -> None:
        self.weights, self.trees, self.around = self.studio.weights(), self._trees(), self._around()

    def changes(self) -> list[str]:
        now, trees, around = self.studio.weights(), self._trees(), self._around()
        found = []
        if now.keys() != self.weights.keys() or not all(same_bits(now[name], self.weights[name]) for name in now):
            found.append("changed weights")
        for what in ("modules", "tensors", "attached"):
            if any(getattr(a, what) != getattr(b, what) for a, b in zip(trees, self.trees, strict=True)):
                found.append({"modules": "stand-in modules", "tensors": "stand-in tensors", "attached": "hooks"}[what])
        if around != self.around:
            found.append(f"patches or modes {around}")
        return found

    def _trees(self) -> list[Tree]:
        return [Tree.of(root) for root in (self.studio.model.model, self.studio.clip.cond_stage_model)]

    def _around(self) -> tuple:
        model, clip = self.studio.model, self.studio.clip
        patched = tuple(len(x) for one in (model, clip.patcher) for x in (one.patches, one.backup, one.injections))
        modes = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        return patched, modes, id(clip.tokenizer), hash(torch.get_rng_state().numpy().tobytes())


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.equal(_bytes(a), _bytes(b))


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def same_state(a, b) -> bool:
    """Deltas, masks and tokens, bit for bit."""
    vectors = zip(a.concepts, b.concepts, strict=True)
    return (
        a.delta.mask.equals(b.delta.mask)
        and same_bits(a.delta.values, b.delta.values)
        and all(one.token == other.token and same_bits(one.vectors, other.vectors) for one, other in vectors)
    )


def damaged_states(folder: Path) -> list[str]:
    """States in the folder that are not whole."""
    found = []
    for path in sorted(folder.rglob("*.safetensors")):
        try:
            load_state(path)
        except CNSError as error:
            found.append(f"{path.name}: {error}")
    return found
