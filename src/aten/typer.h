/* SPDX-License-Identifier: Apache-2.0
 * typer.h - types of values while a program is being built, for readers of files that record none.
 *
 * A node comes as the file has it: "aten.add" without overload, arguments by position or name. The typer finds the overload by count,
 * names and kinds, gives the node its outputs, and lowers it into a scratch model, whose inference tells their types: dtype, rank and
 * sizes, symbolic ones as dims of the program. */
#ifndef FY_ATEN_TYPER_H
#define FY_ATEN_TYPER_H

#include "aten/aten.h"

typedef struct fy_typer fy_typer;
/* `o`: registry and mappings, which lowering will be given as well; may be NULL. */
FY_CHECKED fy_status fy_typer_new(fy_typer **t, fy_program *p, const fy_lower_options *o, ferry_error *e);
void fy_typer_free(fy_typer *t);
/* The node was appended to its graph just now. One that is not known keeps its name and gets one output without a type. */
FY_CHECKED fy_status fy_typer_node(void *typer, fy_pnode *n, ferry_error *e);
/* A value that no node made: an input of a graph, the result of a block. `weight`: its contents are known; `same`: it stands for that. */
FY_CHECKED fy_status fy_typer_value(void *typer, fy_pvalue *v, const fy_pinput *weight, const fy_pvalue *same, ferry_error *e);
/* ATEN, with every operator of the program that has no lowering; FY_OK if there is none. */
FY_CHECKED fy_status fy_typer_missing(void *typer, ferry_error *e);

#endif
