"""Picture files and folders of them, read for ComfyUI."""
