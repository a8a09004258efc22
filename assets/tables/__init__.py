"""What each aggregate table is: its columns, its grain, and how polars computes it."""
