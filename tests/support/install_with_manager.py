"""ComfyUI-Manager's own command line, asking another registry than the public one: its URL comes first."""

from __future__ import annotations

import os
import sys

sys.path.append(os.environ["COMFYUI_PATH"])

import utils.install_util  # noqa: F401 - the real package, before a stray module called utils takes its name
from comfyui_manager.common import cnr_utils

cnr_utils.base_url = sys.argv.pop(1)

from cm_cli import main  # noqa: E402

main()
