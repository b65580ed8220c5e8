"""What is wrong with a command is said before Ray or PyTorch is imported, and nothing is left of it."""

import errno

import pytest

from search.cluster.ray_requirements import check_shared_memory, check_temporary
from search.run_state import run_location as folders
from search.run_state.run_location import driven, run_folder
from search.session.command import main, told_error
from search.session.command_checks import check_places, likely_machines
from search.settings.allocation import Machine
from search.settings.arguments import parse
from search.settings.settings import Settings
from tests.conftest import ROOT, write_photos
from tests.search.refusing import home_folder, refusals, snapshot  # noqa: F401 (a fixture)
from trainable.dataset.cache import check_cache_dir
from trainable.run_folder.folders import RunFolder
from trainable.storage.atomic_write import write_json
from trainable.storage.cache_dir import default_cache_dir

CPU = Machine(cores=2, gpus=0)

REFUSED = [
    (["--trials", "0"], "--trials must be at least 1, found 0"),
    (["--folds", "1"], "--folds must be at least 2, found 1"),
    (["--fold", "5"], "--fold must be 0 to 4 with --folds 5, found 5"),
    (["--image-size", "17"], "--image-size must be at least 32, found 17"),
    (["--epochs", "0"], "--epochs must be at least 1, found 0"),
    (["--batch-size", "0"], "--batch-size must be at least 1, found 0"),
    (["--seed", "-1"], "--seed must be 0 to 4294967295, found -1"),
    (["--seed", "4294967296"], "--seed must be 0 to 4294967295, found 4294967296"),
    (["--grace", "13"], "--grace must be 1 to the 12 epochs of the budget, found 13"),
    (["--reduction", "1"], "--reduction must be at least 2, found 1"),
    (["--keep-gb", "inf"], "--keep-gb must be a number above 0, found inf"),
    (["--concurrent", "0"], "--concurrent must be at least 1, found 0"),
    (["--concurrent", "500"], "--concurrent 500 is more than the"),
    (["--gpus", "0"], "--gpus must be at least 1, found 0"),
    (["--gpus-per-trial", "nan"], "--gpus-per-trial must be a number above 0, found nan"),
    (["--until", "soon"], "--until takes a duration"),
    (["--wandb", "project"], "pip install wandb"),
    (["--mlflow", "uri"], "pip install mlflow"),
    (["--space", "joint+losses"], "--space joint+losses: joint is all spaces: use it alone"),
    (["--space", "losses+none"], "--space losses+none: none is no space: use it alone"),
    (["--space", "loses"], "unknown space 'loses', did you mean 'losses'"),
    (["--encoders", "tiny"], "unknown encoder or group of encoders 'tiny'"),
    (["--architecture", "unett"], "unknown architecture 'unett'; did you mean 'unet'"),
    (["--encoder", "resnet181"], "unknown encoder 'resnet181'; did you mean 'resnet18'"),
    (["--encoder-weights", "nowhere"], "nowhere/tu-test_resnet.safetensors are not there; "),
    (["--address", "nonsense"], "--address nonsense: it takes HOST:PORT"),
    (["--address", "127.0.0.1:1"], "--address 127.0.0.1:1: nothing answers there"),
    (["--submit", "nonsense"], "--submit takes the address of a job server"),
    (["--confirm", "a", "--seeds", "0"], "--seeds must be at least 1, found 0"),
    (["--confirm", "a", "--include", "-1"], "--include must be at least 0, found -1"),
    (["--confirm", "a", "--top", "0"], "--top must be at least 1, found 0; 0 goes with --include N"),
    (["--extra", "/nope"], "the folder /nope does not exist; pass --extra an existing one"),
    (["--data", "data", "--image-size", "999999"], "caching 6 photos at 999999 px needs 23,999,9"),
    (["--space", "losses+"], "--space 'losses+' has a + without a space beside it"),
    (["--encoder-weights", str(ROOT / "README.md")], "README.md is a file; it takes the folder"),
    (["--runs-dir", str(ROOT / "README.md")], "README.md is a file, not a folder"),
    (["--resume", "a", "--runs-dir", str(ROOT / "README.md")], "README.md is a file, not a folder"),
    (["--resume", ""], "--resume must not be empty, found ''"),
    (["--extend", ""], "--extend must not be empty"),
    (["--name", ""], "--name must not be empty"),
    (["--runs-dir", ""], "--runs-dir must not be empty"),
    (["--warm-start", "a", ""], "--warm-start must not be empty"),
    (["--name", "a/b"], "--name must be a plain folder name, found 'a/b'"),
    (["--name", " "], "without a blank at its beginning or end, found ' '"),
    (["--name", "a\nb"], "--name must be of printable characters"),
    (["--name", "\x1b[31mred"], "--name must be of printable characters"),
    (["--name", "é" * 150], "--name must be at most 240 bytes long, found 300"),
    (["--resume", "n" * 300], "the runs there are: none"),
]


def test_options_are_refused_before_ray_and_pytorch_and_leave_nothing(home):
    write_photos(home / "data", count=6)
    said, imported = refusals(home, [options for options, _ in REFUSED])
    assert imported == []
    for (options, expected), (status, error) in zip(REFUSED, said, strict=True):
        assert (status, error.count("\n")) == (2, 1), (options, error)
        assert expected in error, (options, error)
    assert not (home / "runs").exists()


