#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The examples of a document, run in an empty folder with the demo's fashion.pt2 and shirt.png in it: doctests.py DOCUMENT [torch]. A section whose
heading ends in "(torch)" is run with `torch` only, and then nothing else is."""

import doctest
import os
import re
import shutil
import sys
import tempfile

document = os.path.abspath(sys.argv[1])
with_torch = sys.argv[2:] == ["torch"]
root = os.path.dirname(os.path.dirname(document))
with open(document, encoding="utf-8") as f:
    sections = re.split(r"^(?=## )", f.read(), flags=re.M)
text = "".join(s for s in sections if s.partition("\n")[0].rstrip().endswith("(torch)") == with_torch)
shown = "".join(re.findall(r"^```python\n(.*?)^```", text, re.M | re.S))
with tempfile.TemporaryDirectory() as folder:
    shutil.copy(os.path.join(root, "examples", "fashion", "fashion.pt2"), folder)
    os.chdir(folder)
    test = doctest.DocTestParser().get_doctest(shown, {}, os.path.basename(document), document, 0)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(test)
    os.chdir(root)
print(runner.summarize(verbose=False))
sys.exit(runner.failures > 0 or runner.tries < 3)
