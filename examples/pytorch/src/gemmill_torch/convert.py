"""Linear layers with packed weights, and the conversion of models to them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from .operators import linear_bf16, linear_f16, linear_int8, pack_float_weight, pack_weight, quantize_weight


class PackedLinear(nn.Module):
    """An nn.Linear whose buffers are `packed`, the weights as bytes that load on every CPU, and `bias`."""

    packed: Tensor
    bias: Tensor | None

    def __init__(self, packed: Tensor, bias: Tensor | None, in_features: int, out_features: int) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.register_buffer("packed", packed)
        self.register_buffer("bias", bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        # How many bytes packed weights take depends on the weights.
        packed = state_dict.get(prefix + "packed")
        if packed is not None and packed.shape != self.packed.shape:
            self.packed = torch.empty_like(packed, device=self.packed.device)
        super()._load_from_state_dict(state_dict, prefix, *rest)


class LinearInt8(PackedLinear):
    """An nn.Linear with int8 weights; activations are quantized on the fly, row by row unless x_scale says otherwise.

    Scales of the weights are with them in `packed`.
    """

    def __init__(self, packed: Tensor, bias: Tensor | None, in_features: int, out_features: int) -> None:
        super().__init__(packed, bias, in_features, out_features)
        self.x_scale: float | None = None
        self.x_zero_point = 0

    @classmethod
    def from_linear(cls, linear: nn.Linear, per_channel: bool = True) -> LinearInt8:
        """Quantizes and packs the weights of a layer: a scale for each output feature, or one for all."""
        packed = pack_weight(*quantize_weight(linear.weight.detach(), per_channel))
        bias = None if linear.bias is None else linear.bias.detach().clone()
        return cls(packed, bias, linear.in_features, linear.out_features).train(linear.training)

    def forward(self, x: Tensor) -> Tensor:
        return linear_int8(x, self.packed, self.bias, self.out_features, self.x_scale, self.x_zero_point)

    def extra_repr(self) -> str:
        activations = "per row" if self.x_scale is None else f"scale={self.x_scale:.3g}, zero_point={self.x_zero_point}"
        return f"{super().extra_repr()}, activations: {activations}"

    def get_extra_state(self) -> dict[str, Any]:
        return {"x_scale": self.x_scale, "x_zero_point": self.x_zero_point}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.x_scale, self.x_zero_point = state["x_scale"], state["x_zero_point"]


class LinearFloat(PackedLinear):
    """An nn.Linear with weights of 16 bits and float32 sums."""

    dtype: ClassVar[torch.dtype]

    @classmethod
    def from_linear(cls, linear: nn.Linear) -> LinearFloat:
        """Rounds and packs the weights of a layer."""
        packed = pack_float_weight(linear.weight.detach(), cls.dtype)
        bias = None if linear.bias is None else linear.bias.detach().clone()
        return cls(packed, bias, linear.in_features, linear.out_features).train(linear.training)


class LinearBf16(LinearFloat):
    """An nn.Linear with bfloat16 weights and float32 sums, for x of float32, bfloat16 or float16."""

    dtype = torch.bfloat16

    def forward(self, x: Tensor) -> Tensor:
        return linear_bf16(x, self.packed, self.bias, self.out_features)


class LinearF16(LinearFloat):
    """An nn.Linear with float16 weights and float32 sums, for x of float32, bfloat16 or float16."""

    dtype = torch.float16

    def forward(self, x: Tensor) -> Tensor:
        return linear_f16(x, self.packed, self.bias, self.out_features)


FLOAT_LAYERS = {layer.dtype: layer for layer in (LinearBf16, LinearF16)}


def convert(
    model: nn.Module,
    *,
    dtype: torch.dtype = torch.int8,
    per_channel: bool = True,
    calibrate: Callable[[nn.Module], Any] | None = None,
    skip: Callable[[str, nn.Linear], bool] = lambda name, linear: False,
    inplace: bool = False,
) -> nn.Module:
    """The model with its nn.Linear layers replaced by LinearInt8, for inference; a copy unless inplace.

    dtype: what weights become. With torch.bfloat16 or torch.float16, layers become LinearBf16 or LinearF16, activations stay what
    they are, and there is nothing to calibrate and no per_channel.
    calibrate: called with the model before it is converted, to run it with inputs that are typical. Each layer's activations
    are quantized by the range that was seen then, instead of row by row: faster, and less accurate.
    skip: called with name and layer; layers stay as they are where it gives True.
    """
    if dtype != torch.int8 and dtype not in FLOAT_LAYERS:
        raise ValueError(f"expected dtype to be int8, bfloat16 or float16, but it is {dtype}")
    if dtype != torch.int8 and (calibrate or not per_channel):
        raise ValueError(f"calibrate and per_channel are for int8, but dtype is {dtype}")
    if not inplace:
        model = copy.deepcopy(model)
    # Subclasses may do something else than nn.Linear, and models may look into them.
    chosen = {m: name for name, m in model.named_modules() if type(m) is nn.Linear and not skip(name, m)}
    ranges = _ranges(model, chosen, calibrate) if calibrate else {}
    converted = {linear: _converted(linear, dtype, per_channel) for linear in chosen}
    for linear, layer in converted.items():
        if calibrate:
            layer.x_scale, layer.x_zero_point = torch.ops.gemmill.choose_quantization(*ranges[linear])
    for module in list(model.modules()):
        # These would multiply with the layers' weights themselves.
        if isinstance(module, nn.TransformerEncoderLayer):
            module.activation_relu_or_gelu = 0
        if isinstance(module, nn.TransformerEncoder):
            module.use_nested_tensor = False
        # A layer may be there under several names.
        for name, child in list(module._modules.items()):
            if child in converted:
                module._modules[name] = converted[child]
    return converted.get(model, model)


def _converted(linear: nn.Linear, dtype: torch.dtype, per_channel: bool) -> PackedLinear:
    if dtype in FLOAT_LAYERS:
        return FLOAT_LAYERS[dtype].from_linear(linear)
    return LinearInt8.from_linear(linear, per_channel)


def _ranges(
    model: nn.Module, chosen: dict[nn.Linear, str], calibrate: Callable[[nn.Module], Any]
) -> dict[nn.Linear, tuple[float, float]]:
    """The smallest and the largest input of each layer while the model is calibrated."""
    ranges: dict[nn.Linear, tuple[float, float]] = {}

    def observe(linear: nn.Module, inputs: tuple[Any, ...]) -> None:
        if inputs[0].numel() > 0:
            low, high = (float(x) for x in torch.aminmax(inputs[0]))
            seen = ranges.get(linear, (low, high))
            ranges[linear] = (min(low, seen[0]), max(high, seen[1]))

    hooks = [linear.register_forward_pre_hook(observe) for linear in chosen]
    try:
        with torch.no_grad():
            calibrate(model)
    finally:
        for hook in hooks:
            hook.remove()
    if missing := [name for linear, name in chosen.items() if linear not in ranges]:
        raise ValueError(f"calibrate did not run the layers {missing}: run them too, or skip them")
    return ranges
