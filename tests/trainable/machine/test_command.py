"""What commands have in common."""

import pytest

from trainable.machine.command import told


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            FileNotFoundError(2, "No such file or directory", "/none"),
            "there is no file or folder /none; see that it is",
        ),
        (
            FileNotFoundError(2, "No such file or directory", "/no/b"),
            "there is no folder /no, where b is or goes; make",
        ),
        (IsADirectoryError(21, "Is a directory", "/a"), "/a is a folder and a file is needed; name a file"),
        (NotADirectoryError(20, "Not a directory", "/a/b"), "/a/b is, or is below, a file, and a folder is needed"),
        (PermissionError(13, "Permission denied", b"/a"), "/a may not be read or written by you (Permission denied); "),
        (OSError("said by us"), "said by us"),
        (FileNotFoundError("no final model in runs/a"), "no final model in runs/a"),
        (ValueError("a rule"), "a rule"),
    ],
)
def test_errors_of_the_system_are_told_with_a_remedy(error, said):
    assert told(error).startswith(said)
