"""The command line of the stream's half: arguments in, sentences and exit codes out, no logic."""
