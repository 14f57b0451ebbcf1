"""Workflow files and prompts made of them, and a ComfyUI server to run them on."""
