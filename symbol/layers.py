"""What every backbone is made of: scaling of the input, convolutions, batch normalization and activations.

Names and hyper-parameters are those of InsightFace's MXNet models, so that parameters can be exchanged.
"""

from typing import NamedTuple

import mxnet as mx

PUBLISHED_EPS = 2e-5


def image_input() -> mx.sym.Symbol:
    """The input `data` (N, 3, H, W), RGB in 0..255, scaled to about -1..1 inside the symbol."""
    data = mx.sym.identity(mx.sym.Variable("data"), name="id")
    # Subtraction and multiplication keep their automatic names: InsightFace's tools recognise a model that
    # scales its own input by nodes called _minus... and _mul... among the first of the graph.
    return (data - 127.5) * 0.0078125


class Layers(NamedTuple):
    """Makes the layers of one network, all with the same settings.

    Attributes:
        net_act: activation: `prelu`, with one slope per channel, or `relu`.
        bn_mom: share of the old value in a running mean or variance of batch normalization after an update.
        workspace: memory in MiB that one convolution may use for temporary results on a GPU.
    """

    net_act: str = "prelu"
    bn_mom: float = 0.9
    workspace: int = 256

    def conv(
        self,
        data: mx.sym.Symbol,
        num_filter: int,
        name: str,
        kernel: int = 3,
        stride: int = 1,
        num_group: int = 1,
        bias: bool = False,
        pad: bool = True,
    ) -> mx.sym.Symbol:
        """Convolution of (N, C, H, W) to (N, num_filter, H', W').

        Args:
            data: the map to convolve.
            num_filter: number of output channels.
            name: of the layer; its parameters are NAME_weight and NAME_bias.
            kernel: height and width of the kernel, odd.
            stride: in both directions.
            num_group: groups of channels that do not see each other; as many as channels: depthwise.
            bias: whether a bias is added.
            pad: with zeros, so that H' = H / stride, rounded up; otherwise the map shrinks by kernel - 1 before.
        """
        return mx.sym.Convolution(
            data,
            num_filter=num_filter,
            kernel=(kernel, kernel),
            stride=(stride, stride),
            pad=(kernel // 2, kernel // 2) if pad else (0, 0),
            num_group=num_group,
            no_bias=not bias,
            workspace=self.workspace,
            name=name,
        )

    def batch_norm(
        self, data: mx.sym.Symbol, name: str, fix_gamma: bool = False, eps: float = PUBLISHED_EPS
    ) -> mx.sym.Symbol:
        """Batch normalization over axis 1; `fix_gamma` keeps the gain at 1; `eps` is added to the variance."""
        # MXNet ignores the stored value of a fixed gain, but weight decay would shrink it, and tools that do not know
        # fix_gamma would multiply by it.
        gamma = mx.sym.Variable(name + "_gamma", wd_mult=0.0) if fix_gamma else None
        return mx.sym.BatchNorm(data, gamma, fix_gamma=fix_gamma, eps=eps, momentum=self.bn_mom, name=name)

    def activation(self, data: mx.sym.Symbol, name: str) -> mx.sym.Symbol:
        """The network's activation, element by element."""
        if self.net_act == "prelu":
            return mx.sym.LeakyReLU(data, act_type="prelu", name=name)
        return mx.sym.Activation(data, act_type=self.net_act, name=name)
