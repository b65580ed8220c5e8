"""Tells problems of one kind together: their texts differ by names and numbers alone."""

import re
from collections.abc import Iterable

from trainable.data_errors import Problem


def by_kind(problems: Iterable[Problem]) -> list[list[str]]:
    """Return the texts of problems, those of a kind together, the most frequent kind first; each text once."""
    kinds: dict[str, dict[str, None]] = {}
    for problem in problems:
        kinds.setdefault(_kind(problem), {})[problem.text] = None
    return sorted((list(texts) for texts in kinds.values()), key=lambda texts: -len(texts))


def _kind(problem: Problem) -> str:
    text = problem.text
    if problem.file_name:
        text = text.replace(problem.file_name, "…").replace(problem.file_name.rpartition("/")[2], "…")
    return re.sub(r"'[^']*'|\"[^\"]*\"|\S*\d\S*", "…", text)
