"""Networks, what of them may be pruned, and what a forward pass costs."""
