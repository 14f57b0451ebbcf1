"""The methods of the paper's Table 1, against their equations and against diffusers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diffusers.models.attention_processor import CustomDiffusionAttnProcessor
from diffusers.models.lora import LoRALinearLayer

from benchmarks.baselines import METHODS
from benchmarks.baselines.continual_diffusion import SelfRegularization, orthogonal_start
from benchmarks.baselines.custom_diffusion import constrained_least_squares
from benchmarks.baselines.fusion import concept_features
from benchmarks.baselines.low_rank import LowRankKV, random_downs
from benchmarks.baselines.mix_of_show import gradient_fusion
from benchmarks.baselines.orthogonal_adaptation import orthogonal_downs, total
from benchmarks.science.lab import Lab
from benchmarks.science.sequences import Sequence, load_states, taught
from benchmarks.science.variants import BASELINES
from cns_core.comfy_adapter.checkpoint.tokens import with_tokens
from cns_core.kv_layers import KVLayout
from cns_core.masks import NeuronMask
from cns_core.sparse_delta import SparseDelta
from cns_core.state import CNSState
from cns_core.state_file import load_state
from tests.support.science import short

SHAPES = {"a.attn2.to_k": (3, 4), "a.attn2.to_v": (2, 4)}
LAYOUT = KVLayout.from_shapes(SHAPES)
FULL = NeuronMask.full(LAYOUT)
NAMES = ("robot", "cactus")
CPU = torch.device("cpu")


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def low_rank(previous: torch.Tensor | None = None, **options) -> LowRankKV:
    weights = {name: drawn(*shape, seed=index) for index, (name, shape) in enumerate(SHAPES.items())}
    delta = SparseDelta.zero(LAYOUT) if previous is None else SparseDelta(FULL, previous)
    return LowRankKV(weights, FULL, delta, CPU, **{"downs": random_downs(2, 7), **options})


def test_a_step_of_a_lora_is_that_of_diffusers_layer():
    """K of Custom Diffusion's processor plus diffusers' LoRA: the same output, and after a step of Adam the same again."""
    kv, context, target = low_rank(drawn(LAYOUT.size, seed=3)), drawn(5, 4, seed=1), drawn(5, 3, seed=2)
    layer, projection = LAYOUT.layers[0], kv.projections["a.attn2.to_k"]
    attention = CustomDiffusionAttnProcessor(hidden_size=3, cross_attention_dim=4)
    attention.to_k_custom_diffusion.weight.data = projection.weight.detach().clone()
    lora = LoRALinearLayer(4, 3, rank=2)
    lora.down.weight.data, lora.up.weight.data = random_downs(2, 7)(layer).clone(), torch.zeros(3, 2)
    optimizers = torch.optim.Adam(kv.parameters, 0.1), torch.optim.Adam(lora.parameters(), 0.1)
    for step in range(3):
        ours, theirs = projection(context), attention.to_k_custom_diffusion(context) + lora(context)
        torch.testing.assert_close(ours, theirs, msg=f"before step {step}")
        kv.zero_gradient()
        (ours - target).square().mean().backward()
        kv.collect_gradient()
        optimizers[0].step()
        kv.write_weights()
        optimizers[1].zero_grad()
        (theirs - target).square().mean().backward()
        optimizers[1].step()
    assert kv.change()[layer.span].abs().min() > 0.01


def test_constrained_least_squares_is_a_dense_solve_of_the_problem():
    """Against the Karush-Kuhn-Tucker equations ``[[2G, Cᵀ], [C, 0]] [Dᵀ; μ] = [0; Vᵀ − C W0ᵀ]`` of D = W − W0."""
    base, tuned = drawn(3, 6), [drawn(3, 6, seed=1), drawn(3, 6, seed=2)]
    features, ordinary = [drawn(2, 6, seed=3), drawn(1, 6, seed=4)], drawn(20, 6, seed=5)
    merged = constrained_least_squares(base, tuned, features, ordinary)
    targets = torch.cat(features).double()
    wanted = torch.cat([rows @ weight.T for rows, weight in zip(features, tuned, strict=True)]).double()
    gram = (ordinary.T @ ordinary).double()
    system = torch.cat([torch.cat([2 * gram, targets.T], 1), torch.cat([targets, torch.zeros(3, 3).double()], 1)])
    solved = torch.linalg.solve(system, torch.cat([torch.zeros(6, 3).double(), wanted - targets @ base.double().T]))
    torch.testing.assert_close(merged, base + solved[:6].T.float(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(features[1] @ merged.T, features[1] @ tuned[1].T, atol=1e-5, rtol=1e-5)


def test_constrained_least_squares_by_hand():
    """Ordinary prompts have four times the energy in the first direction, so most of the change goes into the second: with
    G = diag(4, 1) and C = (1, 1), ``d = (1/4, 1)``, ``(V − W0 Cᵀ) / (d Cᵀ) = 5 / 1.25``.
    """
    merged = constrained_least_squares(
        torch.tensor([[1.0, 1.0]]), [torch.tensor([[3.0, 4.0]])], [torch.ones(1, 2)], torch.diag(torch.tensor([2.0, 1.0]))
    )
    torch.testing.assert_close(merged, torch.tensor([[2.0, 5.0]]))


def test_gradient_fusion_is_the_least_squares_solution_nearest_to_w0():
    base, tuned = drawn(3, 6), [drawn(3, 6, seed=1), drawn(3, 6, seed=2)]
    features = [drawn(2, 6, seed=3), drawn(2, 6, seed=4)]
    inputs = torch.cat(features)
    outputs = torch.cat([rows @ (weight - base).T for rows, weight in zip(features, tuned, strict=True)])
    nearest = base + (torch.linalg.pinv(inputs) @ outputs).T
    torch.testing.assert_close(gradient_fusion(base, tuned, features, inputs), nearest, atol=2e-4, rtol=1e-4)


def test_gradient_fusion_goes_between_concepts_that_disagree():
    base, row = torch.zeros(1, 1), torch.ones(1, 1)
    merged = gradient_fusion(base, [torch.tensor([[2.0]]), torch.tensor([[4.0]])], [row, row], row)
    assert merged.item() == pytest.approx(3, abs=1e-4)


def test_orthogonal_adaptation_adds_what_others_do_not_see():
    layer = replace(LAYOUT.layers[0], in_features=64)
    one, two = (orthogonal_downs(8, token)(layer) for token in ("<new1>", "<new2>"))
    torch.testing.assert_close(one @ one.T, torch.eye(8), atol=1e-5, rtol=0)
    shared = (one @ two.T).abs() > 0.5  # a row that both drew; others are orthogonal
    torch.testing.assert_close((one @ two.T)[~shared], torch.zeros(64 - int(shared.sum())), atol=1e-5, rtol=0)
    assert shared.sum() <= 3
    assert torch.equal(one, orthogonal_downs(8, "<new1>")(layer))
    base = drawn(2, 4)
    torch.testing.assert_close(total(base, [base + 1, base - 3], [], base), base - 2)


def test_frozen_downs_stay():
    kv = low_rank(train_downs=False)
    assert [tuple(factor.shape) for factor in kv.parameters] == [(3, 2), (2, 2)]


def test_self_regularization_of_a_worked_example():
    """Earlier LoRAs moved two of 20 weights, by 3 and 1, whose mean square is 0.5; the new one moves each weight by 2."""
    previous = torch.zeros(LAYOUT.size)
    previous[[0, 7]] = torch.tensor([3.0, -1.0])
    kv = low_rank(previous)
    with torch.no_grad():
        kv.delta += 2.0
    term = SelfRegularization(kv, torch.arange(LAYOUT.size), 0.1, 0.0, 0.01)
    assert term().item() == pytest.approx(0.1 * (9 / 0.5 * 4 + 1 / 0.5 * 4))
    assert SelfRegularization(kv, torch.arange(0), 0.1, 0.0, 0.01)().item() == 0


def test_tokens_start_orthogonal_to_earlier_ones():
    usual, earlier = drawn(2, 16), drawn(3, 16, seed=1)
    start = orthogonal_start(usual, earlier, 5)
    torch.testing.assert_close(start @ earlier.T, torch.zeros(2, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(start.norm(dim=1), usual.norm(dim=1))
    assert orthogonal_start(usual, earlier[:0], 5).norm() > 0


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Lab:
    return Lab.open(tmp_path_factory.mktemp("baselines"))


@pytest.mark.parametrize("name", METHODS)
def test_each_method_leaves_states_to_draw_with(lab, name):
    sequence = Sequence(short(BASELINES[name]), NAMES, seed=0)
    one, two = load_states(lab, sequence)
    assert [concept.token for concept in two.concepts] == ["<new1>", "<new2>"]
    rows = [1, 1] if name != "mix_of_show" else [2, 2]
    assert [len(concept.vectors) for concept in two.concepts] == rows
    pictures = lab.pictures(["a <new1> robot"] * 2, [1, 1], two)
    assert (pictures[0] == pictures[1]).all()
    assert pictures.std() > 1
    if name == "textual_inversion":
        assert not two.delta.values.any()
    else:
        assert (two.delta.values != 0).float().mean() > 0.9
    if METHODS[name].fuse is None:
        assert torch.equal(one.concepts[0].vectors, two.concepts[0].vectors)


@torch.inference_mode()
def test_merged_concepts_get_the_k_of_their_own_training(lab):
    """Custom Diffusion's constraint, on the demo model: it holds for the words of both concepts."""
    sequence = Sequence(short(BASELINES["custom_diffusion_merged"]), NAMES, seed=0)
    both = taught(lab, sequence, 2)
    clip = with_tokens(lab.checkpoint.clip, both.tokens)
    layer, pretrained = lab.checkpoint.layout.layers[0], next(iter(lab.checkpoint.weights.values())).float()

    def moved(state: CNSState, features: torch.Tensor) -> torch.Tensor:
        return features @ state.delta.flat()[layer.span].view_as(pretrained).T

    for number, concept in enumerate(both.concepts, start=1):
        alone = load_state(sequence.folder(lab) / f"alone {number}.safetensors")
        rows = concept_features(clip, concept)
        torch.testing.assert_close(moved(both, rows), moved(alone, rows), atol=1e-3, rtol=1e-3)
