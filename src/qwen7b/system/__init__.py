"""What the machine and the user provide: memory, cores, files, environment variables, signals, a terminal for progress.

It also bounds what untrusted files, and the templates in them, can cost. In come paths, sizes and variables; out go
contents, numbers, or an error that says what to do. Knows no model and no format of a model's files.
"""
