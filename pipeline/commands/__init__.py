"""The larger commands of run_stream.py, one a file. Like it, they may import whatever they command."""
