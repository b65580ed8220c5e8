"""What can be wrong with a data set, what was mended in it, and the error that tells all of it at once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainable.counts import counted


@dataclass(frozen=True)
class Problem:
    """What is wrong with the data, and with which photo; `file_name` is None where it is not about one photo."""

    file_name: str | None
    text: str


@dataclass(frozen=True)
class Note:
    """What was mended or left out of a photo that is kept."""

    kind: str  # what was done; notes of one kind are told together
    text: str  # with what


class DataError(ValueError):
    """The data cannot be used as it is. Lists the first 20 problems and the count of all."""

    def __init__(self, root: Path, problems: tuple[Problem, ...], skipping: bool = False):
        self.problems = problems
        texts = list(dict.fromkeys(problem.text for problem in problems))  # one may make several photos bad
        count = len(texts)
        lines = [f"{counted(count, 'problem')} in {root}:"]
        lines += [f"  {text}" for text in texts[:20]]
        if count > 20:
            lines.append(f"  and {count - 20} more")
        if all(problem.file_name for problem in problems):
            lines.append(
                "Mend them: no photo would be left without the bad ones."
                if skipping
                else "Mend them, or pass --skip-bad to go on without the bad photos."
            )
        elif any(problem.file_name for problem in problems):
            lines.append("Mend them. --skip-bad leaves out bad photos, but cannot mend what concerns all of them.")
        super().__init__("\n".join(lines))


def data_notes(notes: Iterable[Note], skipped: Sequence[Problem]) -> list[str]:
    """Return what is worth knowing of data that is used, a line for each kind of note and one for what is left out."""
    by_kind: dict[str, list[str]] = {}
    for note in notes:
        by_kind.setdefault(note.kind, []).append(note.text)
    lines = [
        f"{kind}: {texts[0]}" if len(texts) == 1 else f"{kind}: {len(texts)}, such as {texts[0]}"
        for kind, texts in by_kind.items()
    ]
    if skipped:
        count = len({problem.file_name for problem in skipped})
        what = "1 photo or entry:" if count == 1 else f"{count} photos or entries, such as"
        lines.append(f"skipped {what} {skipped[0].text}")
    return lines
