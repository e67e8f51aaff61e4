"""CUDA as a dozen calls, and the slots that keep a GPU busy with them."""
