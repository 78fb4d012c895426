"""Lightning glue that trains one end point; knows sparsity, models and data, but no paths."""
