"""Queries over the aggregate tables for the dashboard, the API, exports and the status."""
