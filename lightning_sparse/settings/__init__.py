"""Settings: one typed tree, whose parts are declared by the rooms that use them."""
