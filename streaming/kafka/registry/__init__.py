"""The schema registry as we see it: where it is, what it is asked, which schemas are known."""
