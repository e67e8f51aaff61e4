"""The table against the modules, and the modules against their contracts."""

from __future__ import annotations

import subprocess
import sys

import pytest

from vsr.errors import UsageError
from vsr.networks import NETWORKS, build

EVERY = [(name, scale) for name, network in NETWORKS.items() for scale in network.scales]
SMALL = [(name, scale) for name, scale in EVERY if name not in ("dbpn", "edsr", "srresnet", "srgan")]
MXCY = {  # multiply-accumulates per low-resolution pixel at scales 2, 3, 4: 9 (C + m C^2 + C s^2)
    "m4c8": (2_664, 3_024, 3_528),
    "m4c16": (9_936, 10_656, 11_664),
    "m10c16": (23_760, 24_480, 25_488),
    "m4c32": (38_304, 39_744, 41_760),
    "m10c32": (93_600, 95_040, 97_056),
    "u2-m3c32": (8_352, 9_792, 11_808),
    "u2-m4c32": (10_656, 12_096, 14_112),
}
CUBIC = {2: 100, 3: 225, 4: 400}  # what interpolation first costs, which the papers leave out
PUBLISHED = {  # billions of multiply-accumulates for 1280x720 out, by name and scale: in the papers and what cites them
    ("srcnn", 2): 52.7, ("srcnn", 4): 52.7, ("vdsr", 2): 612.6, ("vdsr", 3): 612.6, ("edsr", 2): 316, ("edsr", 3): 160,
    ("edsr", 4): 114, ("espcn", 2): 4.9, ("espcn", 4): 1.4,
}  # fmt: skip
PARAMETERS = {  # as published; of networks that take RGB there, within the first and last layers' share
    ("srcnn", 2): (57_281, 0), ("srcnn-915", 3): (8_129, 0), ("fsrcnn", 2): (12_809, 0), ("fsrcnn-s", 2): (4_086, 0),
    ("vdsr", 2): (665_921, 0), ("edsr", 2): (1.37e6, 0.005), ("edsr", 3): (1.56e6, 0.01),
    ("edsr", 4): (1.52e6, 0.005), ("srresnet", 4): (1.54e6, 0.02), ("dbpn", 2): (5.95e6, 0.005),
    ("dbpn", 4): (10.4e6, 0.005), ("dbpn-s", 4): (595e3, 0.005), ("srmd", 2): (1.5e6, 0.02),
}  # fmt: skip


def test_the_table_needs_no_torch() -> None:
    program = "import sys, vsr.networks; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_an_unknown_network_or_scale_is_named() -> None:
    with pytest.raises(UsageError, match=r"'m4c9'.*m4c16"):
        build("m4c9", 2)
    with pytest.raises(UsageError, match=r"5.*2, 3, 4"):
        build("m4c16", 5)


@pytest.mark.parametrize("name", MXCY)
def test_macs_of_the_family(name: str) -> None:
    pytest.importorskip("torch")
    from vsr.training.evaluate import macs
    from vsr.training.quantise import as_float

    assert tuple(macs(as_float(build(name, scale), name)) for scale in (2, 3, 4)) == MXCY[name]


@pytest.mark.parametrize(("name", "scale"), PUBLISHED)
def test_macs_are_those_of_the_papers(name: str, scale: int) -> None:
    pytest.importorskip("torch")
    from vsr.training.evaluate import macs
    from vsr.training.quantise import as_float

    interpolated = CUBIC[scale] if name in ("srcnn", "vdsr") else 0
    billions = (macs(as_float(build(name, scale), name)) - interpolated) * 1280 * 720 / scale**2 / 1e9
    assert billions == pytest.approx(PUBLISHED[name, scale], rel=0.02)


@pytest.mark.parametrize(("name", "scale"), PARAMETERS)
def test_parameters_are_those_of_the_papers(name: str, scale: int) -> None:
    pytest.importorskip("torch")
    count, slack = PARAMETERS[name, scale]
    assert sum(parameter.numel() for parameter in build(name, scale).parameters()) == pytest.approx(count, rel=slack)


