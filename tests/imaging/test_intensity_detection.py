"""Detection of HU; other scales are converted with a note or rejected."""

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.imaging.intensity import HU, IntensityScale
from thorax.imaging.intensity_detection import DetectedIntensity, detect_intensity
from thorax.phantom import chest

REAL = Path(__file__).parents[3] / "shared" / "data"
SCALE_OPTION = "with `--intensity`: hu, hu+1024 or LOW,HIGH"

Voxels = np.ndarray
Change = Callable[[Voxels], Voxels]


@pytest.fixture(scope="module")
def hu() -> Voxels:
    """Every fourth voxel of a synthetic chest, in HU, shape (38, 47, 47)."""
    planes = np.moveaxis(chest(2, seed=7).scan.voxels, 2, 0)
    return planes[:, ::4, ::4].clip(-1024, None)


def exported(low_hu: float, high_hu: float) -> Change:
    """Make an 8-bit export with a window."""
    return lambda hu: (
        np.rint((hu.astype(float) - low_hu) * 255 / (high_hu - low_hu)).clip(0, 255).astype("u1")
    )


def negative(change: Change) -> Change:
    return lambda hu: 255 - change(hu)


def padded(change: Change, value: int) -> Change:
    """Put a constant outside a circular field of view, in every plane."""

    def pad(hu: Voxels) -> Voxels:
        wide = change(hu).astype(np.int32)
        x, y = np.indices(wide.shape[1:]) - (np.array(wide.shape[1:])[:, None, None] - 1) / 2
        wide[:, np.hypot(x, y) > min(wide.shape[1:]) / 2] = value
        return wide

    return pad


def plus(offset: int) -> Change:
    return lambda hu: hu.astype(np.int32) + offset


def unchanged(hu: Voxels) -> Voxels:
    return hu


def middle(hu: Voxels) -> Voxels:
    """Crop to the inside of the body, without air around it."""
    x, y = hu.shape[1] // 3, hu.shape[2] // 3
    return hu[:, x : 2 * x, y : 2 * y]


def abdomen(hu: Voxels) -> Voxels:
    """Make a body without lungs in noisy air."""
    air = np.random.default_rng(0).integers(-1020, -980, hu.shape)
    return np.where(np.hypot(*(np.indices(hu.shape[1:]) - 23)) < 15, hu.clip(-150, None), air)


PLAIN = {
    "unchanged": unchanged,
    "fractions": lambda hu: hu.astype(np.float32) + np.float32(0.25),
    "double precision": lambda hu: hu.astype(np.float64),
    "one plane": lambda hu: hu[19:20],
    "three planes": lambda hu: hu[18:21],
    "the lowest planes": lambda hu: hu[:4],
    "no air around the body": middle,
    "few hundred voxels": lambda hu: hu[::6, ::6, ::6],
    "clipped at -1000 and 400": lambda hu: hu.clip(-1000, 400),
    "clipped at -1024 and 600": lambda hu: hu.clip(-1024, 600),
    "padding of -2000": padded(unchanged, -2000),
    "padding of -3024": padded(unchanged, -3024),
    "padding of -3024 with noise": lambda hu: (
        padded(unchanged, -3024)(hu)
        + np.random.default_rng(0).normal(0, 12, hu.shape).astype(np.float32)
    ),
    "padding in different places in each plane": lambda hu: np.where(hu < -1010, -2000, hu),
    "noise of 100 HU, not clipped": lambda hu: (
        hu + np.random.default_rng(0).normal(0, 100, hu.shape).astype(np.float32)
    ),
    "some NaN": lambda hu: np.where(hu > 300, np.nan, hu),
}


@pytest.mark.parametrize("change", PLAIN.values(), ids=PLAIN)
def test_plain_hu_are_detected_without_a_note(hu: Voxels, change: Change) -> None:
    assert detect_intensity(change(hu)) == DetectedIntensity(HU, "HU", ())


def test_a_phantom_of_water_in_air_is_hu() -> None:
    assert detect_intensity(np.array([[[-1000, -1000], [40, 40]]], np.int16)).scale == HU
    water = np.arange(40).reshape(1, 5, 8)
    assert (
        detect_intensity(np.pad(water, ((0, 3), (9, 9), (9, 9)), constant_values=-1024)).scale == HU
    )


