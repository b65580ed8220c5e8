"""The two cluster files, by Ray's own schema code and by what we promise of them."""

import shlex
from pathlib import Path

import pytest
import yaml

from search.cluster.ray_cluster import growth
from tests.conftest import ROOT

FILES = ("cluster.yaml", "cluster.onprem.yaml")


def read(name):
    return yaml.safe_load((ROOT / name).read_text())


@pytest.mark.parametrize("name", FILES)
def test_rays_own_schema_takes_it(name, monkeypatch):
    from ray.autoscaler._private.util import prepare_config, validate_config

    monkeypatch.chdir(ROOT)
    validate_config(prepare_config(read(name)))


@pytest.mark.parametrize("name", FILES)
def test_every_node_asks_for_the_token_and_has_it(name):
    content = read(name)
    commands = content["head_start_ray_commands"] + content["worker_start_ray_commands"]
    starts = [line for line in commands if "ray start" in line]
    assert len(starts) == 2 and all("RAY_AUTH_MODE=token ray start" in line for line in starts)
    assert "~/.ray/auth_token" in content["file_mounts"]
    assert "chmod 600 ~/.ray/auth_token" in content["setup_commands"]
    head = starts[0]
    assert "--dashboard-host=127.0.0.1" in shlex.split(head)
    assert "--ray-client-server-port" not in head


@pytest.mark.parametrize("name", FILES)
def test_setup_has_our_pins_and_a_torch_for_v100(name):
    commands = " ".join(read(name)["setup_commands"])
    assert "-r requirements.txt" in commands
    assert '"torch>=2.10,<2.15" torchvision --index-url https://download.pytorch.org/whl/cu126' in commands


def test_driver_has_a_safe_place():
    content = read("cluster.yaml")
    head = content["available_node_types"][content["head_node_type"]]
    assert head["resources"] == {"CPU": 0, "GPU": 0}
    assert "InstanceMarketOptions" not in head["node_config"]
    spot = content["available_node_types"]["v100_spot"]
    assert spot["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert spot["min_workers"] == 0 and content["provider"]["cache_stopped_nodes"] is False
    assert "InstanceMarketOptions" not in content["available_node_types"]["v100"]["node_config"]


def test_a_search_plans_with_what_the_cluster_may_grow_to(tmp_path):
    assert growth(ROOT / "cluster.yaml") == [(32, 4, 4)]
    assert growth(tmp_path / "none.yaml") == []
    assert growth(Path(ROOT / "cluster.onprem.yaml")) == []