@pytest.mark.parametrize(("name", "scale"), SMALL)
def test_a_model_is_its_module_at_odd_sizes_too(name: str, scale: int) -> None:
    torch = pytest.importorskip("torch")
    from vsr.training.evaluate import upscaler
    from vsr.training.quantise import as_float

    torch.manual_seed(0)
    model = build(name, scale).eval()
    block = getattr(model, "block", 1)
    plane = torch.randint(0, 256, (1, 1, 35, 29), dtype=torch.uint8)
    whole = torch.nn.functional.pad(plane.float() / 255, [0, -29 % block, 0, -35 % block], "replicate")
    with torch.no_grad():
        padded = torch.nn.functional.pad(whole, [model.context] * 4, "replicate") if model.context else whole
        expected = 255 * model(padded)[0, 0, : 35 * scale, : 29 * scale].numpy()
    result = upscaler(as_float(model, name))(plane[0, 0].numpy())
    assert result.shape == expected.shape
    assert abs(result - expected).max() < 0.01


@pytest.mark.parametrize(("name", "scale"), SMALL)
def test_every_network_reads_its_radius_and_no_more(name: str, scale: int) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model, radius = build(name, scale).double().eval(), NETWORKS[name].radius(scale)
    for parameter in model.parameters():
        parameter.data.abs_()  # so that no ReLU is ever silent
    side = 2 * radius + 8 + 2 * model.context
    x = torch.rand(1, 1, side, side, dtype=torch.float64, requires_grad=True)
    y = model(x)
    assert y.shape == (1, 1, scale * (2 * radius + 8), scale * (2 * radius + 8))
    at = radius + 4
    y[0, 0, scale * at : scale * (at + 1), scale * at : scale * (at + 1)].sum().backward()
    seen = x.grad[0, 0].abs().amax(dim=0).nonzero().flatten() - model.context - at
    assert max(-int(seen[0]), int(seen[-1])) <= radius
    if NETWORKS[name].family in ("mxcy", "espcn", "srmd", "cubic"):  # where it doesn't depend on the scale
        assert max(-int(seen[0]), int(seen[-1])) == radius


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_expanded_and_collapsed_are_one_function(scale: int) -> None:
    torch = pytest.importorskip("torch")
    from vsr.networks.mxcy import MxCy

    torch.manual_seed(scale)
    expanded = MxCy(4, 8, 1, scale).expanded()
    for parameter in expanded.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    x = torch.rand(2, 1, 24, 21)
    difference = (expanded(x) - expanded.collapsed()(x)).abs().max()
    assert difference < 1e-5
    assert not any("expand" in name for name, _ in expanded.collapsed().named_parameters())


def test_a_deepened_network_does_what_the_shallow_one_did() -> None:
    torch = pytest.importorskip("torch")
    from vsr.networks.mxcy import MxCy

    torch.manual_seed(0)
    shallow, deep = MxCy(2, 8, 1, 2), MxCy(5, 8, 1, 2)
    deep.load_state_dict(deep.deepened(shallow.state_dict()))
    x, more = torch.rand(2, 1, 30, 30), deep.context - shallow.context
    torch.testing.assert_close(deep(x), shallow(x[:, :, more:-more, more:-more]))
    assert shallow.deepened(shallow.state_dict()).keys() == shallow.state_dict().keys()


def test_a_new_expanded_network_starts_as_pixel_repeat() -> None:
    torch = pytest.importorskip("torch")
    from vsr.networks.mxcy import MxCy

    torch.manual_seed(0)
    x = torch.rand(1, 1, 22, 22)
    repeated = x[:, :, 6:-6, 6:-6].repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert (MxCy(4, 16, 1, 2).expanded()(x) - repeated).abs().max() < 0.1


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", ["fsrcnn", "fsrcnn-s"])
def test_deconvolution_equals_sub_pixel_convolution(name: str, scale: int) -> None:
    torch = pytest.importorskip("torch")
    from vsr.networks.fsrcnn import FSRCNN

    torch.manual_seed(scale)
    model = build(name, scale)
    assert isinstance(model, FSRCNN)
    x = torch.rand(1, 1, 7 + 2 * model.context, 5 + 2 * model.context)
    torch.testing.assert_close(model(x), model.sub_pixel()(x), rtol=0, atol=1e-5)
    usual = torch.nn.functional.conv_transpose2d(
        model.features(x), model.deconvolution.weight, model.deconvolution.bias, scale, 4, scale - 1
    )
    inner = slice(2 * scale, -2 * scale)
    torch.testing.assert_close(model(x), usual[:, :, inner, inner], rtol=0, atol=1e-5)
