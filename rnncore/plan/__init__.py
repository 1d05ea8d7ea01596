"""From graph to schedule: derivatives of a loop, what leaves it, what is fused, what is saved for BPTT."""
