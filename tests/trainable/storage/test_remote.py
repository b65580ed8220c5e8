import time

import pytest

from trainable.storage import remote as module
from trainable.storage.remote import Remote, is_uri, local_copy, mark_origin, push_back
from trainable.storage.remote_data import local_data


def test_uris_and_paths_are_told_apart():
    assert is_uri("s3://bucket/runs") and is_uri("file:///x")
    assert not is_uri("/runs") and not is_uri("runs") and not is_uri("C:/runs")


def test_only_what_differs_travels(tmp_path, s3, monkeypatch):
    here, there, remote = tmp_path / "here", tmp_path / "there", Remote("s3://bucket/runs/a")
    (here / "trials").mkdir(parents=True)
    (here / "trials" / "curve.csv").write_text("1")
    (here / "search.json").write_text("{}")
    remote.push(here)
    remote.pull(there)
    assert (there / "trials" / "curve.csv").read_text() == "1"
    time.sleep(1.5)  # rclone's server sets the time of what it was sent once more, a moment later
    remote.push(here)
    remote.pull(there)
    travelled = []
    monkeypatch.setattr(Remote, "_upload", lambda self, path, name: travelled.append(name))
    monkeypatch.setattr(Remote, "_download", lambda self, name, path, stat: travelled.append(name))
    remote.push(here)
    remote.pull(there)
    assert travelled == []
    (here / "search.json").write_text("[]")  # of the same size
    remote.push(here)
    assert travelled == ["search.json"]


def test_a_newer_file_there_replaces_a_stale_one_here(tmp_path, s3):
    one, two, remote = tmp_path / "one", tmp_path / "two", Remote("s3://bucket/a")
    for folder, text in ((one, "old"), (two, "newer")):
        folder.mkdir()
        (folder / "last").write_text(text)
        remote.push(folder)
        time.sleep(1.1)
    remote.pull(one)
    assert (one / "last").read_text() == "newer"
    remote.delete("last")
    assert not remote.exists("last") and remote.files() == {}


def test_an_outage_is_sat_out_and_a_refusal_is_not(tmp_path, s3, monkeypatch):
    remote = Remote("s3://bucket/a")
    tried = []

    def fails_twice():
        tried.append(1)
        if len(tried) < 3:
            raise OSError("AWS Error NETWORK_CONNECTION during PutObject")
        return "done"

    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    assert remote._try(fails_twice) == "done"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrongwrong")
    (tmp_path / "x").write_text("x")
    with pytest.raises(OSError, match="See that the bucket exists and that credentials"):
        Remote("s3://bucket/a").push(tmp_path, ("x",))


def test_what_analysis_writes_into_a_working_copy_goes_back(tmp_path, s3):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "search.json").write_text("{}")
    Remote("s3://bucket/runs/a").push(tmp_path / "run")
    copy = local_copy("s3://bucket/runs/a", tmp_path / "cache")
    (copy / "ensemble").mkdir()
    (copy / "ensemble" / "ensemble.json").write_text("[1]")
    push_back(copy, "ensemble")
    assert Remote("s3://bucket/runs/a").read("ensemble/ensemble.json") == b"[1]"
    push_back(tmp_path / "run", "ensemble")  # an ordinary folder stays where it is
    with pytest.raises(ValueError, match="there is nothing at s3://bucket/runs/b"):
        local_copy("s3://bucket/runs/b", tmp_path / "cache")


def test_data_is_copied_once_and_anew_when_its_json_changes(tmp_path, s3, monkeypatch):
    folder = s3 / "bucket" / "data" / "batch"
    folder.mkdir(parents=True)
    (folder / "1.jpg").write_bytes(b"photo")
    annotations = folder.parent / "train_all.json"
    annotations.write_text("{}")
    local = local_data("s3://bucket/data", tmp_path)
    assert (local / "batch" / "1.jpg").read_bytes() == b"photo"
    pulls = []
    pull = Remote.pull
    monkeypatch.setattr(Remote, "pull", lambda self, *given, **more: (pulls.append(1), pull(self, *given, **more)))
    assert local_data("s3://bucket/data", tmp_path) == local and not pulls
    annotations.write_text('{"images": []}')
    local_data("s3://bucket/data", tmp_path)
    assert pulls and (local / "train_all.json").read_text() == '{"images": []}'
    assert local_data(tmp_path, tmp_path) == tmp_path
    with pytest.raises(ValueError, match="holds no files"):
        local_data("s3://bucket/none", tmp_path)


def test_names_of_the_storage_stay_in_the_folder(tmp_path):
    outside = tmp_path / "outside"
    assert not module._inside(tmp_path / "copy", tmp_path / "copy" / ".." / "outside")
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "link").symlink_to(outside)
    assert not module._inside(tmp_path / "copy", tmp_path / "copy" / "link")
    mark_origin(tmp_path / "copy", "s3://bucket/a")
