"""A parameter as the matrix that a change is added to."""

from torch import Tensor

from editcore.toolkit import LoadedModel, stores_transposed


def weight(model: LoadedModel, parameter: str) -> Tensor:
    """W `[d_out, d_in]`, however the model stores it; other parameters in their own shape."""
    own = model.model.get_parameter(parameter).detach()
    return own.T if stores_transposed(model.model, parameter) else own
