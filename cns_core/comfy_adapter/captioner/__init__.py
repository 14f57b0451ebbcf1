"""Captions for images by models of transformers: where they are, fetching, loading and asking them."""
