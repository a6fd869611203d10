# SPDX-License-Identifier: Apache-2.0
"""Networks of torchvision and timm, thin: each entry makes a model and says which inputs it takes at which sizes (zoo.py)."""
import torch
from torch import nn

from zoo import Model, add, images, thin, warmed


def tv():
    import torchvision
    return torchvision.models


SQUARE = [dict(batch=2, size=64), dict(batch=1, size=96), dict(batch=3, size=80)]
BATCH = [dict(batch=2), dict(batch=1), dict(batch=5)]
ANY = [dict(batch=2, height=64, width=96), dict(batch=1, height=96, width=64), dict(batch=3, height=64, width=128)]


def picture(batch, size=64, height=None, width=None):
    return (images(batch, height or size, width or size),)


def fixed(size):
    return lambda batch: (images(batch, size, size),)


def classifier(name, make, inputs=picture, sizes=SQUARE, **more):
    add("torchvision", name, lambda: Model(warmed(make(), inputs(**sizes[0])), inputs, sizes, **more))


def shrunk(name, by=8, family=None, **kw):
    def make():
        with thin(by):
            return getattr(getattr(tv(), family) if family else tv(), name)(weights=None, **kw)
    return make


def resnet(block, layers, **kw):
    def make():
        from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
        return ResNet(BasicBlock if block == "basic" else Bottleneck, layers, num_classes=10, **kw)
    return make


classifier("resnet18", shrunk("resnet18"))
classifier("resnet50", shrunk("resnet50"))
classifier("resnext50", resnet("bottle", [1, 1, 1, 1], groups=8, width_per_group=4))
classifier("wide_resnet50", shrunk("wide_resnet50_2"))
classifier("densenet121", lambda: tv().DenseNet(8, (2, 2, 2, 2), 16, 2, num_classes=10))
classifier("googlenet", shrunk("googlenet", aux_logits=False, init_weights=False))
classifier("inception_v3", shrunk("inception_v3", aux_logits=False, init_weights=False), sizes=[dict(batch=2, size=96), dict(batch=1, size=112), dict(batch=3, size=128)])
classifier("mobilenet_v2", lambda: tv().mobilenet_v2(weights=None, width_mult=0.25, num_classes=10))


