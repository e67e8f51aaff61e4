"""What runs a network: one module per runtime, chosen by `open_engine`."""
