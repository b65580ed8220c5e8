import ctypes

from trainable.machine.device import release_memory


def test_memory_is_released_where_the_c_library_can_and_nothing_fails_where_it_cannot(monkeypatch):
    release_memory()

    def missing(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    release_memory()
