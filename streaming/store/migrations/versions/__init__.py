"""The revisions: numbered, linear, each able to run inside one transaction."""
