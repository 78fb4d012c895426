"""Images in, batches out; may know Lightning and the random streams, never a model or a mask."""
