"""Prompts for parts of the picture: what a region is, and the patches that put regions into a MODEL's cross-attention."""
