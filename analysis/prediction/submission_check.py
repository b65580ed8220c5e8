"""What is wrong with a submission file."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from analysis.prediction.submission import class_map, header_problems, numbered_lines, split_row
from trainable.coco.json_file import listed_names, not_a_folder
from trainable.counts import agrees, counted
from trainable.machine.terminal import error_console, open_console


def check_submission(
    path: Path, expected: list[str], order: list[str] | None = None, warn: Callable[[str], Any] = lambda message: None
) -> list[str]:
    """Return all that is wrong with a file, the line with it.

    Args:
        path: the csv. Line ends may be those of Windows, the last may be missing.
        expected: the image_id of each test photo, at least one.
        order: the image_ids as sample_submission.csv orders them; None takes any order.
        warn: called with what is odd but no fault.
    """
    problems: list[str] = []
    line_of: dict[str, int] = {}
    single: list[bool] = []  # of each map, whether it is of one class
    valid_ids, number = set(expected), 0
    try:
        for number, line in numbered_lines(path):
            if number == 1:
                problems += header_problems(line)
                # A file without a header has a row there.
                if not problems or line.removeprefix(b"\xef\xbb\xbf").split(b",")[0].decode("latin-1") not in valid_ids:
                    continue
            problems += _row_problems(number, line, expected, valid_ids, line_of, single)
    except ValueError as error:
        problems.append(str(error))
    if number == 0:
        return [f"{path} is empty; fetch it again"]
    problems += [f"{image_id} is missing" for image_id in expected if image_id not in line_of]
    if order:
        problems += _order_problems(line_of, order)
    if single and all(single):
        warn("every map is of a single class")
    return problems


def listed(problems: list[str], shown: int = 20) -> str:
    """Return the first problems, one a line, and the count of the rest."""
    lines = [f"  {problem}" for problem in problems[:shown]]
    lines += [f"  and {len(problems) - shown} more"] if len(problems) > shown else []
    return "\n".join(lines)


def expected_ids(data: Path) -> tuple[list[str], list[str] | None]:
    """Return the image_ids that a submission needs, and their order where sample_submission.csv gives one.

    The photos themselves need not be there.

    Raises:
        ValueError: there is no test.json, it does not name the photos, or the two files name others.
    """
    path, sample = data / "test.json", data / "sample_submission.csv"
    if data.is_file():
        raise ValueError(not_a_folder(data))
    if not path.exists():
        raise ValueError(f"{path} not found; --data must be a folder with the competition's test.json")
    names = listed_names(path)
    if not names or len(set(names)) < len(names):
        raise ValueError(f"{path} must name at least one photo and none twice, found {len(names)}; fetch it again")
    if not sample.exists():
        return names, None
    order = _sample_order(sample)
    if order and sorted(order) != sorted(names):
        one = min(set(order) ^ set(names), default="one twice")
        raise ValueError(f"{sample} and test.json name other photos, such as {one}; fetch both again")
    return names, order or None  # the competition's own holds nothing but the header


def _sample_order(sample: Path) -> list[str]:
    """Return the image_ids of a sample submission; blank lines are none.

    Raises:
        ValueError: a line has no image_id.
    """
    order = []
    for number, line in numbered_lines(sample):
        if number > 1 and line.strip():
            try:
                order.append(split_row(line)[0])
            except ValueError as error:
                raise ValueError(f"{sample}, line {number} {error}") from None
    return order


def _row_problems(
    number: int, line: bytes, expected: list[str], valid_ids: set[str], line_of: dict[str, int], single: list[bool]
) -> Iterator[str]:
    try:
        image_id, values = split_row(line)
    except ValueError as error:
        yield f"line {number} {error}"
        return
    if image_id in line_of:
        yield f"line {number}: {image_id} is on line {line_of[image_id]} too; keep one"
    elif image_id not in valid_ids:
        yield f"line {number}: {image_id!r:.80} is none of the {len(valid_ids)} test photos, such as {expected[0]}"
    line_of.setdefault(image_id, number)
    try:
        classes = class_map(values)
        single.append(classes.min() == classes.max())
    except ValueError as error:
        yield f"line {number}, {image_id:.80}: {error}"


def _order_problems(line_of: dict[str, int], order: list[str]) -> list[str]:
    expected = [image_id for image_id in order if image_id in line_of]
    asked = set(expected)
    actual = [image_id for image_id in line_of if image_id in asked]
    moved = [pair for pair in zip(actual, expected, strict=True) if pair[0] != pair[1]]
    if not moved:
        return []
    one, other = moved[0]
    message = f"line {line_of[one]}: {one} stands where sample_submission.csv has {other}; keep its order"
    return [f"{message} ({counted(len(moved), 'row')} {agrees(len(moved), 'has', 'have')} left it)"]


def check_file(path: Path, data: Path) -> int:
    """Say what is wrong with a file; returns the exit status: 0 if nothing is, 1 if something is.

    Raises:
        ValueError: what a submission for this data needs cannot be told.
        OSError: the file cannot be read.
    """
    errors = error_console()
    expected, order = expected_ids(data)
    problems = check_submission(
        path, expected, order, lambda message: errors.print(f"warning: {message}", style="yellow")
    )
    if problems:
        count = counted(len(problems), "problem")
        errors.print(f"{count} in {path}:\n{listed(problems)}", style="red")
        return 1
    open_console().print(
        f"{path} is a valid submission of {counted(len(expected), 'photo')}", highlight=False, soft_wrap=True
    )
    return 0
