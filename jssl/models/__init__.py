"""Flax linen modules: a backbone returns features, a head is its own module.

Parameters are always float32, `dtype` is the compute dtype. Names are canonical, so that sharding
rules by path work: attention projections are `query`, `key`, `value` [D, heads d] and `out`
[heads d, D]; feed-forward layers are `up` and `down`; embeddings are `embed`; position tables
`positions`. Every module is called as `module(x, *, train=False)`.
"""

from jssl.models.audio import SEANetEncoder as SEANetEncoder
from jssl.models.audio import VocosDecoder as VocosDecoder
from jssl.models.audio import inverse_stft as inverse_stft
from jssl.models.autoencoder import ConvDecoder as ConvDecoder
from jssl.models.autoencoder import ConvEncoder as ConvEncoder
from jssl.models.autoencoder import ShapedMLP as ShapedMLP
from jssl.models.autoencoder import Tokeniser as Tokeniser
from jssl.models.convnet import ConvNet as ConvNet
from jssl.models.convnet import Decoder as Decoder
from jssl.models.convnet import NetworkInNetwork as NetworkInNetwork
from jssl.models.convnet import PatchMLP as PatchMLP
from jssl.models.convnet import convolve as convolve
from jssl.models.discriminator import PatchDiscriminator as PatchDiscriminator
from jssl.models.heads import Classifier as Classifier
from jssl.models.heads import DINOHead as DINOHead
from jssl.models.heads import PredictionHead as PredictionHead
from jssl.models.heads import ProjectionHead as ProjectionHead
from jssl.models.heads import Prototypes as Prototypes
from jssl.models.mlp import MLP as MLP
from jssl.models.mlp import FeedForward as FeedForward
from jssl.models.norms import GroupNorm as GroupNorm
from jssl.models.norms import norm as norm
from jssl.models.patches import depth_to_space as depth_to_space
from jssl.models.patches import patchify as patchify
from jssl.models.patches import space_to_depth as space_to_depth
from jssl.models.patches import unpatchify as unpatchify
from jssl.models.perceptual import LPIPS as LPIPS
from jssl.models.perceptual import VGG as VGG
from jssl.models.positions import LearnedPositions as LearnedPositions
from jssl.models.positions import rotary as rotary
from jssl.models.positions import rotary_angles as rotary_angles
from jssl.models.positions import sincos as sincos
from jssl.models.positions import sincos_table as sincos_table
from jssl.models.resnet import ResNet as ResNet
from jssl.models.resnet import resnet18 as resnet18
from jssl.models.resnet import resnet34 as resnet34
from jssl.models.resnet import resnet50 as resnet50
from jssl.models.resnet import resnet101 as resnet101
from jssl.models.resnet import resnet152 as resnet152
from jssl.models.transformer import Attention as Attention
from jssl.models.transformer import Block as Block
from jssl.models.transformer import Transformer as Transformer
from jssl.models.unet import UNet as UNet
from jssl.models.vit import MaskedDecoder as MaskedDecoder
from jssl.models.vit import ViT as ViT
from jssl.models.vit import vit_base as vit_base
from jssl.models.vit import vit_large as vit_large
from jssl.models.vit import vit_small as vit_small
from jssl.models.vit import vit_tiny as vit_tiny
