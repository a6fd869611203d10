# SPDX-License-Identifier: Apache-2.0
"""stages.py - what a long run over many models is made of: each stage of a model leaves a file, and is not done again unless asked."""
import json
import os


class Stages:
    def __init__(self, options, folder, name):
        self.o, self.folder, self.name = options, folder, name
        os.makedirs(folder, exist_ok=True)

    def path(self, suffix):
        return os.path.join(self.folder, self.name.replace(" ", "-") + suffix)

    def stage(self, key, make):
        path = self.path(".%s.json" % key)
        if not os.path.exists(path) or key in self.o.redo:
            json.dump(make(), open(path, "w"))
        return json.load(open(path))
