"""The stream's part of the page: what is selling now, how the stream does, what was refused."""
