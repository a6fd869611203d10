"""Writes the models that `make bench-optimize` simplifies into a folder: bench/optimize_models.py FOLDER [NAME...]

ResNet-50, MobileNetV2, ViT-B/16 and BERT (seeded random weights, as tests/large/make.py) by both exporters of torch.onnx.export: NAME-dynamo.onnx and NAME-script.onnx,
and NAME.pt2 for `ferry export`. Sizes of batch and sequence are dynamic where the exporter can. Needs torch, torchvision, transformers, onnxscript."""
import os
import sys
import warnings

import torch

import models

warnings.filterwarnings("ignore")
torch.manual_seed(0)


def vision(name):
    model, args = models.vision(name, 2)
    return model, args, ["x"], ({0: torch.export.Dim("batch", min=1, max=64)},), {"x": {0: "batch"}}


def bert():
    import transformers
    config = transformers.BertConfig(num_labels=3)
    config._attn_implementation = "sdpa"
    model = transformers.BertForSequenceClassification(config)

    class Plain(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, input_ids, attention_mask):
            return self.model(input_ids=input_ids, attention_mask=attention_mask).logits

    ids, mask = torch.randint(0, config.vocab_size, (2, 32)), torch.ones(2, 32, dtype=torch.long)
    dynamic = {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}
    names = ["input_ids", "attention_mask"]
    return Plain(), (ids, mask), names, (dynamic, dynamic), {n: {0: "batch", 1: "sequence"} for n in names}


MODELS = {"resnet50": lambda: vision("resnet50"), "mobilenet_v2": lambda: vision("mobilenet_v2"), "vit_b_16": lambda: vision("vit_b_16"), "bert": bert}


def main():
    folder, names = sys.argv[1], sys.argv[2:] or list(MODELS)
    for name in names:
        model, args, inputs, dynamic, axes = MODELS[name]()
        model.eval()

        def attempt(suffix, make):
            path = os.path.join(folder, name + suffix)
            if os.path.exists(path):
                return
            try:
                make(path)
                print(path, flush=True)
            except Exception as error:                       # an exporter that cannot is a result too
                print(path, "failed:", str(error).splitlines()[0] if str(error) else type(error).__name__, flush=True)

        attempt(".pt2", lambda p: torch.export.save(torch.export.export(model, args, dynamic_shapes=dynamic), p))
        attempt("-dynamo.onnx", lambda p: torch.onnx.export(model, args, p, input_names=inputs, dynamic_shapes=dynamic, dynamo=True, external_data=False, verbose=False))
        attempt("-script.onnx", lambda p: torch.onnx.export(model, args, p, input_names=inputs, dynamic_axes=axes, dynamo=False, opset_version=17))


main()
