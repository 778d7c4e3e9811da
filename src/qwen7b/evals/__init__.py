"""How good and how fast a model is: texts or shapes in, numbers out. The room knows no terminal."""

from qwen7b.evals.bench import Speed, Work, measure_speed
from qwen7b.evals.needle import Retrieval, measure_retrieval
from qwen7b.evals.perplexity import Perplexity, measure_perplexity
from qwen7b.evals.plots import check_plot, plot_perplexity, plot_retrieval
from qwen7b.evals.shapes import SHAPES, random_model
from qwen7b.evals.subject import Subject
from qwen7b.evals.tables import perplexity_table, retrieval_table

__all__ = [
    "SHAPES",
    "Perplexity",
    "Retrieval",
    "Speed",
    "Subject",
    "Work",
    "check_plot",
    "measure_perplexity",
    "measure_retrieval",
    "measure_speed",
    "perplexity_table",
    "plot_perplexity",
    "plot_retrieval",
    "random_model",
    "retrieval_table",
]
