"""Networks in the forms of others: ONNX and CSR files, and published checkpoints."""
