"""A state in a MODEL and a CLIP: written into the weights in place, or as a patch."""
