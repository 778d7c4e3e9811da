"""The command line: arguments in, text or one JSON document out, and an exit code.

A verb parses its arguments, calls one library function and prints. Nothing heavy is imported before a verb runs.
"""
