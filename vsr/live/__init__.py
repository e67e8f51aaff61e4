"""Upscaling as it plays: capture, pacing, deadline control, display."""
