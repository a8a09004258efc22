"""Generated purchases: orders, their times, and deliberate corruption."""
