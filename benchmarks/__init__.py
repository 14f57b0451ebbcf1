"""What the pack costs and what it achieves, measured."""
