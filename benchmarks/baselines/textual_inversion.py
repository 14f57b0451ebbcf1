"""Textual Inversion (Gal et al. 2023): only the token's vector is trained, so nothing can be forgotten."""

from .method import Method

TEXTUAL_INVERSION = Method("Textual Inversion", "concept", {"neuron_lr": 0.0, "token_lr": 0.009})
