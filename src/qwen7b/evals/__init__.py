"""How good and how fast a model is: texts or shapes in, numbers out. Knows no terminal."""

from qwen7b.evals.bench import Speed, Work, measure_speed
from qwen7b.evals.perplexity import Perplexity, measure_perplexity
from qwen7b.evals.shapes import SHAPES, random_model

__all__ = ["SHAPES", "Perplexity", "Speed", "Work", "measure_perplexity", "measure_speed", "random_model"]
