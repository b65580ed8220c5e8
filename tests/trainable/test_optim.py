import pytest
import torch

from trainable.optim import OPTIMIZERS, build_optimizer, build_schedule


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_goes_downhill_at_the_asked_rate(name):
    x = torch.nn.Parameter(torch.tensor([3.0, -2.0]))
    optimizer = build_optimizer({"name": name, "lr": 0.05}, [x])
    assert optimizer.param_groups[0]["lr"] == 0.05
    for _ in range(200):
        optimizer.zero_grad()
        (x**2).sum().backward()
        optimizer.step()
    assert x.abs().max() < 0.5


def test_cosine_warms_up_peaks_and_falls_to_its_floor():
    factor = build_schedule({"name": "cosine", "warmup": 0.1, "floor": 0.01})
    values = [factor(spent / 100) for spent in range(101)]
    assert 0 < values[0] < 0.05
    assert values[10] == pytest.approx(1.0)
    assert values[:11] == sorted(values[:11])
    assert values[10:] == sorted(values[10:], reverse=True)
    assert values[100] == pytest.approx(0.01)
    assert build_schedule({"name": "cosine", "warmup": 0.0})(0.0) == 1.0
    assert build_schedule({"name": "constant"})(0.7) == 1.0
    with pytest.raises(ValueError, match="warmup is a share"):
        build_schedule({"name": "cosine", "warmup": 1.0})
