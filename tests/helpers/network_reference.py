"""The layers of backbones, their units, inputs and outputs in NumPy and float64, written from their descriptions."""

import numpy as np


class Reference:
    """Layers that read their parameters by the published names.

    Args:
        params: float64 arrays by name, of arguments and auxiliary states.
        is_train: whether batch normalization uses the statistics of the batch.
        relu: whether the activation is ReLU instead of PReLU.
        dropout_factor: what dropout multiplies its input by, of the input's shape; None: nothing.
    """

    def __init__(self, params, is_train=False, relu=False, dropout_factor=None):
        self.params, self.is_train, self.relu, self.dropout_factor = params, is_train, relu, dropout_factor

    def _per_channel(self, name, dims):
        return self.params[name].reshape((1, -1) + (1,) * (dims - 2))

    def norm(self, x, name, eps=2e-5, fix_gamma=False):
        if self.is_train:
            axes = (0, *range(2, x.ndim))
            mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
        else:
            mean, var = (self._per_channel(f"{name}_moving_{which}", x.ndim) for which in ("mean", "var"))
        gamma = 1.0 if fix_gamma else self._per_channel(f"{name}_gamma", x.ndim)
        return gamma * (x - mean) / np.sqrt(var + eps) + self._per_channel(f"{name}_beta", x.ndim)

    def conv(self, x, name, stride=1, pad=None, groups=1):
        weight = self.params[f"{name}_weight"]  # (K, C / groups, k, k)
        kernel = weight.shape[2]
        pad = kernel // 2 if pad is None else pad
        x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        windows = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), (2, 3))[:, :, ::stride, ::stride]
        parts = zip(np.split(windows, groups, axis=1), np.split(weight, groups))
        y = np.concatenate([np.tensordot(part, w, ((1, 4, 5), (1, 2, 3))) for part, w in parts], axis=3)
        y = y.transpose(0, 3, 1, 2)
        return y + self._per_channel(f"{name}_bias", 4) if f"{name}_bias" in self.params else y

    def act(self, x, name):
        slope = 0.0 if self.relu else self._per_channel(f"{name}_gamma", x.ndim)
        return np.where(x > 0, x, slope * x)

    def dense(self, x, name, weight=None):
        return x.reshape(len(x), -1) @ self.params[weight or f"{name}_weight"].T + self.params[f"{name}_bias"]

    def dropout(self, x):
        return x if self.dropout_factor is None else x * self.dropout_factor

    def excite(self, x, name):
        """Squeeze and excitation, where the parameters have it."""
        if f"{name}_se_conv1_weight" not in self.params:
            return x
        factor = self.conv(x.mean((2, 3), keepdims=True), f"{name}_se_conv1")
        factor = self.conv(self.act(factor, f"{name}_se_relu1"), f"{name}_se_conv2")
        return x / (1 + np.exp(-factor))


def _shortcut(ref, x, stride, project, name="u"):
    return ref.norm(ref.conv(x, f"{name}_conv1sc", stride), f"{name}_sc") if project else x


def unit1(ref, x, stride, project, stride_first=False):
    first, second = (stride, 1) if stride_first else (1, stride)
    body = ref.act(ref.norm(ref.conv(x, "u_conv1", first), "u_bn1"), "u_relu1")
    body = ref.excite(ref.norm(ref.conv(body, "u_conv2", second), "u_bn2"), "u")
    return ref.act(body + _shortcut(ref, x, stride, project), "u_relu3")


def unit2(ref, x, stride, project):
    first = ref.act(ref.norm(x, "u_bn1"), "u_relu1")
    body = ref.act(ref.norm(ref.conv(first, "u_conv1", stride), "u_bn2"), "u_relu2")
    body = ref.excite(ref.conv(body, "u_conv2"), "u")
    return body + (ref.conv(first, "u_sc", stride) if project else x)


def unit3(ref, x, stride, project, name="u"):
    body = ref.conv(ref.norm(x, f"{name}_bn1"), f"{name}_conv1")
    body = ref.conv(ref.act(ref.norm(body, f"{name}_bn2"), f"{name}_relu1"), f"{name}_conv2", stride)
    return ref.excite(ref.norm(body, f"{name}_bn3"), name) + _shortcut(ref, x, stride, project, name)


