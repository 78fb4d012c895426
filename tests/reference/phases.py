"""AC/DC's phases, walked through epoch by epoch. No package imports."""


def phases(num_epochs, pruned_after, freed_after):
    """Say of each epoch whether it trains inside masks."""
    sparse, told = False, []
    for epoch in range(num_epochs):
        if epoch in pruned_after:
            sparse = True
        if epoch in freed_after:
            sparse = False
        told.append(sparse)
    return told
