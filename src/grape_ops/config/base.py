"""What the branches of the configuration share."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]

# Given to a field as ``json_schema_extra``: it says how the work is done, and no result depends on it.
HOW_ONLY: dict[str, Any] = {"affects_results": False}

# The same for what is not of the paper: other methods in GRAPE's networks leave it out (``Settings.of_the_paper``).
ADDITION: dict[str, Any] = {"addition": True}


class Settings(BaseModel):
    """A frozen branch of the tree."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    def of_the_paper(self) -> Self:
        """The same with every field that is an ``ADDITION`` at its default."""
        changed = {}
        for name, field in type(self).model_fields.items():
            extra, value = field.json_schema_extra, getattr(self, name)
            if isinstance(extra, dict) and extra.get("addition"):
                changed[name] = field.get_default()
            elif isinstance(value, Settings):
                changed[name] = value.of_the_paper()
        return self.model_copy(update=changed)

    def decisive(self) -> dict[str, Any]:
        """The settings that decide results, as JSON: all but those whose field is ``HOW_ONLY``."""
        found = {}
        for name, field in type(self).model_fields.items():
            extra = field.json_schema_extra
            if isinstance(extra, dict) and extra.get("affects_results") is False:
                continue
            value = getattr(self, name)
            found[name] = value.decisive() if isinstance(value, Settings) else None
        plain = self.model_dump(mode="json", include={name for name, value in found.items() if value is None})
        return {name: plain[name] if value is None else value for name, value in found.items()}
