"""What runs left on the disk: read again, two of them compared item by item, and all shown beside published scores.

The room knows no model: `qwen7b.evals` makes the runs.
"""

from qwen7b.results.comparison import Comparison, compare
from qwen7b.results.explanation import RunComparison, explain
from qwen7b.results.report import write_report
from qwen7b.results.saved_run import SavedRun, read_runs

__all__ = ["Comparison", "RunComparison", "SavedRun", "compare", "explain", "read_runs", "write_report"]