OFFSETS = {
    "unsigned 12 bits": (lambda hu: (hu + 1024).clip(0, 4095).astype(np.uint16), 1024),
    "signed": (plus(1024), 1024),
    "fractions": (lambda hu: hu.astype(np.float32) + np.float32(1024.25), 1024),
    "1000": (plus(1000), 1000),
    "subtracted twice": (plus(-1024), -1024),
    "signed as unsigned": (plus(32768), 32768),
    "padding of 0": (padded(plus(1024), 0), 1024),
    "padding of -1024": (padded(plus(1024), -1024), 1024),
    "padding of -2000": (padded(plus(1024), -2000), 1024),
    "three planes": (lambda hu: plus(1024)(hu[18:21]), 1024),
}


@pytest.mark.parametrize(("change", "offset_hu"), OFFSETS.values(), ids=OFFSETS)
def test_a_missing_intercept_is_detected(hu: Voxels, change: Change, offset_hu: int) -> None:
    detected = detect_intensity(change(hu))
    assert detected.scale == IntensityScale(offset_hu=offset_hu)
    assert detected.kind == f"HU {'+' if offset_hu > 0 else '-'} {abs(offset_hu)}"
    assert len(detected.notes) == 1


def test_the_note_on_an_offset_states_the_evidence(hu: Voxels) -> None:
    (note,) = detect_intensity(plus(1024)(hu.clip(-1000, None))).notes
    assert note.startswith("the values are read as HU + 1024: air is near ")
    assert note.endswith("; `--intensity hu` keeps the values")


WINDOWS = {
    "of the public set": (-1250, 250),
    "that clips air": (-1000, 400),
    "of radiologists": (-1350, 150),
    "wide": (-1000, 1000),
    "whole range of CT": (-1024, 3071),
}


@pytest.mark.parametrize("range_hu", WINDOWS.values(), ids=WINDOWS)
@pytest.mark.parametrize("inverted", [False, True], ids=["positive", "negative"])
def test_the_window_of_an_export_is_estimated_for_lungs_and_tissue(
    hu: Voxels, range_hu: tuple[float, float], inverted: bool
) -> None:
    change = exported(*range_hu)
    detected = detect_intensity((negative(change) if inverted else change)(hu))
    assert detected.kind == ("inverted 8-bit window" if inverted else "8-bit window")
    assert detected.scale.inverted is inverted
    # The tolerance is the variation between lungs.
    low_hu, high_hu = range_hu
    for truth_hu in (-850, 50):
        grey = (truth_hu - low_hu) * 255 / (high_hu - low_hu)
        estimated_hu = detected.scale.to_hu(np.array(255 - grey if inverted else grey))
        assert estimated_hu == pytest.approx(truth_hu, abs=120)
    (note,) = detected.notes
    assert "the range was estimated from air, lungs and tissue" in note
    assert "; if you know the window, give the HU that 0 and 255 represent with" in note


@pytest.mark.parametrize("inverted", [False, True], ids=["positive", "negative"])
def test_black_padding_does_not_invert_an_export(hu: Voxels, inverted: bool) -> None:
    change = exported(-1250, 250)
    detected = detect_intensity(padded(negative(change) if inverted else change, 0)(hu))
    assert detected.scale.inverted is inverted


@pytest.mark.parametrize("inverted", [False, True], ids=["positive", "negative"])
def test_nan_outside_a_circular_field_of_view_does_not_change_the_detection(
    hu: Voxels, inverted: bool
) -> None:
    change = negative(exported(-1250, 250)) if inverted else exported(-1250, 250)
    grey = padded(change, 0)(hu).astype(np.float32)
    detected = detect_intensity(grey)
    x, y = np.indices(grey.shape[1:]) - (np.array(grey.shape[1:])[:, None, None] - 1) / 2
    grey[:, np.hypot(x, y) > min(grey.shape[1:]) / 2] = np.nan
    assert detect_intensity(grey).scale == detected.scale


