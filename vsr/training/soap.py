"""SOAP (Vyas et al., SOAP: Improving and Stabilizing Shampoo using Adam, ICLR 2025, algorithm 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

EVERY = 10  # steps between the turns of the bases
LARGEST = 640  # a longer side of a weight isn't turned (section 4.1): its basis would cost more than the network
LEAST = 1e-8  # added to the root of the second moment


class Soap(torch.optim.Optimizer):
    """Adam in the eigenbases of Shampoo's preconditioners; a weight is taken as (outputs, everything else).

    Args:
        rate: learning rate.
        decays: of the moving averages of the gradient, and of its square and the preconditioners.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], *, rate: float, decays: tuple[float, float] = (0.95, 0.95)
    ) -> None:
        super().__init__(parameters, {"lr": rate, "decays": decays})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; the first only takes the gradient in, for the first bases."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group["lr"], *group["decays"])
        return loss

    def _move(self, parameter: Tensor, gradient: Tensor, rate: float, slow: float, fast: float) -> None:
        state = self.state[parameter]
        gradient = gradient.flatten(1) if gradient.dim() > 1 else gradient[None]
        if not state:
            state.update(_begun(gradient))
            return
        state["step"] += 1
        bases, mean, square = (state[key] for key in ("bases", "mean", "square"))
        mean.lerp_(gradient, 1 - slow)
        square.lerp_(_turned(gradient, bases) ** 2, 1 - fast)
        root = (square / (1 - fast ** state["step"])).sqrt() + LEAST
        direction = _turned(mean, bases) / (1 - slow ** state["step"]) / root
        back = [None if basis is None else basis.T for basis in bases]
        parameter.sub_(rate * _turned(direction, back).view_as(parameter))
        for axis, products in enumerate(state["products"]):
            if products is not None:
                products.lerp_(_products(gradient, axis), 1 - fast)
        if state["step"] % EVERY == 0:
            _follow(state)


def _begun(gradient: Tensor) -> dict[str, Any]:
    products = [_products(gradient, axis) if size <= LARGEST else None for axis, size in enumerate(gradient.shape)]
    return {
        "step": 0,
        "mean": torch.zeros_like(gradient),
        "square": torch.zeros_like(gradient),
        "products": products,
        "bases": [None if product is None else _basis(product) for product in products],
    }


def _basis(product: Tensor) -> Tensor:
    """In float64, as float32's LAPACK may not converge on a product of rank 1."""
    basis: Tensor = torch.linalg.eigh(product.double())[1]
    return basis.to(product.dtype)


def _products(gradient: Tensor, axis: int) -> Tensor:
    return gradient @ gradient.T if axis == 0 else gradient.T @ gradient


def _turned(matrix: Tensor, bases: list[Tensor | None]) -> Tensor:
    """The matrix in the coordinates of the bases of its two sides; None: a side stays as it is."""
    rows, columns = bases
    if rows is not None:
        matrix = rows.T @ matrix
    return matrix if columns is None else matrix @ columns


def _follow(state: dict[str, Any]) -> None:
    """A step of power iteration towards the eigenvectors, the largest first; the squares go with their axes."""
    for axis, (basis, products) in enumerate(zip(state["bases"], state["products"], strict=True)):
        if basis is not None:
            image = products @ basis
            order = (basis * image).sum(0).argsort(descending=True)
            state["square"] = state["square"].index_select(axis, order)
            state["bases"][axis] = torch.linalg.qr(image[:, order])[0]
