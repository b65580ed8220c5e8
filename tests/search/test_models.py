from search.models import summary


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
