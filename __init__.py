"""ComfyUI-CNS: teach Stable Diffusion 1.5 one concept after another (Concept Neuron Selection)."""

from .cns_core.comfy_adapter.required_version import new_enough

if new_enough():
    from .nodes.extension import comfy_entrypoint  # noqa: F401 - ComfyUI looks for it here

    WEB_DIRECTORY = "./web"
