"""The dashboard over HTTP: files, endpoints, authentication, events, ingest and metrics."""
