from trainable.machine.gpu_devices import has_gpu


def test_device_files_tell_of_a_gpu(tmp_path):
    (tmp_path / "nvidiactl").touch()
    assert not has_gpu(tmp_path)
    (tmp_path / "nvidia0").touch()
    assert has_gpu(tmp_path)
