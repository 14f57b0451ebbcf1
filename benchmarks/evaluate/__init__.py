"""The paper's figures on a checkpoint and photographs of one's own."""
