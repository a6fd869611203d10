/* SPDX-License-Identifier: Apache-2.0
 * ml_tree.h - decision trees of ai.onnx.ml in one form, whichever attributes they came in: checked once, then walked. */
#ifndef FY_OPS_ML_TREE_H
#define FY_OPS_ML_TREE_H

#include "ops/ml.h"

typedef enum fy_tree_mode { FY_TREE_LEQ, FY_TREE_LT, FY_TREE_GTE, FY_TREE_GT, FY_TREE_EQ, FY_TREE_NEQ, FY_TREE_MEMBER, FY_TREE_LEAF } fy_tree_mode;

/* Children: a node's number, or ~k for leaf k. Of MEMBER nodes `value` is the number of their set. */
typedef struct fy_tree_node { int64_t feature, yes, no; double value; uint8_t mode; bool missing; } fy_tree_node;
typedef struct fy_tree_vote { int64_t target; double weight; } fy_tree_vote;

typedef struct fy_forest {
    int64_t       nodes, leaves, trees, targets, features;      /* features: one more than the greatest that a node reads */
    fy_tree_node *node;
    int64_t      *root;                  /* of each tree; coded as children are */
    int64_t      *first;                 /* votes of leaf k: vote[first[k]] up to first[k + 1] */
    fy_tree_vote *vote;
    int64_t      *set;                   /* members of set k: member[set[k]] up to set[k + 1], ascending */
    double       *member;
} fy_forest;

/* TreeEnsembleClassifier (prefix "class") and TreeEnsembleRegressor ("target"): all in c->scratch. ATTR for lists that do not match,
 * a child or vote that names no node, a node given twice, a cycle. */
FY_CHECKED fy_status fy_forest_v3(fy_forest *f, const fy_call *c, const char *prefix, int64_t targets);
/* TreeEnsemble of version 5. */
FY_CHECKED fy_status fy_forest_v5(fy_forest *f, const fy_call *c);
/* The leaf that row x reaches in tree t. */
int64_t fy_forest_leaf(const fy_forest *f, int64_t t, const double *x);

#endif
