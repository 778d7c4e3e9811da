"""What the machine and the user give: memory and cores, whole files, the environment's words, progress and its bar.

It also bounds what comes from strangers: their files, and the templates in them. In come paths, sizes and variables;
out go contents, numbers, or an error that says what to do. Knows no model and no format of a model's files.
"""
