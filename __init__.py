"""ComfyUI-CNS: teach Stable Diffusion 1.5 one concept after another (Concept Neuron Selection)."""

from comfy_api.latest import ComfyExtension, io

from .nodes import NODES, register

WEB_DIRECTORY = "./web"


class CNSExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES


async def comfy_entrypoint() -> CNSExtension:
    register()
    return CNSExtension()
