import io
from dataclasses import replace
from types import SimpleNamespace

import pytest
from rich.console import Console

from search.preparation.space_checks import start_checks, summary
from search.settings.allocation import Machine
from search.settings.resolve import new_plan
from search.settings.settings import Settings
from search.worker.build_checks import try_models

MACHINE = Machine(cores=2, gpus=0)


def test_reasons_are_told_once_by_what_they_hold_for():
    reasons = {
        (architecture, "tu-vit"): f"{architecture} cannot be built on tu-vit: Unsupported pattern of tu-vit"
        for architecture in ("unet", "fpn")
    }
    for name in ("resnet18", "mit_b0"):
        reasons["dpt", name] = f"dpt cannot be built on {name}: needs tu-, got {name}"
    reasons |= {("pan", "resnet18"): "pan on resnet18 cannot take photos of 64 px: too small; try another size"}
    assert summary(reasons) == [
        "unet, fpn on tu-vit: Unsupported pattern of ENCODER",
        "dpt on resnet18, mit_b0: needs tu-, got ENCODER",
        "pan on resnet18: too small; try another size",
    ]


def test_long_lists_are_cut():
    reasons = {("unet", f"encoder{number:02}"): f"no encoder weights encoder{number:02}" for number in range(12)}
    assert summary(reasons)[0].startswith("unet on encoder00, encoder01")
    assert "and 4 more: no encoder weights ENCODER" in summary(reasons)[0]


def test_encoders_without_weights_are_told_apart_from_models_that_cannot_be_built(tmp_path, monkeypatch):
    for encoder in ("mobilenet_v2", "resnet18"):
        (tmp_path / f"{encoder}.safetensors").touch()
    plan = new_plan(Settings(space="encoders", image_size=64, encoder_weights=str(tmp_path)), MACHINE)
    monkeypatch.setattr("search.preparation.space_checks.ray", Here)
    out = io.StringIO()
    left = start_checks(plan, MACHINE)(Console(file=out, width=400))
    assert {encoder for _, encoder in left.models} == {"mobilenet_v2", "resnet18"}
    first, second, *_ = out.getvalue().splitlines()
    all_encoders = {encoder for _, encoder in plan.models}
    assert first.startswith(
        f"{len(all_encoders) - 2} of {len(all_encoders)} encoders have no weights in {tmp_path} and"
    )
    assert (
        all(encoder in first for encoder in all_encoders - {"mobilenet_v2", "resnet18"})
        and "--encoder-weights" in first
    )
    assert (
        second
        == f"1 of {len([model for model in plan.models if model[1] in ('mobilenet_v2', 'resnet18')])} models cannot "
        "be built at 64 px and is left out:"
    )


class Here:
    """Ray as far as the checks need it, with a worker that says of one model that it cannot be built."""

    @staticmethod
    def remote(task):
        def call(*arguments):
            if task is not try_models:
                return None
            _, models, _, strides = arguments
            keys = [strides.get(architecture) or [0] for architecture, _ in models]
            bad = [model == ["unet", "mobilenet_v2"] for model in models]
            return [dict.fromkeys(key, "no" if lacks else None) for key, lacks in zip(keys, bad, strict=True)]

        return SimpleNamespace(remote=call)

    @staticmethod
    def get(given):
        return given


PLANTED = [["dpt", "resnet18"], ["unetplusplus", "mit_b0"], ["deeplabv3plus", "tu-hrnet_w18_small_v2"],
           ["pan", "tu-vit_tiny_patch16_224"], ["pan", "tu-swin_tiny_patch4_window7_224"]]  # fmt: skip


@pytest.mark.slow
def test_models_that_cannot_be_built_are_dropped_before_any_trial(tmp_path):
    from search.driver.tune_runner import ray_running

    sound = [["unet", "resnet18"], ["deeplabv3plus", "mobilenet_v2"], ["segformer", "mit_b0"], ["pan", "resnet18"]]
    plan = replace(new_plan(Settings(space="encoders", image_size=128), MACHINE), models=PLANTED + sound)
    with (tmp_path / "out").open("w") as out, ray_running():
        console = Console(file=out, width=400)
        left = start_checks(plan, MACHINE)(console)
        assert left.models == sound
        assert left.strides == {"deeplabv3plus": [16, 8], "pan": [16]}  # 32 is too much for 128 px
        with pytest.raises(ValueError, match="no model of the space can be built: name another --encoders group"):
            start_checks(replace(plan, models=PLANTED), MACHINE)(console)
        base = {**plan.base, "architecture": "dpt", "encoder": "resnet18", "decoder": {}}
        only = replace(plan, space="losses", models=[], base=base)
        with pytest.raises(ValueError, match="dpt cannot be built on resnet18"):
            start_checks(only, MACHINE)(console)
        for part, text in (
            ({"loss": {"name": "focall"}}, "unknown loss 'focall'; did you mean 'focal'"),
            ({"optimizer": {"name": "adamw", "beta": 1}}, "optimizer 'adamw' has no parameter 'beta'; it has lr"),
            ({"scheduler": {"name": "plateau", "patience": 2.0}}, "longer than the budget"),
            ({"operations": [{"name": "elastik"}]}, "unknown operation 'elastik'; did you mean 'elastic'"),
            ({"mixing": [{"name": "mosaic", "p": 2}]}, "p is a chance, 0 to 1, found 2"),
        ):
            space = "oversampling" if "operations" not in part else "losses"
            bad = replace(new_plan(Settings(space=space), MACHINE), base={**plan.base, "encoder": "resnet18", **part})
            with pytest.raises(ValueError, match=f"space {space} gives a config that cannot train: .*{text}"):
                start_checks(bad, MACHINE)(console)
    text = (tmp_path / "out").read_text()
    assert "5 of 9 models cannot be built at 128 px and are left out:" in text
    for architecture, encoder in PLANTED:
        assert f"{architecture} on {encoder}: " in text
