"""Fine-tuning on conversations: a recipe in, a run out, with all weights trained or an adapter beside them."""

from __future__ import annotations

from pathlib import Path

from qwen7b.train.conversations import read_conversations
from qwen7b.train.example_batches import ExampleBatches
from qwen7b.train.finetune_recipe import FinetuneRecipe
from qwen7b.train.labels import label_all
from qwen7b.train.mesh_settings import ONE_COPY, MeshSettings
from qwen7b.train.objective import next_token_loss
from qwen7b.train.tuning import started_tuning


def finetune(
    recipe: FinetuneRecipe,
    folder: Path,
    *,
    control_rows: bool | None = None,
    device: str = "auto",
    mesh: MeshSettings = ONE_COPY,
    offline: bool | None = None,
) -> Path:
    """Train a model further on conversations, in a run's folder; a run that was stopped goes on.

    Returns the folder of the last saved step. Raises what `started_tuning` raises.
    """
    with started_tuning(
        recipe,
        folder,
        label=lambda files, labelling: label_all(read_conversations(files), labelling),
        mode=recipe.mode,
        control_rows=control_rows,
        device=device,
        mesh=mesh,
        offline=offline,
    ) as tuning:
        return tuning.train(ExampleBatches(tuning.order, tuning.run.ranks), next_token_loss)
