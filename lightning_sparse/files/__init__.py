"""Files and folders: written whole or not at all, tensors, hashes of what a run left behind."""
