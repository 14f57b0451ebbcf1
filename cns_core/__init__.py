"""Concept Neuron Selection (Liao et al., ICCV 2025): scoring, masks, sparse training and state, without ComfyUI."""
