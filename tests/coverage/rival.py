# SPDX-License-Identifier: Apache-2.0
"""rival.py MODEL.pt2 OUT.onnx - what one does without ferry: torch.export.load and torch.onnx.export, as one process. Its last words are the first cause."""
import sys
import warnings

warnings.filterwarnings("ignore")

import torch

torch.set_num_threads(1)
if b"quantized_decomposed" in open(sys.argv[1], "rb").read():            # its operators are known once this is imported
    import torch.ao.quantization.fx._decomposed
try:
    torch.onnx.export(torch.export.load(sys.argv[1]), (), sys.argv[2], dynamo=True, external_data=False, verbose=False)
except Exception as error:
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__
    sys.exit("%s: %s" % (type(error).__name__, (str(error).strip().splitlines() or [""])[0]))
