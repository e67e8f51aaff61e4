"""The command lines: each parses, opens, loops and closes."""
