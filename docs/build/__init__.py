"""Makes what the documentation shows, and the workflows and translations that ship, from a running server."""
