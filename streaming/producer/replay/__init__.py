"""Recorded purchases, replayed from a file."""
