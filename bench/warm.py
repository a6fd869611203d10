"""warm.py - batch norms as training leaves them: other scales, shifts and statistics than 1, 0, 0, 1."""
import torch


def warm(model, sample, rounds=2):
    """`sample` makes the inputs that the statistics are taken of: a tensor, or a tuple. Gives the model, ready to run."""
    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    model.eval()
    for m in norms:
        if m.affine:
            torch.nn.init.uniform_(m.weight, 0.5, 1.5)
            torch.nn.init.normal_(m.bias, 0, 0.1)
        m.momentum = None
        m.train()
    with torch.no_grad():
        for _ in range(rounds if norms else 0):
            args = sample()
            model(*(args if isinstance(args, tuple) else (args,)))
    return model.eval()
