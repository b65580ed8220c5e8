"""Every command in README and docs is one that works, and every link leads somewhere."""

import importlib
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from search.settings.arguments import parse
from tests.conftest import ROOT
from trashsweep.cli import COMMANDS

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
OTHERS = (
    "ray", "git", "cd", "jupyter", "pip", "tensorboard", "optuna-dashboard", "cat", "for", "do", "done", "aws", "ssh",
    "docker", "kill", "export", "curl", "sh", ".", "rclone",
)  # fmt: skip
"""First words of lines that are not ours."""
WIDEST = 95
"""Characters of a command that the site shows without cutting it off, see docs/css/site.css."""
TARGETS = set(re.findall(r"^([\w./-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def lines(page: Path):
    """Yield each line of a page's shell blocks, whole where it goes on, without comments."""
    for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL):
        block = re.sub(r"<<'(\w+)'\n.*?\n\1\n", "\n", block, flags=re.DOTALL)  # what a command is given to read
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True) if line.count('"') % 2 == 0 and line.count("'") % 2 == 0 else []
            if words:
                yield words


def inline(page: Path):
    """Yield the commands within a page's text."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for code in re.findall(r"`([^`\n]+)`", text):
        if code.startswith(("python ", "trashsweep ", "make ")):
            yield shlex.split(code, comments=True)


CASES = [(page, words) for page in PAGES for words in (*lines(page), *inline(page))]


@pytest.mark.parametrize(("page", "words"), CASES, ids=lambda each: each.name if isinstance(each, Path) else each[0])
def test_command_is_one_that_works(page, words):
    while words and "=" in words[0]:
        words = words[1:]  # a variable before the command
    words = words[: words.index("&&")] if "&&" in words else words
    words = [each for each in words if each not in ("...", "&") and "[" not in each and "]" not in each]
    first = words[0]
    if first == "trashsweep":
        if words[1:] and not words[1].startswith("-"):
            check(COMMANDS[words[1]].module, [*COMMANDS[words[1]].first, *words[2:]])
    elif first == "make":
        assert set(words[1:2]) <= TARGETS
    elif first == "python" and words[1] == "-m":
        if words[2].startswith("benchmarks") or words[2].startswith("tests"):
            path = ROOT / words[2].replace(".", "/")
            assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), words[2]
        elif words[2].startswith("trainable"):
            check(words[2], words[3:])
    elif first == "python" and words[1].endswith(".py"):
        assert (ROOT / words[1]).exists(), words[1]
        check(words[1].removesuffix(".py").replace("/", "."), words[2:])
    else:
        assert first in OTHERS or first.startswith(("http", "/", "$")), f"{page.name}: {words}"


def check(module, words):
    """Parse the words of a command of ours, numbers in the place of names for numbers."""
    numbers = {
        "N": "1",
        "K": "1",
        "S": "2",
        "H": "1",
        "PX": "64",
        "X": "1",
        "TIME": "1h",
        "MONEY": "5",
        "M": "5",
        "V": "1",
    }
    words = [numbers.get(word, "losses" if word == "$space" else word) for word in words]
    if module.startswith("analysis"):
        words = [word.replace("s3://BUCKET/", "") for word in words]  # no network is asked
    if "--help" in words or not words:
        return
    if module == "search.run":
        if not any(":" in word and ".py" in word for word in words):  # a file of the reader's own
            parse(words)
        return
    importlib.import_module(module).main.parser().parse_args(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = page.read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"^\[\w+\]: (\S+)$", text, re.MULTILINE):
        if target.startswith(("http", "mailto")):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor and file.suffix == ".md":
            heads = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
            made = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
            assert anchor in made, f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_has_one_title_and_commands_that_fit_its_width(page):
    text = page.read_text()
    titles = re.findall(r"^# .+$", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    assert len(titles) == 1, "a second title takes the page's table of contents away"
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    assert [line for block in blocks for line in block.splitlines() if len(line) > WIDEST] == []


def test_every_command_is_listed():
    rows = (ROOT / "docs" / "commands.md").read_text().splitlines()
    listed = [row for row in rows if row.startswith("| `trashsweep ")]
    for (name, command), row in zip(COMMANDS.items(), listed, strict=True):
        path = command.module.replace(".", "/") + ".py"
        script = f"python -m {command.module}" if command.module.startswith("trainable") else f"python {path}"
        run, told = ["NAME"] if command.first else [], command.told.removesuffix(f": {name} NAME")
        typed, words = " ".join(["trashsweep", name, *run]), " ".join([script, *command.first, *run])
        assert row == f"| `{typed}` | {told} | `{words}` |"


def test_readme_is_one_page():
    assert len((ROOT / "README.md").read_bytes()) <= 8000


@pytest.mark.slow
def test_site_builds_without_a_warning(tmp_path):
    builder = Path(sys.executable).with_name("zensical")
    if not builder.exists():
        pytest.skip("zensical, which builds the site, is not installed")
    copy = tmp_path / "copy"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "runs", "site", "tests", "benchmarks"))
    done = subprocess.run([str(builder), "build", "--strict"], cwd=copy, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (copy / "site" / "api" / "index.html").read_text()
    assert "search.api" in page and "gpu_hours" in page and "out_of_fold" in page
