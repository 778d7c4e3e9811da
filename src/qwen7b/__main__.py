"""`python -m qwen7b`, the same as the `qwen7b` command."""

from qwen7b.system.signals import ending_by_signals


def main() -> None:
    """Entry point of the command."""
    with ending_by_signals():
        from qwen7b.cli.app import main  # which takes long enough for a Ctrl-C

        main()


if __name__ == "__main__":
    main()
