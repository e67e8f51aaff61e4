"""vsr-bench: how fast, how large and how good vsr is on this machine, and whether two results differ beyond noise."""
