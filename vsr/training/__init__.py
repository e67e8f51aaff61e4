"""Training, quantisation, export and evaluation of the luma networks. Needs the `train` extra."""
