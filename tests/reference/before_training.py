"""Slow and obvious second implementations of scores before training. No package imports."""


def ranked_together(scores, num_kept):
    """Keep the highest of all layers, given as flat lists by name; earlier first among equals."""
    order = [(-score, number, name) for name in scores for number, score in enumerate(scores[name])]
    layer = {name: position for position, name in enumerate(scores)}
    order.sort(key=lambda entry: (entry[0], layer[entry[2]], entry[1]))
    kept = {(name, number) for _, number, name in order[:num_kept]}
    return {
        name: [(name, number) in kept for number in range(len(scores[name]))] for name in scores
    }


def flow_scores(first, second, inputs):
    """Score a network of two matrices, given as lists of rows, for inputs of ones.

    Sums over all ways from an input to an output that pass through a weight.
    """
    first, second = ([[abs(w) for w in row] for row in matrix] for matrix in (first, second))
    out_of = [sum(row[hidden] for row in second) for hidden in range(len(first))]
    into = [sum(row[:inputs]) for row in first]
    return {
        "first": [w * out_of[hidden] for hidden, row in enumerate(first) for w in row],
        "second": [w * into[hidden] for row in second for hidden, w in enumerate(row)],
    }


def pruned_by_flow(first, second, *, num_kept_by_round):
    """Prune in rounds; return flat masks of both matrices."""
    masks = {"first": [True] * (len(first) * len(first[0])),
             "second": [True] * (len(second) * len(second[0]))}  # fmt: skip
    for num_kept in num_kept_by_round:
        left = {
            name: [
                [w * masks[name][len(row) * i + j] for j, w in enumerate(row)]
                for i, row in enumerate(matrix)
            ]
            for name, matrix in (("first", first), ("second", second))
        }
        scores = flow_scores(left["first"], left["second"], len(first[0]))
        ranked = {
            name: [s if kept else -1 for s, kept in zip(scores[name], masks[name], strict=True)]
            for name in scores
        }
        masks = ranked_together(ranked, num_kept)
    return masks
