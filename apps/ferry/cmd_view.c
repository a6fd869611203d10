/* SPDX-License-Identifier: Apache-2.0
 * cmd_view.c - ferry view: a model as a page. */
#include "cli.h"

static const cli_flag flags[] = {
    {"--output", "OUT.html", "where to write (also -o)"},
    {"--no-weights", NULL, "without the statistics of the weights, which read every one of them"},
    {"--threads", "N", "default: the cores allowed to us"},
    CLI_PLUGIN,
    {0},
};

static int run(const cli_args *a) { return cli_make(a, ferry_view_page); }

const cli_command cli_view = {
    "view", "look", "view MODEL -o OUT.html [--no-weights]", "the graph as one page for a browser: modules, search, shapes, weights", flags,
    "  ferry view resnet50.onnx -o resnet50.html\n"
    "  ferry view bert.pt2 -o bert.html          # folded along the modules of PyTorch\n",
    1, 2, run,
};
