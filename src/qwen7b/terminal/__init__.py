"""The conversation at a terminal: keystrokes in; out go the model's replies as they are made, and commands obeyed.

Knows terminals, their languages and what they would obey; knows no verb of the command line, nor how a reply is made.
"""