def resnext_unit(ref, x, stride, project):
    body = ref.conv(ref.norm(x, "u_bn1"), "u_conv1", groups=32)
    body = ref.conv(ref.act(ref.norm(body, "u_bn2"), "u_relu1"), "u_conv2", groups=32)
    body = ref.conv(ref.act(ref.norm(body, "u_bn3"), "u_relu2"), "u_conv3", stride)
    return ref.excite(ref.norm(body, "u_bn4"), "u") + _shortcut(ref, x, stride, project)


def stem(ref, x, net_input):
    x = ref.norm(x, "bn_data", fix_gamma=True) if net_input == 2 else (x - 127.5) / 128
    return ref.act(ref.norm(ref.conv(x, "conv0", 2 if net_input == 0 else 1), "bn0"), "relu0")


def output(ref, x, net_output, size):
    """What follows the last map (N, C, H, W); `size` is D."""

    def normalized(body, weight=None):
        return ref.norm(ref.dense(body, "pre_fc1", weight), "fc1", fix_gamma=True)

    if net_output in ("H", "J"):
        return ref.dense(x, "fc1") if net_output == "H" else normalized(x)
    if net_output == "GDC":
        body = ref.conv(x, "conv_6dw7_7_conv2d", pad=0, groups=x.shape[1])
        return normalized(ref.norm(body, "conv_6dw7_7_batchnorm", eps=1e-3))
    if net_output == "GNAP":
        return _norm_aware(ref, x, size, normalized)
    body = ref.norm(x, "bn1")
    if net_output == "GAP":
        return normalized(ref.act(body, "relu1").mean((2, 3)))
    if net_output == "SFC":
        body = ref.act(ref.norm(ref.conv(body, "convf", 2, groups=x.shape[1]), "bnf"), "reluf")
        return normalized(ref.act(ref.norm(ref.conv(body, "convf2"), "bnf2"), "reluf2"))
    body = ref.dropout(body) if net_output in "EFZ" else body
    if net_output == "Z":
        return body
    return ref.dense(body, "fc1") if net_output in "FG" else normalized(body)


def _norm_aware(ref, x, size, normalized):
    channels = x.shape[1]
    if size > channels:
        x = ref.act(ref.norm(ref.conv(x, "convx"), "convx_bn"), "convx_relu")
    x = ref.norm(x, "bn6f", fix_gamma=True)
    length = np.sqrt((x**2).sum(1, keepdims=True))
    pooled = (x / length * length.mean()).mean((2, 3))
    if size < channels:
        return normalized(ref.norm(pooled, "bn6w", fix_gamma=True))
    return ref.norm(pooled, "fc1", fix_gamma=True)


def bottleneck(ref, x, name, stride):
    """MobileFaceNet's, with batch normalization's eps of 1e-3."""

    def linear(x, name, stride=1, groups=1):
        return ref.norm(ref.conv(x, f"{name}_conv2d", stride, groups=groups), f"{name}_batchnorm", eps=1e-3)

    body = ref.act(linear(x, f"{name}_conv_sep"), f"{name}_conv_sep_relu")
    body = ref.act(linear(body, f"{name}_conv_dw", stride, body.shape[1]), f"{name}_conv_dw_relu")
    return linear(body, f"{name}_conv_proj")


def mobilefacenet(ref, x):
    """The whole network, with the output GDC."""

    def conv(x, name, stride=1, groups=1):
        body = ref.norm(ref.conv(x, f"{name}_conv2d", stride, groups=groups), f"{name}_batchnorm", eps=1e-3)
        return ref.act(body, f"{name}_relu")

    x = conv(conv((x - 127.5) / 128, "conv_1", 2), "conv_2_dw", groups=64)
    for stage, num_blocks in ((2, 4), (3, 6), (4, 2)):
        x = bottleneck(ref, x, f"dconv_{stage}{stage + 1}", 2)
        for block in range(num_blocks):
            x = x + bottleneck(ref, x, f"res_{stage + 1}_block{block}", 1)
    x = ref.conv(conv(x, "conv_6sep"), "conv_6dw7_7_conv2d", pad=0, groups=512)
    x = ref.norm(x, "conv_6dw7_7_batchnorm", eps=1e-3)
    return ref.norm(ref.dense(x, "pre_fc1", "fc1_weight"), "fc1", fix_gamma=True)


def small(ref, x):
    """The whole network, with the output FC."""
    x = ref.act(ref.norm(ref.conv((x - 127.5) / 128, "conv0", 2), "bn0"), "relu0")
    for stage in (1, 2, 3):
        x = unit3(ref, x, 2, True, f"stage{stage}_unit1")
    return output(ref, x, "FC", None)