def mr(fat: float, muscle: float) -> Change:
    """Simulate an MR: bright fat, grey muscle, dark lungs and bone, inhomogeneous coil."""

    def scan(hu: Voxels) -> Voxels:
        knots = [-1000, -950, -800, -120, -90, 20, 60, 300, 600]
        signal = np.interp(hu, knots, [10, 15, 40, fat, fat, muscle, muscle, 100, 50])
        signal *= np.linspace(0.6, 1.4, hu.shape[1])[:, None]
        rng = np.random.default_rng(0)
        noise = rng.normal(0, 12, (2, *hu.shape))
        return np.rint(np.hypot(signal + noise[0], noise[1]))

    return scan


def to_range(top: float) -> Change:
    def stretch(voxels: Voxels) -> Voxels:
        low, high = float(voxels.min()), float(voxels.max())
        return (voxels.astype(float) - low) * (top / (high - low))

    return stretch


REJECTED = {
    "MR": (mr(900, 350), "show no air 1000 below soft tissue, as in an MR"),
    "MR with fat at 1000": (mr(1000, 350), "show no air 1000 below soft tissue, as in an MR"),
    "MR in 8 bits": (
        lambda hu: np.rint(to_range(255)(mr(900, 350)(hu))),
        "are an 8-bit export, and .*, so its window cannot be estimated",
    ),
    "standardised": (lambda hu: (hu - hu.mean()) / hu.std(), "were rescaled or standardised"),
    "0..1": (to_range(1), "were rescaled or standardised"),
    "0..65535": (to_range(65535), "show no air 1000 below soft tissue"),
    "wrapped": (
        lambda hu: hu.astype(np.int16).view(np.uint16),
        "look like negative HU stored without a sign",
    ),
    "inverted HU": (lambda hu: -hu.astype(int), "are inverted: air is bright and bone is dark"),
    "inverted 12 bits": (lambda hu: 3071 - hu.astype(int), "are inverted: air is bright"),
    "unknown offset": (plus(2048), "look like HU plus about 20[0-9][0-9]; convert it again"),
    "signed bytes": (
        lambda hu: exported(-1250, 250)(hu).astype(int) - 128,
        "look like an 8-bit export stored with a sign",
    ),
    "mediastinal window": (exported(-160, 240), "its window clips the lungs"),
    "window of lungs alone": (exported(-1000, -300), "its window clips tissue"),
    "export of an abdomen": (
        lambda hu: exported(-1250, 250)(abdomen(hu)),
        "no dark lungs inside bright tissue are visible",
    ),
    "HU in a mediastinal window": (
        lambda hu: hu.clip(-160, 240),
        r"[0-9]+% of its voxels, and so the lungs, are clipped at -160 HU",
    ),
    "probabilities": (
        lambda hu: ((-400 - hu.astype(int)) // 2).clip(0, 255),
        "are an 8-bit export, and its window clips",
    ),
    "two labels": (lambda hu: (hu > -400).astype(np.uint8), "looks like a mask: 2 labels in 0..1"),
    "a hundred labels": (
        lambda hu: np.kron(np.arange(100).reshape(1, 10, 10), np.ones((9, 5, 5), int)),
        r"looks like a mask: 100 labels in 0\.\.99",
    ),
}


@pytest.mark.parametrize(("change", "reason"), REJECTED.values(), ids=REJECTED)
def test_unusable_values_are_rejected_in_one_line_that_names_the_option(
    hu: Voxels, change: Change, reason: str
) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        detect_intensity(change(hu))
    assert "--intensity" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_noise_is_rejected() -> None:
    noise = np.random.default_rng(0).normal(-300, 400, (9, 20, 20))
    with pytest.raises(InputError, match="neighbouring voxels are uncorrelated, as in noise"):
        detect_intensity(noise)


@pytest.mark.parametrize(
    ("voxels", "message"),
    [
        pytest.param(
            np.full((3, 4, 4), 7),
            "a scan must show a patient, but all its voxels are 7; check that it was exported "
            "completely",
            id="constant",
        ),
        pytest.param(
            np.full((3, 4, 4), np.nan),
            "a scan must have finite values, but all its voxels are NaN or infinite; export it "
            "again",
            id="NaN",
        ),
        pytest.param(
            np.zeros((0, 4, 4)),
            "a scan must have voxels, but this one has none; export it again",
            id="empty",
        ),
        pytest.param(
            np.arange(48).reshape(3, 4, 4) % 3,
            "a scan must be in HU, but this looks like a mask: 3 labels in 0..2; give the CT, or, "
            f"if this is one, give its scale {SCALE_OPTION}",
            id="labels",
        ),
        pytest.param(
            np.linspace(0, 1, 48).reshape(3, 4, 4),
            "a scan must be in HU, but its values 0..1 were rescaled or standardised, so HU are "
            f"unknown; convert it again from its source, or give its scale {SCALE_OPTION}",
            id="0..1",
        ),
    ],
)
def test_scans_without_a_patient_are_rejected(voxels: Voxels, message: str) -> None:
    with pytest.raises(InputError) as caught:
        detect_intensity(voxels)
    assert str(caught.value) == message


def test_padding_with_a_value_of_tissue_is_noted(hu: Voxels) -> None:
    detected = detect_intensity(padded(unchanged, 0)(hu))
    assert detected.scale == HU
    assert detected.notes == (
        "outside the field of view all voxels are 0, a value of tissue; masks may be wrong near "
        "the border",
    )


def test_clipped_lungs_are_noted(hu: Voxels) -> None:
    detected = detect_intensity(hu.clip(-600, 400))
    assert detected.scale == HU
    assert detected.notes == (
        "the values are clipped at -600 HU, so the lungs have no texture; if this is air, give "
        "the offset with `--intensity`, like hu+200",
    )


def test_a_small_offset_is_noted(hu: Voxels) -> None:
    noise = np.random.default_rng(0).integers(0, 40, hu.shape)
    detected = detect_intensity(hu.clip(-1000, None) + noise + 200)
    assert detected.scale == HU
    assert detected.notes == (
        "the darkest voxels are near -800 HU, but air is -1000; if the values have an offset, "
        "give it with `--intensity`, like hu+200",
    )


def test_the_sample_is_not_changed(hu: Voxels) -> None:
    before = hu.copy()
    detect_intensity(hu)
    assert (hu == before).all()


def _real(folder: str) -> list[Path]:
    paths = sorted((REAL / folder / "scans").glob("*.nii.gz"))
    if not paths:
        pytest.skip(f"{folder} has no real scans")
    return paths


def _coarse(path: Path) -> Voxels:
    scan = nibabel.load(path)
    step = max(1, scan.shape[0] // 64)
    return np.moveaxis(np.asanyarray(scan.dataobj[::step, ::step]), 2, 0)


def test_real_hu_and_their_modifications_are_detected() -> None:
    """Real scans have air, lungs and tissue that the phantom only approximates."""
    for path in _real("lctsc")[::2]:
        hu = _coarse(path)
        for change in (unchanged, middle, padded(unchanged, -2000), lambda hu: hu[60:63]):
            assert detect_intensity(change(hu)) == DetectedIntensity(HU, "HU", ())
        assert detect_intensity(plus(1024)(hu)).scale == IntensityScale(offset_hu=1024)
        assert detect_intensity(plus(1000)(hu)).scale == IntensityScale(offset_hu=1000)
        low_hu, high_hu = detect_intensity(exported(-1250, 250)(hu)).scale.window_hu or (0, 0)
        assert (low_hu, high_hu) == (pytest.approx(-1250, abs=60), pytest.approx(250, abs=60))
        assert detect_intensity(negative(exported(-1000, 400))(hu)).scale.inverted
        for wrong in (mr(900, 350), to_range(65535), exported(-160, 240)):
            with pytest.raises(InputError, match="a scan must be in HU"):
                detect_intensity(wrong(hu))


def test_real_equalised_exports_get_the_public_window_and_a_note() -> None:
    for path in _real("covid19-slices"):
        detected = detect_intensity(_coarse(path))
        assert detected.scale == IntensityScale((-1250, 250))
        assert detected.kind == "8-bit window, equalised"
        assert detected.notes == (
            "the values are an 8-bit window, read as 0 for -1250 and 255 for 250 HU: the contrast "
            "was equalised, so HU are approximate; the range is that of the public COVID-19 "
            "exports; if you know the window, give the HU that 0 and 255 represent with "
            "`--intensity LOW,HIGH`",
        )
