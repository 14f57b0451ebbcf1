"""A small model that comes with the pack, and the drawn world it knows."""
