"""`up` and `down`: everything on one machine, as processes of one terminal."""
