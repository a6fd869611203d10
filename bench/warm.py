"""warm.py - batch norms as training leaves them: other scales, shifts and statistics than 1, 0, 0, 1."""
import torch


def warm(model, sample):
    """`sample` makes the inputs that the statistics are taken of. Gives the model, ready to run."""
    for m in model.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(m.weight, 0.5, 1.5)
            torch.nn.init.normal_(m.bias, 0, 0.1)
            m.momentum = None
    model.train()
    with torch.no_grad():
        for _ in range(2):
            model(sample())
    return model.eval()
