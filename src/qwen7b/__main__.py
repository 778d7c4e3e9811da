"""`python -m qwen7b`, the same as the `qwen7b` command."""

from qwen7b.cli.app import main

if __name__ == "__main__":
    main()
