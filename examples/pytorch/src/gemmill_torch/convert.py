"""Linear layers with packed weights, and the conversion of models to them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from .operators import (
    check_hardware_dot,
    linear_bf16,
    linear_f16,
    linear_int4,
    linear_int8,
    pack_float_weight,
    pack_int4_weight,
    pack_weight,
    quantize_weight,
)


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
    """An nn.Linear with int8 weights, for x of float32, bfloat16 or float16.

    Activations are quantized on the fly, row by row unless x_scale says otherwise. Scales of the weights are with them
    in `packed`.
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
    """An nn.Linear with bfloat16 weights and float32 sums, for x of float32, bfloat16 or float16.

    hardware_dot is that of linear_bf16. Names of instructions and "auto" are kept as they are: layers may be made,
    saved and loaded on CPUs that lack an instruction, and run on those that have it.
    """

    dtype = torch.bfloat16
    # Layers that 0.1 pickled have no attribute of their own.
    hardware_dot: str = "off"

    @classmethod
    def from_linear(cls, linear: nn.Linear, hardware_dot: str | None = None) -> LinearBf16:
        """Rounds and packs the weights of a layer."""
        name = check_hardware_dot(hardware_dot)
        layer = super().from_linear(linear)
        layer.hardware_dot = name
        return layer

    def forward(self, x: Tensor) -> Tensor:
        return linear_bf16(x, self.packed, self.bias, self.out_features, self.hardware_dot)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, hardware_dot={self.hardware_dot}"

    def get_extra_state(self) -> dict[str, Any]:
        return {"hardware_dot": self.hardware_dot}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.hardware_dot = check_hardware_dot(state["hardware_dot"])

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        # State that 0.1 saved has no extra state.
        if prefix + "packed" in state_dict:
            state_dict.setdefault(prefix + "_extra_state", {"hardware_dot": "off"})
        super()._load_from_state_dict(state_dict, prefix, *rest)


class LinearF16(LinearFloat):
    """An nn.Linear with float16 weights and float32 sums, for x of float32, bfloat16 or float16."""

    dtype = torch.float16

    def forward(self, x: Tensor) -> Tensor:
        return linear_f16(x, self.packed, self.bias, self.out_features)


class LinearInt4(PackedLinear):
    """An nn.Linear with weights of 4 bits and scales for groups of input features, for x of float32, bfloat16 or
    float16.

    Weights become float32 on the fly, or with quantize_x, rows of x become int8. Scales are with the weights in
    `packed`.
    """

    def __init__(self, packed: Tensor, bias: Tensor | None, in_features: int, out_features: int) -> None:
        super().__init__(packed, bias, in_features, out_features)
        self.quantize_x = False

    @classmethod
    def from_linear(
        cls,
        linear: nn.Linear,
        group_size: int = 128,
        quantize_x: bool = False,
        symmetric: bool = True,
        search: bool = True,
    ) -> LinearInt4:
        """Quantizes and packs the weights of a layer, as pack_int4_weight. Any number of input features does: the last
        group may be smaller."""
        packed = pack_int4_weight(linear.weight.detach(), group_size, symmetric, search)
        bias = None if linear.bias is None else linear.bias.detach().clone()
        layer = cls(packed, bias, linear.in_features, linear.out_features).train(linear.training)
        layer.quantize_x = quantize_x
        return layer

    def forward(self, x: Tensor) -> Tensor:
        return linear_int4(x, self.packed, self.bias, self.out_features, self.quantize_x)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, activations: {'int8 per row' if self.quantize_x else 'float'}"

    def get_extra_state(self) -> dict[str, Any]:
        return {"quantize_x": self.quantize_x}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.quantize_x = state["quantize_x"]


def convert(
    model: nn.Module,
    *,
    dtype: torch.dtype | Literal["int4"] = torch.int8,
    per_channel: bool = True,
    group_size: int | None = None,
    quantize_x: bool = False,
    hardware_dot: str | None = None,
    calibrate: Callable[[nn.Module], Any] | None = None,
    skip: Callable[[str, nn.Linear], bool] = lambda name, linear: False,
    inplace: bool = False,
) -> nn.Module:
    """The model with its nn.Linear layers replaced by LinearInt8, for inference; a copy unless inplace.

    dtype: what weights become. With torch.bfloat16 or torch.float16, layers become LinearBf16 or LinearF16, activations
    stay what they are, and there is nothing to calibrate and no per_channel. With "int4", layers become LinearInt4.
    group_size: for int4, 32, 64 or 128 (the default) input features have a scale; with fewer, results are more
    accurate. It need not divide a layer's input features.
    quantize_x: for int4, rows of activations become int8: faster, and less accurate.
    hardware_dot: for torch.bfloat16, that of linear_bf16: "auto" or an instruction's name is faster on CPUs that have
    one, and rounds otherwise. Whether the CPU has it is for the layers to say when they run.
    calibrate: called with the model before it is converted, to run it with inputs that are typical. Each layer's
    activations are quantized by the range that was seen then, instead of row by row: faster, and less accurate.
    skip: called with name and layer; layers stay as they are where it gives True.
    """
    if dtype not in (torch.int8, torch.bfloat16, torch.float16, "int4"):
        raise ValueError(
            f'expected dtype to be torch.int8, torch.bfloat16, torch.float16 or "int4", but it is {dtype!r}'
        )
    if dtype != "int4" and (group_size is not None or quantize_x):
        raise ValueError(f"group_size and quantize_x are for int4, but dtype is {dtype}")
    if group_size not in (None, 32, 64, 128):
        raise ValueError(f"expected group_size to be 32, 64 or 128, but it is {group_size}")
    if check_hardware_dot(hardware_dot) != "off" and dtype != torch.bfloat16:
        raise ValueError(f"hardware_dot is for torch.bfloat16, but dtype is {dtype}")
    if dtype != torch.int8 and (calibrate or not per_channel):
        raise ValueError(f"calibrate and per_channel are for int8, but dtype is {dtype}")
    if not inplace:
        model = copy.deepcopy(model)
    # Subclasses may do something else than nn.Linear, and models may look into them.
    chosen = {m: name for name, m in model.named_modules() if type(m) is nn.Linear and not skip(name, m)}
    ranges = _ranges(model, chosen, calibrate) if calibrate else {}

    def packed(linear: nn.Linear) -> PackedLinear:
        if dtype == torch.int8:
            return LinearInt8.from_linear(linear, per_channel)
        if dtype == "int4":
            return LinearInt4.from_linear(linear, group_size or 128, quantize_x)
        if dtype == torch.bfloat16:
            return LinearBf16.from_linear(linear, hardware_dot)
        return LinearF16.from_linear(linear)

    converted = {linear: packed(linear) for linear in chosen}
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
