"""The workflows that ship: what is on each canvas."""
