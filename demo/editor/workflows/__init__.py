"""The workflows that ship, and what is on the canvas of each."""

from collections.abc import Callable

from demo.editor.canvas.parts import Flow

from . import on_the_demo_model, regional, teaching, using

_BUILDERS: tuple[Callable[[Flow], None], ...] = (
    on_the_demo_model.no_gpu_tour,
    teaching.first_steps,
    teaching.continual_training,
    teaching.add_a_third_concept,
    teaching.style_and_object,
    teaching.captions_from_files,
    using.multi_concept_generation,
    using.inspect,
    using.edit_and_export,
    on_the_demo_model.with_and_without_l_reg,
    regional.two_of_a_kind_no_gpu,
    regional.two_of_a_kind,
)
WORKFLOWS = {build.__name__: build for build in _BUILDERS}


def graph_of(name: str, object_info: dict) -> Flow:
    graph = Flow(object_info, name)
    WORKFLOWS[name](graph)
    return graph
