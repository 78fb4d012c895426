"""FFCV's files: written, and read by its loader with a decoder of our own."""
