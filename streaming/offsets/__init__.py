"""Where the apps stand on their topics, and how that is moved."""
