"""Live figures: the report, the sampler behind the dashboard, and the terminal's view."""
