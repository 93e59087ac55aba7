"""Plans the eigendecompositions of second moments that an editor's options require."""

import hashlib
from pathlib import Path
from typing import Annotated

from pydantic import Field

from editcore.config.options import Requiring, Spectrum, needs
from editcore.config.section import Natural
from editcore.planning import paths
from editcore.planning.jobs import Job, ModelSpec, MomentJob
from editcore.planning.paths import ArtefactKey


class SpectrumJob(Job):
    """Decompose the second moments of some layers of one model; `moments` are files, by layer."""

    model: ModelSpec
    moments: Annotated[dict[Natural, str], Field(min_length=1)]

    @property
    def key(self) -> ArtefactKey:
        """The model, and a short hash of the files, whose names depend on all that made them."""
        text = self.model_dump_json(include={"moments"})
        return ArtefactKey(self.model.name, hashlib.sha256(text.encode()).hexdigest()[:8])

    @property
    def files(self) -> dict[int, str]:
        """The file of each layer's decomposition, by layer."""
        folder = paths.spectra(*self.key)
        return {layer: str(paths.of_layer(folder, layer)) for layer in self.moments}

    @property
    def inputs(self) -> list[str]:
        """The folders of second moments, which the rules of the workflow make as a whole."""
        return sorted({str(Path(file).parent) for file in self.moments.values()})


def planned(options: Requiring, moments: MomentJob | None) -> SpectrumJob | None:
    """The job for all layers whose spectrum the options require; None if there is none."""
    layers = sorted({need.layer for need in needs(options, Spectrum)})
    if not layers or moments is None:
        return None
    files = moments.files
    return SpectrumJob(model=moments.model, moments={layer: files[layer] for layer in layers})
