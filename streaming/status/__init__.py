"""How the deployment is, seen from outside: gathered, judged, and shown."""
