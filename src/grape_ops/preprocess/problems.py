"""What is wrong with a screen: counted, told all at once, and either the end of the run or a drop."""

from dataclasses import asdict, dataclass, field
from typing import Any

from grape_ops.errors import GrapeOpsError

_SHOWN = 5


@dataclass(frozen=True)
class Problem:
    """One kind of problem: how often, and where for example."""

    what: str
    count: int
    examples: tuple[str, ...]


@dataclass
class Problems:
    """Everything found so far.

    Parameters
    ----------
    on_problem : "stop" or "drop", as the setting of this name.
    """

    on_problem: str
    found: list[Problem] = field(default_factory=list)

    def add(self, what: str, where: list[str]) -> None:
        """Note a kind of problem, if there are any places it was found at."""
        if where:
            self.found.append(Problem(what, len(where), tuple(where[:_SHOWN])))

    def settle(self) -> None:
        """Stop with everything found so far, unless the setting says to go on without what is affected."""
        if not self.found or self.on_problem == "drop":
            return
        lines = []
        for problem in self.found:
            more = ", ..." if problem.count > _SHOWN else ""
            lines.append(f"  {problem.count} {problem.what}: {', '.join(problem.examples)}{more}")
        raise GrapeOpsError(
            "The screen has problems:\n" + "\n".join(lines) + "\nMend them, or leave out what is affected with "
            "--set preprocess.on_problem=drop; with --resume nothing is computed twice."
        )

    def listed(self) -> list[dict[str, Any]]:
        """Give all problems in the form they are written to the quality counts."""
        return [asdict(problem) | {"examples": list(problem.examples)} for problem in self.found]
