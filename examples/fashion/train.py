# SPDX-License-Identifier: Apache-2.0
"""Trains a small CNN on Fashion-MNIST and writes fashion.pt2 and images.npz beside this file.

    apt install dataset-fashion-mnist; python train.py          # about three minutes on two cores

The files in the repository were made by it with PyTorch 2.15.0. Nothing else in ferry needs Python."""
import gzip
import os

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

DATA = os.environ.get("FASHION_MNIST", "/usr/share/datasets/fashion-mnist")
HERE = os.path.dirname(os.path.abspath(__file__))
CLASSES = ["T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"]


class Fashion(nn.Module):
    """Gray pictures f32[batch, 1, 28, 28] in 0..1 -> one score for each of the ten classes."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(32)
        self.conv3 = nn.Conv2d(32, 64, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(64)
        self.fc1 = nn.Linear(64 * 3 * 3, 64)
        self.drop = nn.Dropout(0.25)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, image):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(image))), 2)
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2)
        x = F.max_pool2d(F.relu(self.bn3(self.conv3(x))), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        return {"scores": self.fc2(self.drop(x))}


def load(part):
    with gzip.open(f"{DATA}/{part}-images-idx3-ubyte.gz") as f:
        images = np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(f"{DATA}/{part}-labels-idx1-ubyte.gz") as f:
        labels = np.frombuffer(f.read(), np.uint8, offset=8)
    return images, labels


def tensor(images):
    return torch.from_numpy(images.astype(np.float32) / 255)[:, None]


def accuracy(model, x, y):
    model.eval()
    with torch.no_grad():
        guess = torch.cat([model(x[i:i + 1000])["scores"].argmax(1) for i in range(0, len(x), 1000)])
    return float((guess == y).float().mean())


def train(model, x, y, epochs=3, batch=128, rate=2e-3):
    opt = torch.optim.AdamW(model.parameters(), rate)
    steps = epochs * (len(x) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(opt, rate, total_steps=steps)
    for epoch in range(epochs):
        model.train()
        order = torch.randperm(len(x))
        total = 0.0
        for i in range(0, len(x) - batch + 1, batch):
            k = order[i:i + batch]
            loss = F.cross_entropy(model(x[k])["scores"], y[k])
            opt.zero_grad()
            loss.backward()
            opt.step()
            schedule.step()
            total += float(loss.detach())
        print(f"epoch {epoch + 1}: loss {total / (len(x) // batch):.4f}", flush=True)


def main():
    torch.manual_seed(0)
    images, labels = load("train")
    test_images, test_labels = load("t10k")
    model = Fashion()
    train(model, tensor(images), torch.from_numpy(labels.astype(np.int64)))
    test, truth = tensor(test_images), torch.from_numpy(test_labels.astype(np.int64))
    print(f"test accuracy {accuracy(model, test, truth):.4f}; of the 500 kept {accuracy(model, test[:500], truth[:500]):.4f}")
    model.eval()
    program = torch.export.export(model, (test[:2].clone(),), dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},))
    torch.export.save(program, f"{HERE}/fashion.pt2")
    np.savez_compressed(f"{HERE}/images.npz", images=test_images[:500], labels=test_labels[:500])


if __name__ == "__main__":
    main()
