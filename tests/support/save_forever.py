"""Saves states without end, until it is killed: ``python save_forever.py SAVED_STATE FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from cns_core.state_file import load_state, save_state

state, folder = load_state(Path(sys.argv[1])), Path(sys.argv[2])
sys.stdout.write("ready\n")
sys.stdout.flush()
number = 0
while True:
    number = (number + 1) % 10
    save_state(state, folder / f"concepts_{number:05}_.safetensors")
