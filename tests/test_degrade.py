"""Pairs that went through a real encoder: the right frame beside the right one, the same at every run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import cv2
from safetensors.torch import load_file

from clips import Clip
from vsr.cli import train as train_command
from vsr.errors import InputError
from vsr.metrics import imresize, psnr, to_uint8
from vsr.training.coding import Coding, with_chroma
from vsr.training.data import kept, load
from vsr.training.degrade import ENCODERS, FRAMES, KEPT, KERNELS, Streamed, reduced, shots, told, wandering
from vsr.training.recipe import find

PICTURES = 26  # enough for one to be held out


def photograph(side: int = 320, seed: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Luma with structure at all scales, no two places alike."""
    rng = np.random.default_rng(seed)
    layers = [
        cv2.resize(rng.random((side // n, side // n)), (side, side), interpolation=cv2.INTER_CUBIC) for n in (64, 20, 5)
    ]
    return to_uint8(16 + 73 * np.clip(sum(layers), 0, 3))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("luma")
    for index in range(PICTURES):
        cv2.imwrite(str(folder / f"{index:02}.png"), photograph(208, seed=index))
    return folder


@pytest.mark.parametrize("encoder", [name for name, *_ in ENCODERS])
def test_a_decoded_frame_lies_on_its_own(encoder: str) -> None:
    clip = wandering(photograph(), 2, np.random.default_rng(3))
    assert clip is not None
    low = reduced(clip, 2)
    coding = Coding(encoder, {"crf": "24", "preset": "9" if encoder == "libsvtav1" else "veryfast", "g": "12"})
    shown = list(coding.decoded(coding.packets([with_chroma(luma) for luma in low])))
    assert [frame.index for frame in shown] == list(range(FRAMES))
    types = Counter(frame.type for frame in shown)
    assert types["I"] >= 1
    assert encoder == "libsvtav1" or types["B"] and types["P"]
    for frame in shown:
        distances = [psnr(frame.luma, other) for other in low]
        assert distances[frame.index] == max(distances) > 28


def test_kernels_reduce_alike_and_not_the_same() -> None:
    clip = photograph()[None]
    results = {name: reduced(clip, 2, kernel)[0] for name, (kernel, _) in KERNELS.items()}
    np.testing.assert_allclose(results["bicubic"], imresize(clip[0], 0.5), atol=0.51)
    area = clip[0].reshape(160, 2, 160, 2).mean((1, 3))
    np.testing.assert_allclose(results["area"], area, atol=0.51)
    for name, (kernel, _) in KERNELS.items():  # nothing is moved
        np.testing.assert_allclose(reduced(clip[..., ::-1], 2, kernel)[0][:, ::-1], results[name], atol=1)
    assert len({result.tobytes() for result in results.values()}) == len(KERNELS)


def test_windows_wander_over_the_picture() -> None:
    plane, rng = photograph(), np.random.default_rng(0)
    clips = [wandering(plane, 2, rng) for _ in range(12)]
    assert all(clip is not None and len(clip) == FRAMES and not np.mod(clip.shape[1:], 16).any() for clip in clips)
    moving = [bool((clip[0] != clip[-1]).any()) for clip in clips if clip is not None]
    assert any(moving)
    assert wandering(plane[:120], 2, rng) is None


def test_pairs_are_told_and_the_same_at_every_run(folder: Path) -> None:
    said: list[str] = []
    first, second = (list(Streamed(folder, log=said.append).samples(2)) for _ in range(2))
    assert len(first) == PICTURES * KEPT
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.low, b.low)
        np.testing.assert_array_equal(a.high, b.high)
        assert a.high.shape == (2 * a.low.shape[0], 2 * a.low.shape[1])
        assert psnr(a.low, imresize(a.high, 0.5)) > 24
    assert said[0] == said[1]
    assert said[0].startswith(f"{len(first)} pairs: uncoded ")
    assert all(word in said[0] for word in ("libx264", "I ", "P ", "B ", "bicubic"))
    other = next(iter(Streamed(folder, seed=2, log=said.append).samples(2)))
    assert other.low.shape != first[0].low.shape or (other.low != first[0].low).any()


def test_pairs_are_kept_as_clean_ones_are(folder: Path, tmp_path: Path) -> None:
    streamed = kept(Streamed(folder).samples, tmp_path / "stream_x2.npz", scale=2, context=6)
    clean = load(folder, tmp_path / "x2.npz", scale=2, context=6)
    assert (len(streamed.low.starts), len(streamed.holdout)) == ((PICTURES - 1) * KEPT, KEPT)
    low, high = streamed.batch(0, seed=1, size=4, patch=32)
    assert (low.shape, high.shape) == ((4, 1, 44, 44), (4, 1, 64, 64))
    assert len(clean.low.starts) == PICTURES - 1


def test_real_clips_are_taken_too(folder: Path, tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    Clip(size=(320, 242), pts=range(30)).write(clips / "a.mp4")
    (shot,) = shots(clips / "a.mp4")
    assert shot.shape == (FRAMES, 242, 320)
    with_clips = list(Streamed(folder, clips).samples(2))
    assert len(with_clips) > len(list(Streamed(folder).samples(2)))
    (clips / "b.txt").write_text("no video")
    with pytest.raises(InputError, match=r"b\.txt"):
        list(Streamed(folder, clips).samples(2))


def test_pictures_too_small_for_an_encoder_are_an_error() -> None:
    with pytest.raises(InputError, match="64 low-resolution pixels"):
        told(Counter())


def test_a_stream_recipe_starts_from_clean_weights(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = find("m4c8-stream_x2")
    assert (recipe.network, recipe.name, recipe.start) == ("m4c8", "m4c8-stream_x2", "m4c8_x2")
    options = ["--data", str(folder), "--out", str(tmp_path), "--steps", "2"]
    assert train_command.main(["m4c8-stream_x2", *options]) == 3
    assert "train the recipe m4c8_x2" in capsys.readouterr().err
    assert train_command.main(["m4c8_x2", *options, "--clips", str(folder)]) == 2
    assert "--clips is for recipes of stream weights" in capsys.readouterr().err
    assert train_command.main(["m4c8_x2", *options, "--weights-only"]) == 0
    assert train_command.main(["m4c8-stream_x2", *options, "--weights-only"]) == 0
    assert f"{PICTURES * KEPT} pairs" in capsys.readouterr().out
    clean, stream = (load_file(tmp_path / f"{name}_x2.safetensors") for name in ("m4c8", "m4c8-stream"))
    assert clean.keys() == stream.keys()
    assert any((clean[name] != stream[name]).any() for name in clean)
