"""Writes resnet50.pt2, mobilenet_v2.pt2, vit_b_16.pt2 and bert.pt2 (full size, seeded random weights, warm batch norms) here."""
import os
import sys

import torch
import torchvision
import transformers

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../bench"))
from warm import warm

torch.manual_seed(0)


def save(name, model, args, kwargs=None, dynamic=None):
    torch.export.save(torch.export.export(model.eval(), args, kwargs or {}, dynamic_shapes=dynamic), name + ".pt2")


for name in ("resnet50", "mobilenet_v2"):
    save(name, warm(getattr(torchvision.models, name)(weights=None), lambda: torch.randn(4, 3, 96, 96)), (torch.randn(1, 3, 224, 224),))

vit = torchvision.models.vit_b_16(weights=None)
torch.nn.init.normal_(vit.heads.head.weight, 0, 0.02)      # torchvision starts it at zero, which would hide any error
save("vit_b_16", vit, (torch.randn(1, 3, 224, 224),))

config = transformers.BertConfig(num_labels=3)
config._attn_implementation = "sdpa"
auto = torch.export.Dim.AUTO
ids, mask = torch.randint(0, config.vocab_size, (2, 32)), torch.ones(2, 32, dtype=torch.long)
save("bert", transformers.BertForSequenceClassification(config), (), {"input_ids": ids, "attention_mask": mask},
     {"input_ids": {0: auto, 1: auto}, "attention_mask": {0: auto, 1: auto}})
