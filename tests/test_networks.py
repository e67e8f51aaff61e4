"""The table against the modules, and the modules against their contracts."""

from __future__ import annotations

import subprocess
import sys

import pytest

from vsr.errors import UsageError
from vsr.networks import NETWORKS, build

EVERY = [(name, scale) for name, network in NETWORKS.items() for scale in network.scales]
PUBLISHED = {  # multiply-accumulates per low-resolution pixel at scales 2, 3, 4
    "m4c8": (2_664, 3_024, 3_528),
    "m4c16": (9_936, 10_656, 11_664),
    "m10c16": (23_760, 24_480, 25_488),
    "m4c32": (38_304, 39_744, 41_760),
    "m10c32": (93_600, 95_040, 97_056),
    "fsrcnn": (12_464,) * 3,
    "fsrcnn-s": (3_937,) * 3,
    "espcn": (21_184, 22_624, 24_640),
}


def test_the_table_needs_no_torch() -> None:
    program = "import sys, vsr.networks; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_an_unknown_network_or_scale_is_named() -> None:
    with pytest.raises(UsageError, match=r"'m4c9'.*m4c16"):
        build("m4c9", 2)
    with pytest.raises(UsageError, match=r"5.*2, 3, 4"):
        build("m4c16", 5)


@pytest.mark.parametrize("name", NETWORKS)
def test_macs_are_those_of_the_papers(name: str) -> None:
    assert tuple(NETWORKS[name].macs(scale) for scale in (2, 3, 4)) == PUBLISHED[name]


@pytest.mark.parametrize(("name", "scale"), EVERY)
def test_the_table_counts_what_the_module_has(name: str, scale: int) -> None:
    torch = pytest.importorskip("torch")
    model = build(name, scale)
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.ConvTranspose2d)]
    assert NETWORKS[name].depth == len(layers)
    assert NETWORKS[name].macs(scale) == sum(layer.weight.numel() for layer in layers)
    assert NETWORKS[name].parameters(scale) == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("name", "scale"), EVERY)
def test_every_network_reads_its_radius_and_no_more(name: str, scale: int) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model, radius = build(name, scale).double(), NETWORKS[name].radius
    for parameter in model.parameters():
        parameter.data.abs_()  # so that no ReLU is ever silent
    x = torch.rand(1, 1, 4 + 2 * radius, 3 + 2 * radius, dtype=torch.float64, requires_grad=True)
    y = model(x)
    assert y.shape == (1, 1, 4 * scale, 3 * scale)
    y[0, 0, scale : 2 * scale, scale : 2 * scale].sum().backward()  # pixel (1, 1)
    rows, columns = (x.grad[0, 0].abs().amax(dim=axis).nonzero().flatten() for axis in (1, 0))
    assert min(rows[0], columns[0]) >= 1
    assert max(rows[-1], columns[-1]) <= 1 + 2 * radius
    if not name.startswith("fsrcnn") or scale == 2:  # its deconvolution reaches less far at scales 3 and 4
        assert (rows[0], rows[-1], columns[0], columns[-1]) == (1, 1 + 2 * radius, 1, 1 + 2 * radius)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_expanded_and_collapsed_are_one_function(scale: int) -> None:
    torch = pytest.importorskip("torch")
    from vsr.networks.mxcy import MxCy

    torch.manual_seed(scale)
    expanded = MxCy(4, 8, scale).expanded()
    for parameter in expanded.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    x = torch.rand(2, 1, 24, 21)
    difference = (expanded(x) - expanded.collapsed()(x)).abs().max()
    assert difference < 1e-5
    assert not any("expand" in name for name, _ in expanded.collapsed().named_parameters())


def test_a_new_expanded_network_starts_as_pixel_repeat() -> None:
    torch = pytest.importorskip("torch")
    from vsr.networks.mxcy import MxCy

    torch.manual_seed(0)
    x = torch.rand(1, 1, 22, 22)
    repeated = x[:, :, 6:-6, 6:-6].repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert (MxCy(4, 16, 2).expanded()(x) - repeated).abs().max() < 0.1


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", ["fsrcnn", "fsrcnn-s"])
def test_deconvolution_equals_sub_pixel_convolution(name: str, scale: int) -> None:
    torch = pytest.importorskip("torch")
    from vsr.networks.fsrcnn import FSRCNN

    torch.manual_seed(scale)
    model, radius = build(name, scale), NETWORKS[name].radius
    assert isinstance(model, FSRCNN)
    x = torch.rand(1, 1, 7 + 2 * radius, 5 + 2 * radius)
    torch.testing.assert_close(model(x), model.forward_sub_pixel(x), rtol=0, atol=1e-5)
    usual = torch.nn.functional.conv_transpose2d(
        model.features(x), model.deconvolution.weight, model.deconvolution.bias, scale, 4, scale - 1
    )
    inner = slice(2 * scale, -2 * scale)
    torch.testing.assert_close(model(x), usual[:, :, inner, inner], rtol=0, atol=1e-5)


def test_a_dead_channel_is_revived_without_changing_the_picture() -> None:
    torch = pytest.importorskip("torch")
    from vsr.networks.mxcy import MxCy

    torch.manual_seed(0)
    network = MxCy(4, 16, 2).expanded()
    first, second = network.layers[:2]
    x = torch.rand(4, 1, 30, 30)
    network.revive(x, least=0.001)  # some begin dead
    first.bias.data[[3, 7]] = -99.0
    second.bias.data[0] = -99.0
    before = network(x)
    assert network.revive(x, least=0.001) == 3
    torch.testing.assert_close(network(x), before, rtol=0, atol=1e-5)
    alive = (first(x) > 0).float().mean((0, 2, 3))
    assert alive[[3, 7]].min() > 0.2
    assert network.revive(x, least=0.001) == 0
