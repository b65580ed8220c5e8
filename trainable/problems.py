"""What can be wrong with a data set, and the error that tells all of it at once."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Problem:
    """What is wrong with the data, and with which photo; `file_name` is None where it is not about one photo."""

    file_name: str | None
    text: str


class DataError(ValueError):
    """The data cannot be used as it is. Lists the first 20 problems and the count of all."""

    def __init__(self, root: Path, problems: tuple[Problem, ...]):
        self.problems = problems
        count = len(problems)
        lines = [f"{count} problem{'s' if count > 1 else ''} in {root}:"]
        lines += [f"  {problem.text}" for problem in problems[:20]]
        if count > 20:
            lines.append(f"  and {count - 20} more")
        if any(problem.file_name for problem in problems):
            lines.append("Mend them, or pass --skip-bad to go on without the bad photos and annotations.")
        super().__init__("\n".join(lines))
