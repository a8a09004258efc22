"""The composed command line `purchases`: commands of both halves."""
