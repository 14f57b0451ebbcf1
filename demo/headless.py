"""ComfyUI without its server. Import this before anything of ComfyUI's: it looks for a device when it is imported."""

from __future__ import annotations

import torch
import utils.install_util  # noqa: F401 - the real package, before a stray module called utils takes its name
from comfy.cli_args import args

args.cpu = not torch.cuda.is_available()
