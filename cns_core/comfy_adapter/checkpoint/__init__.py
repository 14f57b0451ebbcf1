"""The MODEL, CLIP and VAE a user wired in: what they are, what they make of prompts and images, and gradients through them."""
