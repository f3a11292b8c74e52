"""What is wrong with a screen: counted, reported all at once, and either the end of the run or a drop."""

from dataclasses import asdict, dataclass, field
from typing import Any

from grape_ops.errors import GrapeOpsError
from grape_ops.screen.quality import counted

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

    def add(self, what: str, where: list[str], count: int | None = None) -> None:
        """Note a kind of problem, if there are any places it was found at; one may stand for several."""
        if where:
            self.found.append(Problem(what, count or len(where), tuple(where[:_SHOWN])))

    def settle(self) -> None:
        """Stop with everything found so far, unless the setting says to go on without what is affected."""
        if not self.found or self.on_problem == "drop":
            return
        lines = []
        for problem in self.found:
            more = ", ..." if problem.count > _SHOWN else ""
            lines.append(f"  {counted(problem.count, problem.what)}: {', '.join(problem.examples)}{more}")
        raise GrapeOpsError(
            "The screen has problems:\n" + "\n".join(lines) + "\nMend them, or leave out what is affected with "
            "--set preprocess.on_problem=drop; with --resume nothing is computed twice."
        )

    def check_keeps_inputs(self, lost: int, of: int, most: float) -> None:
        """Stop even if set to drop what is affected, when that costs more than a share of the cells."""
        if self.on_problem == "drop" and self.found and lost > most * of:
            found = ", ".join(counted(problem.count, problem.what) for problem in self.found)
            example = self.found[0].examples[0].rstrip(".")
            raise GrapeOpsError(
                f"The screen has problems that would cost {counted(lost, 'cells')} of {of:,}: {found}; for example "
                f"{example}. Mend them, or allow it with --set preprocess.most_lost=1; with --resume nothing is "
                "computed twice."
            )

    def listed(self) -> list[dict[str, Any]]:
        """Give all problems in the form they are written to the quality counts."""
        return [asdict(problem) | {"examples": list(problem.examples)} for problem in self.found]
