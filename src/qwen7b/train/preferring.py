"""Direct preference optimization: a recipe in, a run out, whose reference is the model as it was before."""

from __future__ import annotations

from pathlib import Path

from qwen7b.train.mesh_settings import ONE_COPY, MeshSettings
from qwen7b.train.preference_batches import PreferenceBatches
from qwen7b.train.preference_examples import label_pairs
from qwen7b.train.preference_loss import PreferenceObjective
from qwen7b.train.preference_recipe import PreferenceRecipe
from qwen7b.train.preferences import read_preferences
from qwen7b.train.tuning import started_tuning


def prefer(
    recipe: PreferenceRecipe,
    folder: Path,
    *,
    control_rows: bool | None = None,
    device: str = "auto",
    mesh: MeshSettings = ONE_COPY,
    offline: bool | None = None,
) -> Path:
    """Train a model to prefer some answers to others, in a run's folder; a run that was stopped goes on.

    Returns the folder of the last saved step. Raises what `started_tuning` raises.
    """
    with started_tuning(
        recipe,
        folder,
        label=lambda files, labelling: label_pairs(read_preferences(files), labelling),
        control_rows=control_rows,
        device=device,
        mesh=mesh,
        offline=offline,
    ) as tuning:
        batches = PreferenceBatches(tuning.order, tuning.run.ranks)
        # A new adapter changes nothing yet, so the model is its own base.
        batches.read_reference(tuning.model, tuning.steps_to_do, dtype=tuning.probe.dtype)
        return tuning.train(batches, PreferenceObjective(beta=recipe.beta))
