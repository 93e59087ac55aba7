"""The base class of a study's sections, and the labels and numbers in them."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

# A label becomes a folder `model=<label>` and a wildcard of the workflow.
LABEL_PATTERN = r"[A-Za-z0-9_-][A-Za-z0-9_.-]*"
Label = Annotated[str, StringConstraints(pattern=f"^{LABEL_PATTERN}$")]
Positive = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
# The range that torch accepts and tables can hold.
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class Section(BaseModel):
    """Base of every section: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)
