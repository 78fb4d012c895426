"""Makes jobs: builds what settings name, looks before the first begins, trains and fits."""
