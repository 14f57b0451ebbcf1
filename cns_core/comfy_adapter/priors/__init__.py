"""Class prior images that the checkpoint draws itself, and where they are kept."""
