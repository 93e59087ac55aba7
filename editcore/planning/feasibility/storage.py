"""The memory of a job with a model, and the disk that a study's results take."""

from collections.abc import Mapping

from editcore.planning.feasibility.model_size import ModelSize
from editcore.planning.study import Study

# Of a process with its libraries, and of the activations of a batch.
PROCESS_BYTES, BATCH_BYTES = 4 * 10**8, 2**29
# A model's weights and what is made of them: a copy in another precision, states of gradients.
COPIES = 2.2
TABLES_BYTES = 2 * 10**7
FLOAT_BYTES = 4


def job_memory(size: ModelSize) -> int:
    """Bytes of memory of one job with this model, measured on models of 2 and 135 million.

    A search for v* takes less, a task with a large vocabulary up to half more.
    """
    return round(PROCESS_BYTES + BATCH_BYTES + COPIES * size.weight_bytes + size.moment_bytes)


def results_disk(study: Study, sizes: Mapping[str, ModelSize]) -> int:
    """The most bytes that the study's results take on disk.

    Changes of editors that search for v* are stored as two factors; those of others count as whole
    matrices, which few of them are.
    """
    total = TABLES_BYTES
    for moments_key, moments in study.moments.items():
        if size := sizes.get(moments_key.model):
            total += len(moments.layers) * size.moment_bytes
    for value_key, values in study.values.items():
        if size := sizes.get(value_key.model):
            total += len(values.case_ids) * size.width * FLOAT_BYTES
    for edit_key, edits in study.edits.items():
        if size := sizes.get(edit_key.model):
            factors, matrix = size.width + size.inner, size.width * size.inner
            layers = edits.editor.options.get("layers")
            count = len(layers) if isinstance(layers, list | tuple) else 1
            changed = count * (factors if edits.values else matrix)
            total += len(edits.case_ids) * changed * FLOAT_BYTES
    return total
