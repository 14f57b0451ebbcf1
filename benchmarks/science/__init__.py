"""The paper's experiments on the demo model, and what goes beyond them."""
