from analysis.results.params import config_in_short, in_short, shared, varying


def test_only_what_varies_is_told_and_names_come_first():
    sampled = [{"lr": 0.001, "size": 32, "elastic": True, "loss": "dice"}, {"lr": 0.0123456, "size": 32, "blur": False}]
    assert varying(sampled) == ["lr"]
    assert in_short(sampled[0]) == "dice lr=0.001 size=32 elastic"
    assert in_short(sampled[1], ["lr", "blur"]) == "lr=0.0123"
    assert in_short({"oversampling": "none", "clip_norm": 0.0, "drops": 3}) == "drops=3"


def test_what_the_best_share_comes_first():
    every = [{"loss": "dice" if index < 2 else "focal", "lr": 10.0**-index, "size": 32} for index in range(6)]
    found = shared(every[:2], every)
    assert [each.name for each in found] == ["loss", "lr"]
    assert found[0].best == "dice in 2 of 2"
    assert found[0].every == "dice in 2 of 6"
    assert found[1].best == "0.1 to 1, median 1"
    assert found[1].every.startswith("1e-05 to 1, median")


def test_a_value_only_some_have_is_compared_among_those():
    every = [{"a": 1}, {"a": 2, "b": "x"}, {"a": 3, "b": "y"}]
    assert {each.name: each.every for each in shared(every[:1], every)} == {"a": "1 to 3, median 2"}
    assert next(each for each in shared(every[1:2], every) if each.name == "b").every == "x in 1 of 2"


def test_what_one_of_several_has_is_not_shared():
    every = [{"name": "a", "of_a": 1}, {"name": "b"}, {"name": "b"}, {"name": "a", "of_a": 2}]
    assert [(each.name, each.lift) for each in shared(every[:2], every)] == [("name", 0)]
    assert shared([], every) == []


def test_a_config_is_told_by_its_network_size_loss_and_optimizer():
    config = {
        "architecture": "fpn",
        "encoder": "resnet18",
        "image_size": 224,
        "loss": {"name": "dice"},
        "optimizer": {"name": "adamw", "lr": 0.00123456},
        "epochs": 48,
    }
    assert config_in_short(config) == "fpn resnet18 224px dice adamw lr=0.00123"
    assert config_in_short({}) == ""
