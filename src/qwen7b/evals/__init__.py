"""How good and how fast a model is: texts, tasks or shapes in, numbers out. The room knows no terminal.

Its modules are imported when they are first used, as most of them need torch, and plots another library still.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen7b.system.importing import imported_when_used

if TYPE_CHECKING:
    from qwen7b.evals.bench import Speed, Work, measure_speed
    from qwen7b.evals.evaluation import Evaluation, evaluate
    from qwen7b.evals.fetching import fetch_benchmark
    from qwen7b.evals.needle import Retrieval, measure_retrieval
    from qwen7b.evals.perplexity import Perplexity, measure_perplexity
    from qwen7b.evals.plots import plot_perplexity, plot_retrieval
    from qwen7b.evals.plugin_sets import write_plugin_sets
    from qwen7b.evals.shapes import SHAPES, random_model
    from qwen7b.evals.subject import Subject
    from qwen7b.evals.tables import perplexity_table, retrieval_table

__all__ = [
    "SHAPES",
    "Evaluation",
    "Perplexity",
    "Retrieval",
    "Speed",
    "Subject",
    "Work",
    "evaluate",
    "fetch_benchmark",
    "measure_perplexity",
    "measure_retrieval",
    "measure_speed",
    "perplexity_table",
    "plot_perplexity",
    "plot_retrieval",
    "random_model",
    "retrieval_table",
    "write_plugin_sets",
]

__getattr__ = imported_when_used(
    __name__,
    {
        "Evaluation": "evaluation",
        "Perplexity": "perplexity",
        "Retrieval": "needle",
        "SHAPES": "shapes",
        "Speed": "bench",
        "Subject": "subject",
        "Work": "bench",
        "evaluate": "evaluation",
        "fetch_benchmark": "fetching",
        "measure_perplexity": "perplexity",
        "measure_retrieval": "needle",
        "measure_speed": "bench",
        "perplexity_table": "tables",
        "plot_perplexity": "plots",
        "plot_retrieval": "plots",
        "random_model": "shapes",
        "retrieval_table": "tables",
        "write_plugin_sets": "plugin_sets",
    },
)
