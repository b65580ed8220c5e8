from types import SimpleNamespace

import pytest

from analysis.predict import main


@pytest.mark.parametrize(("options", "out"), [([], "photo.mask.png"), (["--out", "sub/mask.png"], "sub/mask.png")])
def test_the_mask_is_written_here_and_not_beside_the_photo(options, out, tmp_path, monkeypatch):
    written = []
    found = SimpleNamespace(save=written.append, shares=lambda: {"Plastic": 1.0})
    monkeypatch.setattr("analysis.predict.open_run", lambda *runs: SimpleNamespace(predict=lambda photo: found))
    monkeypatch.chdir(tmp_path)
    assert main([str(tmp_path / "data" / "photo.jpg"), "--run", str(tmp_path), *options]) == 0
    assert [str(path) for path in written] == [out]