def mobilenet_v3(kind):
    from torchvision.models.mobilenetv3 import MobileNetV3, _mobilenet_v3_conf
    setting, last = _mobilenet_v3_conf("mobilenet_v3_" + kind, width_mult=0.25)
    return MobileNetV3(setting, last // 8, num_classes=10)


classifier("mobilenet_v3_large", lambda: mobilenet_v3("large"))
classifier("mobilenet_v3_small", lambda: mobilenet_v3("small"))


def efficientnet(name):
    from torchvision.models.efficientnet import EfficientNet, _efficientnet_conf
    if name == "efficientnet_v2_s":
        with thin(8):
            return tv().efficientnet_v2_s(weights=None, num_classes=16)
    setting, last = _efficientnet_conf(name, width_mult=0.25, depth_mult=0.5)
    return EfficientNet(setting, 0.2, num_classes=10, last_channel=last)


classifier("efficientnet_b0", lambda: efficientnet("efficientnet_b0"))
classifier("efficientnet_v2_s", lambda: efficientnet("efficientnet_v2_s"))


def convnext():
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt
    return ConvNeXt([CNBlockConfig(16, 32, 1), CNBlockConfig(32, 48, 1), CNBlockConfig(48, None, 2)], num_classes=10)


classifier("convnext", convnext)


def regnet(se):
    from torchvision.models.regnet import BlockParams, RegNet
    return RegNet(BlockParams.from_init_params(depth=6, w_0=16, w_a=12.0, w_m=2.2, group_width=8, se_ratio=0.25 if se else None), num_classes=10)


classifier("regnet_x", lambda: regnet(False))
classifier("regnet_y", lambda: regnet(True))
classifier("shufflenet_v2", lambda: tv().ShuffleNetV2([2, 3, 2], [8, 16, 32, 64, 64], num_classes=10))
classifier("mnasnet", lambda: tv().MNASNet(0.25, num_classes=10))
classifier("squeezenet", shrunk("squeezenet1_1", by=4))


def vgg():
    from torchvision.models.vgg import VGG, make_layers
    model = VGG(make_layers([8, "M", 16, "M", 16, 16, "M", 32, "M"], batch_norm=True), num_classes=10, init_weights=False)
    model.classifier = nn.Sequential(nn.Linear(32 * 49, 64), nn.ReLU(True), nn.Dropout(), nn.Linear(64, 10))
    return model


classifier("vgg_bn", vgg)
classifier("alexnet", shrunk("alexnet"), sizes=[dict(batch=2, size=224), dict(batch=1, size=256), dict(batch=3, size=192)])


def vit():
    model = tv().VisionTransformer(image_size=64, patch_size=16, num_layers=2, num_heads=4, hidden_dim=32, mlp_dim=64, num_classes=10)
    nn.init.normal_(model.heads.head.weight, 0, 0.1)
    return model


classifier("vit", vit, fixed(64), BATCH)


def swin(v2):
    from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformer, SwinTransformerBlockV2
    more = dict(block=SwinTransformerBlockV2, downsample_layer=PatchMergingV2) if v2 else {}
    return SwinTransformer([4, 4], 16, [2, 2], [2, 4], [4, 4], num_classes=10, **more)


classifier("swin_v1", lambda: swin(False), fixed(64), BATCH)
classifier("swin_v2", lambda: swin(True), fixed(64), BATCH)
classifier("maxvit", lambda: tv().MaxVit((64, 64), 8, 4, [8, 16], [1, 1], 8, 0.0, num_classes=10), fixed(64), BATCH)


class Out(nn.Module):
    """Keeps entry `key` of a dict of outputs."""
    def __init__(self, model, key):
        super().__init__()
        self.model, self.key = model, key

    def forward(self, x):
        return self.model(x)[self.key]


for segmenter in ("fcn_resnet50", "deeplabv3_resnet50", "lraspp_mobilenet_v3_large"):
    classifier(segmenter.split("_")[0], lambda name=segmenter: Out(shrunk(name, 8, "segmentation", weights_backbone=None, num_classes=32)(), "out"),
               lambda batch, height, width: (images(batch, height, width),), ANY, double=True)


# ---- video and flow ---------------------------------------------------------------------------------------------------------------

CLIPS = [dict(batch=2, frames=8, size=32), dict(batch=1, frames=12, size=48), dict(batch=3, frames=8, size=64)]


def clip(batch, frames=8, size=32):
    return (torch.randn(batch, 3, frames, size, size),)


for net in ("r3d_18", "mc3_18", "r2plus1d_18"):
    classifier(net, shrunk(net, 8, "video"), clip, CLIPS)
classifier("s3d", shrunk("s3d", 8, "video", num_classes=16), clip, [dict(batch=2, frames=16, size=224), dict(batch=1, frames=16, size=224)])


def mvit():
    from torchvision.models.video.mvit import MSBlockConfig, MViT
    pool = dict(kernel_q=[3, 3, 3], kernel_kv=[3, 3, 3])
    blocks = [MSBlockConfig(1, 16, 16, stride_q=[1, 1, 1], stride_kv=[1, 4, 4], **pool), MSBlockConfig(2, 16, 32, stride_q=[1, 2, 2], stride_kv=[1, 2, 2], **pool),
              MSBlockConfig(2, 32, 32, stride_q=[1, 1, 1], stride_kv=[1, 2, 2], **pool)]
    return MViT((32, 32), 4, blocks, residual_pool=True, residual_with_cls_embed=False, rel_pos_embed=True, proj_after_attn=True, num_classes=10)


classifier("mvit_v2", mvit, lambda batch: clip(batch, 4, 32), BATCH)


def swin3d():
    from torchvision.models.video.swin_transformer import SwinTransformer3d
    return SwinTransformer3d([2, 4, 4], 16, [2, 2], [2, 4], [2, 4, 4], num_classes=10)


classifier("swin3d", swin3d, lambda batch: clip(batch, 4, 32), BATCH)


class Flow(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = tv().optical_flow.raft_small(weights=None)

    def forward(self, a, b):
        return self.model(a, b, num_flow_updates=2)[-1]


def pair(batch, height=128, width=128):
    return images(batch, height, width), images(batch, height, width)


add("torchvision", "raft", lambda: Model(warmed(Flow(), pair(2)), pair, [dict(batch=2, height=128, width=136), dict(batch=1, height=136, width=128)], relative=True))


# ---- timm -------------------------------------------------------------------------------------------------------------------------

def timm_model(name, size=64, by=1, batches=(2, 1, 5), double=False, calm=False, **kw):
    def make():
        import timm
        torch.manual_seed(1)
        with thin(by):
            model = timm.create_model(name, pretrained=False, num_classes=10 if by == 1 else 8 * by, **kw)
        for m in model.modules():                       # layer scales start near zero and would hide the branch
            for key, p in m.named_parameters(recurse=False):
                if "gamma" in key or "layer_scale" in key or key == "ls":
                    nn.init.uniform_(p, 0.3, 0.7)
        warmed(model, (images(4, size, size),))
        for key, m in model.named_modules():            # scores of attention behind a batch norm: small enough that a softmax is no switch
            if calm and "attn" in key and isinstance(m, nn.modules.batchnorm._BatchNorm):
                m.weight.data.mul_(0.3)
        return Model(model, fixed(size), [dict(batch=b) for b in batches], double)
    add("timm", name, make)


timm_model("convnextv2_atto", depths=(1, 1, 2, 1), dims=(16, 24, 32, 48))
timm_model("mobilevit_xxs")
timm_model("mobilevitv2_050")
timm_model("efficientformer_l1", 224)
timm_model("efficientformerv2_s0", 224)
timm_model("hrnet_w18_small")
timm_model("levit_128s", 224, double=True, calm=True)
timm_model("xcit_nano_12_p16_224", 64, depth=2, img_size=64)
timm_model("eva02_tiny_patch14_224", 56, depth=2, img_size=56)
timm_model("fastvit_t8")
timm_model("coatnet_nano_rw_224", 224)
timm_model("nfnet_l0", by=8)
timm_model("mobilenetv4_conv_small")
timm_model("mobilenetv4_hybrid_medium", 64, double=True)
timm_model("tiny_vit_5m_224", 224, depths=(1, 1, 2, 1), embed_dims=(16, 32, 48, 64), num_heads=(1, 2, 3, 4))
timm_model("davit_tiny", 64, depths=(1, 1, 1, 1), embed_dims=(16, 32, 48, 64), num_heads=(1, 2, 3, 4))
timm_model("beit_base_patch16_224", 64, depth=2, embed_dim=48, num_heads=4, img_size=64)
timm_model("vit_base_patch16_siglip_224", 64, depth=2, embed_dim=48, num_heads=4, img_size=64)
timm_model("vit_small_patch14_dinov2", 56, depth=2, embed_dim=48, num_heads=4, img_size=56)
timm_model("pvt_v2_b0", 64)
timm_model("twins_svt_small", 224, depths=(1, 1, 1, 1), embed_dims=(16, 32, 48, 64), num_heads=(1, 2, 3, 4))
timm_model("cait_xxs24_224", 64, depth=2, img_size=64)
timm_model("crossvit_tiny_240", 240)
timm_model("halonet26t", 256)
timm_model("focalnet_tiny_srf", 64)
timm_model("mambaout_femto", 64)
timm_model("repvgg_a0", 64, by=8)
timm_model("ghostnet_050", 64)
timm_model("edgenext_xx_small", 64)
timm_model("poolformerv2_s12", 64)
timm_model("resnest14d", 64, by=8)
timm_model("volo_d1_224", 64, img_size=64)
