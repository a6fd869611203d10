# SPDX-License-Identifier: Apache-2.0
"""rival.py MODEL.pt2 OUT.onnx - what one does without ferry: torch.export.load and torch.onnx.export, as one process."""
import sys
import warnings

warnings.filterwarnings("ignore")

import torch

torch.set_num_threads(1)
torch.onnx.export(torch.export.load(sys.argv[1]), (), sys.argv[2], dynamo=True, external_data=False, verbose=False)
