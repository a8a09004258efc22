"""How the deployment is, seen from outside: gathered, with_problems, and shown."""
