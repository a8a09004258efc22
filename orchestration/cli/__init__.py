"""The composed command line `purchases`: the stream's commands and Dagster's."""
