import numpy as np
import pytest

from trainable.classes import IGNORE_INDEX
from trainable.pipeline.augmentation import AUGMENTATIONS, OPERATIONS, build_augmentation, elastic

SIZE = 64
COLOUR_ONLY = ("blur", "colour", "clahe", "grid_dropout")


def sample():
    """A bright disc of class 3 on a dark ground with some texture."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 60, (SIZE, SIZE, 3)).astype(np.uint8)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    disc = (rows - 30) ** 2 + (columns - 36) ** 2 < 18**2
    image[disc] += 180
    return image, (3 * disc).astype(np.uint8)


def augmented(choice, operations, seed=0):
    pipeline = build_augmentation(choice, operations, (SIZE, SIZE))
    pipeline.set_random_seed(seed)
    image, mask = sample()
    out = pipeline(image=image, mask=mask)
    return out["image"], out["mask"]


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_pipelines_keep_size_type_and_the_mask_over_the_object(name):
    for seed in range(20):
        image, mask = augmented({"name": name}, [], seed)
        assert image.shape == (SIZE, SIZE, 3)
        assert image.dtype == mask.dtype == np.uint8
        assert set(np.unique(mask)) <= {0, 3, IGNORE_INDEX}
        if (mask == 3).sum() > 50 and (mask == 0).sum() > 50:
            assert image[mask == 3].mean() > image[mask == 0].mean()


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_do_something_to_the_photo_and_keep_the_mask_over_the_object(name):
    changed = 0
    for seed in range(10):
        image, mask = augmented({"name": "none"}, [{"name": name, "p": 1.0}], seed)
        assert image.shape == (SIZE, SIZE, 3)
        assert set(np.unique(mask)) <= {0, 3, IGNORE_INDEX}
        changed += not np.array_equal(image, sample()[0])
        if name in COLOUR_ONLY:
            np.testing.assert_array_equal(mask, sample()[1])
        elif (mask == 3).sum() > 50 and (mask == 0).sum() > 50:
            assert np.median(image[mask == 3]) > np.median(image[mask == 0])
    assert changed >= 8
    np.testing.assert_array_equal(augmented({"name": "none"}, [{"name": name, "p": 0.0}])[0], sample()[0])


@pytest.mark.parametrize(
    ("name", "weak", "strong"),
    [
        ("elastic", {"strength": 0.03}, {"strength": 0.3}),
        ("grid_distortion", {"limit": 0.05}, {"limit": 0.5}),
        ("colour", {"strength": 0.05}, {"strength": 0.5}),
        ("blur", {"sigma": 0.5}, {"sigma": 3.0}),
        ("grid_dropout", {"ratio": 0.2}, {"ratio": 0.6}),
        ("random_resized_crop", {"smallest": 0.95}, {"smallest": 0.2}),
        ("multi_scale", {"low": 0.95, "high": 1.05}, {"low": 0.4, "high": 2.0}),
    ],
)
def test_strength_is_strength(name, weak, strong):
    def change(parameters):
        operation = {"name": name, "p": 1.0, **parameters}
        before = sample()[0].astype(int)
        return np.mean([np.abs(augmented({"name": "none"}, [operation], s)[0] - before).mean() for s in range(30)])

    assert change(strong) > 1.2 * change(weak)


def test_elastic_shifts_by_about_its_strength():
    """The mask's border moves by a few percent of the side for 0.05 and visibly for 0.3, never across the photo."""
    truth = sample()[1]

    def moved(strength):
        operation = {"name": "elastic", "p": 1.0, "strength": strength}
        masks = [augmented({"name": "none"}, [operation], seed)[1] for seed in range(20)]
        return np.mean([(mask != truth).mean() for mask in masks])

    assert 0.005 < moved(0.05) < 0.1
    assert moved(0.05) < moved(0.3) < 0.4


@pytest.mark.parametrize(("strength", "most_folded"), [(0.05, 0.0), (0.15, 0.002), (0.3, 0.15)])
def test_elastic_is_the_same_warp_at_every_size_and_folds_little_over(strength, most_folded):
    """Shifts as a share of the side; where neighbours change places, the photo is torn."""
    largest = {}
    for size in (64, 96, 256, 512):
        warp, found, folded = elastic(p=1.0, strength=strength), [], []
        warp.set_random_seed(0)
        for _ in range(12):
            maps = warp.get_params_dependent_on_data({"shape": (size, size, 3)}, {})
            x, y = maps["map_x"], maps["map_y"]
            (xx, xy), (yx, yy) = ((np.diff(each, axis=1)[:-1], np.diff(each, axis=0)[:, :-1]) for each in (x, y))
            folded.append((xx * yy - xy * yx <= 0).mean())
            found.append(max(np.abs(x - np.arange(size)).max(), np.abs(y - np.arange(size)[:, None]).max()) / size)
        largest[size] = np.mean(found)
        assert np.mean(folded) <= most_folded
    for size, each in largest.items():
        assert each == pytest.approx(strength / 2, rel=0.1), size
        assert each == pytest.approx(largest[512], rel=0.02), size  # the same draws


@pytest.mark.parametrize(("size", "pixel"), [(32, 1 / 10), (48, 1 / 12), (64, 1 / 10), (96, 1 / 10), (256, 1 / 25)])
def test_holes_have_the_share_of_a_cell_that_is_asked_for_to_a_pixel(size, pixel):
    photo, sides = np.full((size, size, 3), 255, np.uint8), []
    for ratio in (0.2, 0.3, 0.4, 0.5, 0.6):
        pipeline = build_augmentation(
            {"name": "none"}, [{"name": "grid_dropout", "p": 1.0, "ratio": ratio}], (size, size)
        )
        pipeline.set_random_seed(0)
        black = [(pipeline(image=photo, mask=photo[..., 0])["image"] == 0).all(2).mean() for _ in range(20)]
        sides.append(np.mean(black) ** 0.5)
        assert sides[-1] == pytest.approx(ratio, abs=pixel)
    assert np.diff(sides).min() > 0.04


@pytest.mark.parametrize(
    ("choice", "operations", "text"),
    [
        ({"name": "heavyy"}, [], "unknown augmentation 'heavyy'; did you mean 'heavy'"),
        ({"name": "none"}, [{"name": "elastik"}], "unknown operation 'elastik'; did you mean 'elastic'"),
        ({"name": "none"}, [{"name": "blur", "strength": 1}], "'blur' has no parameter 'strength'; it has p, sigma"),
        ({"name": "none"}, [{"name": "grid_dropout", "ratio": 2.0}], "augmentation out of range: .*ratio"),
    ],
)
def test_what_cannot_be_is_told(choice, operations, text):
    with pytest.raises(ValueError, match=text):
        build_augmentation(choice, operations, (SIZE, SIZE))
