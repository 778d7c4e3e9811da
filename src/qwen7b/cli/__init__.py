"""The command line: comes in as arguments and keystrokes, goes out as text; knows nothing of how a reply is made.

A command parses, calls one library function and prints. Nothing heavy is imported before a command runs.
"""
