"""What ComfyUI asks the pack for when it starts."""

from comfy_api.latest import ComfyExtension, io

from . import NODES, register


class CNSExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES


async def comfy_entrypoint() -> CNSExtension:
    register()
    return CNSExtension()
