"""The conversation at a terminal: keystrokes in, the model's replies out as they are generated; it also runs commands.

The room knows terminals, their languages and their control sequences; it knows no verb of the command line, nor how a
reply is generated.
"""
