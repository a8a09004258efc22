"""Proof by another path: what the consumer counted, recounted without any of its code."""
