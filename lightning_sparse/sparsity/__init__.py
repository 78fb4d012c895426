"""Which weights are zero, and from when: pure functions on tensors, no trainer."""