@pytest.mark.parametrize(("base", "said"), [
    ({"loss": {"name": "dicee"}}, "unknown loss 'dicee'; did you mean 'dice'"),
    ({"loss": {"name": "focal", "gamma": -3}}, "loss 'focal': gamma must be a number at least 0, found -3"),
    ({"decoder": {"nope": 1}}, "unetplusplus has no argument 'nope'"),
    ({"scheduler": {"name": "polynomial", "power": -3}}, "power must be above 0 and at most 10, found -3"),
    ({"mixing": [{"name": "mosaic", "spread": "x"}]}, "mixing [{'name': 'mosaic', 'spread': 'x'}]: "),
])  # fmt: skip
def test_what_a_base_may_not_say_is_refused(home, capsys, base, said):
    write_json(home / "base.json", base)
    assert main(["--base", "base.json", "--space", "none"]) == 2
    assert said in capsys.readouterr().err


def test_misspelt_option_is_told_with_the_nearest(capsys):
    near, far = ["--concurent", "2"], ["--xyz"]
    for arguments, said in ((near, "--concurent 2; did you mean --concurrent?\n"), (far, "--xyz\n")):
        with pytest.raises(SystemExit):
            parse(arguments)
        assert said in capsys.readouterr().err


def test_finalists_may_be_included_alone():
    assert parse(["--confirm", "a", "--top", "0", "--include", "3"]).top == 0


def test_full_disk_is_told_with_its_place_and_what_to_do(tmp_path):
    said = told_error(OSError(errno.ENOSPC, "No space left on device"), RunFolder(tmp_path / "runs" / "N"))
    assert said.startswith(f"{tmp_path}/runs has no room left") and "name another --runs-dir" in said
    assert told_error(OSError(errno.EIO, "I/O error"), None) == "[Errno 5] I/O error"


def test_machine_is_guessed_by_its_devices(tmp_path):
    assert [each.gpus for each in likely_machines("local", tmp_path)] == [0]
    (tmp_path / "nvidia0").touch()
    (tmp_path / "nvidia1").touch()
    assert [each.gpus for each in likely_machines("local", tmp_path)] == [2, 0]
    assert likely_machines("10.0.0.1:6379", tmp_path)[0].cores > 1000


def test_long_folder_for_temporary_files_is_told(monkeypatch):
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", "/tmp")
    check_temporary()
    monkeypatch.setenv("TMPDIR", "/tmp/" + "x" * 60)
    with pytest.raises(ValueError, match=r"has 65 characters .* set TMPDIR or RAY_TMPDIR to a shorter path"):
        check_temporary()
    monkeypatch.setenv("TMPDIR", "/proc")  # which nobody can write to
    with pytest.raises(ValueError, match=r"/proc, cannot be written to .* set TMPDIR or RAY_TMPDIR to a folder"):
        check_temporary()


def test_shared_memory_that_cannot_be_written_to_is_told(tmp_path):
    check_shared_memory(tmp_path)
    with pytest.raises(ValueError, match=r"where Ray keeps its objects, cannot be written to .*: mount it writable"):
        check_shared_memory(tmp_path / "missing")


def test_user_without_a_home_is_told_what_to_set(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("trainable.dataset.cache.Path.home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    with pytest.raises(ValueError, match=r"no home folder.* set HOME .* --cache-dir DIR"):
        default_cache_dir()
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"cannot be written to .* set HOME .* --cache-dir DIR"):
        check_cache_dir(tmp_path / "file" / "cache")


def test_all_that_a_home_lacks_is_told_at_once(monkeypatch, tmp_path):
    (tmp_path / "file").touch()  # a folder cannot be made in it, whoever asks
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    with pytest.raises(ValueError, match=r"set HOME .* --cache-dir DIR; .* set HOME .* RAY_AUTH_TOKEN_PATH"):
        check_places(None)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    check_places(tmp_path / "cache")
    assert (tmp_path / "token").stat().st_mode & 0o077 == 0


def test_names_are_reserved_at_the_start_and_given_back(home, monkeypatch):
    monkeypatch.setattr(folders, "default_name", lambda options: "losses-now")
    first, second = run_folder(Settings()), run_folder(Settings())
    with driven(Settings(), first, print) as (one, _), driven(Settings(), second, print) as (two, _):
        assert [one.path.name, two.path.name] == ["losses-now", "losses-now-2"]
        with (
            pytest.raises(ValueError, match="run losses-now is being driven by process"),
            driven(Settings(name="losses-now"), RunFolder(one.path), print),
        ):
            pass
        write_json(two.path / "search.json", {})
    assert [path.name for path in (home / "runs").iterdir()] == ["losses-now-2"]
    with pytest.raises(ValueError, match="run losses-now-2 exists in"):
        run_folder(Settings(name="losses-now-2"))


def test_name_that_a_killed_search_had_reserved_is_free(home):
    with driven(Settings(name="a"), run_folder(Settings(name="a")), print) as (run, _):
        left = snapshot(run)
    run.path.mkdir(parents=True)
    for path, content in left.items():
        path.write_bytes(content.replace(b'"process_started": ', b'"process_started": 9'))
    with driven(Settings(name="a"), run_folder(Settings(name="a")), print) as (again, _):
        assert again.path == run.path
    assert not run.path.exists()
