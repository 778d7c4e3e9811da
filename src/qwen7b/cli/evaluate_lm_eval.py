"""`qwen7b eval lm-eval`: lm-eval's own command line, which then knows the model "qwen7b"."""

from __future__ import annotations

import sys

import typer

from qwen7b.cli import options
from qwen7b.errors import Qwen7bError, SettingError

SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}
"""All arguments from the first on are lm-eval's, --help too."""


def lm_eval(context: typer.Context) -> None:
    """Run another task through lm-eval.

    The arguments are those of lm-eval's own command, which here knows the model "qwen7b". Its model_args are pretrained
    (a name, a folder, a .gguf file or a hub id), quantize, dtype, context_length, long_context, chat, offline,
    speculate, max_gen_toks, prefix_token_id and control_tokens. Where --device is left out, lm-eval names cuda:0: the
    model then runs there if it can, as with auto.
    """
    import qwen7b.evals.lm_eval_adapter  # noqa: F401  # which registers the model

    options.set_threads(None)
    from lm_eval.__main__ import cli_evaluate  # type: ignore[import-untyped]

    before = sys.argv
    sys.argv = ["lm-eval", *(context.args or ["--help"])]
    try:
        cli_evaluate()
    except Qwen7bError:
        raise
    except ValueError as error:  # what lm-eval raises for an argument that it cannot use
        raise SettingError(f"lm-eval says: {error}") from error
    finally:
        sys.argv = before
