"""The tests of the project, in the folders of what they test."""
