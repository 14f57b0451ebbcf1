"""Where ``cns_core`` meets ComfyUI: the only package that imports ``comfy``."""
