/* SPDX-License-Identifier: Apache-2.0
 * ml_tree.c - reads decision trees from the attributes of either form, checks them, walks them; see ml_tree.h.
 *
 * What is checked makes walking safe: every child exists, features are in range (the caller knows the width), no walk from a root
 * comes back to a node. Reading costs time linear in the attributes, a walk as many steps as the tree is deep; nothing recurses. */
#include "ops/ml_tree.h"

#include "base/sort.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- checking --------------------------------------------------------------------------------------------------------- */

enum { FRESH, OPEN, DONE };

/* Depth first from every root with a stack of our own. A node may be reached twice (trees may share parts), but not from below itself. */
static fy_status acyclic(const fy_forest *f, const fy_call *c) {
    uint8_t *state = FY_NEWN(c->scratch, uint8_t, f->nodes + 1), *step = FY_NEWN(c->scratch, uint8_t, f->nodes + 1);
    int64_t *stack = FY_NEWN(c->scratch, int64_t, f->nodes + 1);
    FY_NOMEM(c->e, state && step && stack);
    for (int64_t t = 0; t < f->trees; t++) {
        int64_t top = 0;
        if (f->root[t] < 0 || state[f->root[t]] == DONE) continue;
        state[f->root[t]] = OPEN;
        stack[top++] = f->root[t];
        while (top) {
            int64_t at = stack[top - 1];
            if (step[at] == 2) { state[at] = DONE; top--; continue; }
            int64_t to = step[at]++ ? f->node[at].no : f->node[at].yes;
            if (to < 0 || state[to] == DONE) continue;
            FY_NEED(c->e, state[to] == FRESH, ATTR, "tree %lld has a cycle through node %lld", (long long)t, (long long)to);
            state[to] = OPEN;
            stack[top++] = to;
        }
    }
    return FY_OK;
}

/* ---- walking ----------------------------------------------------------------------------------------------------------- */

static bool has_member(const fy_forest *f, int64_t k, double x) {
    int64_t lo = f->set[k], hi = f->set[k + 1];
    while (lo < hi) {
        int64_t mid = lo + (hi - lo) / 2;
        if (f->member[mid] < x) lo = mid + 1;
        else hi = mid;
    }
    return lo < f->set[k + 1] && f->member[lo] == x;
}

static bool holds(const fy_forest *f, const fy_tree_node *n, double x) {
    switch ((fy_tree_mode)n->mode) {
    case FY_TREE_LEQ: return x <= n->value;
    case FY_TREE_LT: return x < n->value;
    case FY_TREE_GTE: return x >= n->value;
    case FY_TREE_GT: return x > n->value;
    case FY_TREE_EQ: return x == n->value;
    case FY_TREE_NEQ: return x != n->value;
    case FY_TREE_MEMBER: return has_member(f, (int64_t)n->value, x);
    case FY_TREE_LEAF: break;
    }
    return false;
}

int64_t fy_forest_leaf(const fy_forest *f, int64_t t, const double *x) {
    int64_t at = f->root[t];
    while (at >= 0) {
        const fy_tree_node *n = &f->node[at];
        double v = x[n->feature];
        at = holds(f, n, v) || (n->missing && v != v) ? n->yes : n->no;
    }
    return ~at;
}

/* ---- versions 1 to 3: nodes by (tree, node) ------------------------------------------------------------------------------ */

static fy_status same_length(const fy_call *c, int64_t have, int64_t want, const char *name) {
    FY_NEED(c->e, have == want, ATTR, "%s has %lld elements where others have %lld", name, (long long)have, (long long)want);
    return FY_OK;
}

static fy_status mode_of(uint8_t *m, const fy_str *s, ferry_error *e) {
    static const char *const name[] = {"BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", NULL, "LEAF"};
    for (int i = 0; i < FY_COUNT(name); i++)
        if (name[i] && s->n == strlen(name[i]) && !memcmp(s->at, name[i], s->n)) { *m = (uint8_t)i; return FY_OK; }
    return fy_fail(e, FY_E_ATTR, "nodes_modes holds \"%.*s\"", (int)(s->n < 40 ? s->n : 40), s->at);
}

/* (tree, node) pairs to the position of the node. */
typedef struct book { fy_map map; int64_t *key; } book;

static int64_t find(const book *b, int64_t tree, int64_t node) {
    int64_t key[2] = {tree, node};
    return (int64_t)(intptr_t)fy_map_get(&b->map, (const char *)key, sizeof key) - 1;
}

typedef struct lists { fy_ml_ints tree, id, feature, yes, no, missing; fy_ml_texts mode; fy_ml_floats value; } lists;

static fy_status read_lists(lists *l, const fy_call *c) {
    const fy_node *n = c->node;
    *l = (lists){fy_ml_ints_of(n, "nodes_treeids"), fy_ml_ints_of(n, "nodes_nodeids"), fy_ml_ints_of(n, "nodes_featureids"),
                 fy_ml_ints_of(n, "nodes_truenodeids"), fy_ml_ints_of(n, "nodes_falsenodeids"), fy_ml_ints_of(n, "nodes_missing_value_tracks_true"),
                 fy_ml_texts_of(n, "nodes_modes"), {0}};
    FY_TRY(fy_ml_numbers(&l->value, c, "nodes_values", "nodes_values_as_tensor"));
    int64_t k = l->tree.n;
    FY_TRY(same_length(c, l->id.n, k, "nodes_nodeids"));
    FY_TRY(same_length(c, l->feature.n, k, "nodes_featureids"));
    FY_TRY(same_length(c, l->mode.n, k, "nodes_modes"));
    FY_TRY(same_length(c, l->yes.n, k, "nodes_truenodeids"));
    FY_TRY(same_length(c, l->no.n, k, "nodes_falsenodeids"));
    FY_TRY(same_length(c, l->value.n, k, "nodes_values"));
    return l->missing.n ? same_length(c, l->missing.n, k, "nodes_missing_value_tracks_true") : FY_OK;
}

static fy_status enter_nodes(book *b, fy_forest *f, const lists *l, const fy_call *c) {
    FY_NOMEM(c->e, b->key = FY_NEWN(c->scratch, int64_t, 2 * f->nodes));
    for (int64_t i = 0; i < f->nodes; i++) {
        int64_t *key = b->key + 2 * i;
        key[0] = l->tree.at[i];
        key[1] = l->id.at[i];
        FY_NEED(c->e, find(b, key[0], key[1]) < 0, ATTR, "node %lld of tree %lld is given twice", (long long)key[1], (long long)key[0]);
        FY_NOMEM(c->e, fy_map_put(&b->map, (const char *)key, 2 * sizeof *key, (void *)(intptr_t)(i + 1)));
    }
    return FY_OK;
}

static fy_status child(int64_t *to, const book *b, const fy_forest *f, int64_t tree, int64_t id, const fy_call *c) {
    int64_t at = find(b, tree, id);
    FY_NEED(c->e, at >= 0, ATTR, "tree %lld has no node %lld", (long long)tree, (long long)id);
    *to = f->node[at].mode == FY_TREE_LEAF ? ~at : at;
    return FY_OK;
}

static fy_status link_nodes(const book *b, fy_forest *f, const lists *l, const fy_call *c) {
    for (int64_t i = 0; i < f->nodes; i++) FY_TRY(mode_of(&f->node[i].mode, &l->mode.at[i], c->e));
    for (int64_t i = 0; i < f->nodes; i++) {
        fy_tree_node *n = &f->node[i];
        if (n->mode == FY_TREE_LEAF) continue;
        n->feature = l->feature.at[i];
        n->value = l->value.at[i];
        n->missing = l->missing.n && l->missing.at[i] == 1;
        FY_NEED(c->e, n->feature >= 0 && n->feature < INT64_MAX, ATTR, "node %lld reads feature %lld", (long long)l->id.at[i], (long long)n->feature);
        if (n->feature >= f->features) f->features = n->feature + 1;
        FY_TRY(child(&n->yes, b, f, l->tree.at[i], l->yes.at[i], c));
        FY_TRY(child(&n->no, b, f, l->tree.at[i], l->no.at[i], c));
    }
    return FY_OK;
}

/* The root of a tree is its first node in the lists. */
static fy_status find_roots(fy_forest *f, const lists *l, const fy_call *c) {
    fy_map seen = {0};
    bool ok = true;
    FY_NOMEM(c->e, f->root = FY_NEWN(c->scratch, int64_t, f->nodes));
    for (int64_t i = 0; ok && i < f->nodes; i++) {
        const char *key = (const char *)&l->tree.at[i];
        if ((i && l->tree.at[i] == l->tree.at[i - 1]) || fy_map_has(&seen, key, sizeof *l->tree.at)) continue;
        f->root[f->trees++] = f->node[i].mode == FY_TREE_LEAF ? ~i : i;
        ok = fy_map_put(&seen, key, sizeof *l->tree.at, f);
    }
    fy_map_free(&seen);
    FY_NOMEM(c->e, ok);
    return FY_OK;
}

/* Votes grouped by leaf, in the order of the lists. */
static fy_status count_votes(const book *b, fy_forest *f, const fy_call *c, const char *prefix) {
    char name[5][32];
    static const char *const end[] = {"_treeids", "_nodeids", "_ids", "_weights", "_weights_as_tensor"};
    for (int i = 0; i < 5; i++) snprintf(name[i], sizeof name[i], "%s%s", prefix, end[i]);
    fy_ml_ints tree = fy_ml_ints_of(c->node, name[0]), id = fy_ml_ints_of(c->node, name[1]), target = fy_ml_ints_of(c->node, name[2]);
    fy_ml_floats weight;
    FY_TRY(fy_ml_numbers(&weight, c, name[3], name[4]));
    FY_TRY(same_length(c, id.n, tree.n, name[1]));
    FY_TRY(same_length(c, target.n, tree.n, name[2]));
    FY_TRY(same_length(c, weight.n, tree.n, name[3]));
    int64_t *at = FY_NEWN(c->scratch, int64_t, tree.n), *next = FY_NEWN(c->scratch, int64_t, f->nodes + 1);
    f->first = FY_NEWN(c->scratch, int64_t, f->nodes + 2);
    f->vote = FY_NEWN(c->scratch, fy_tree_vote, tree.n);
    f->leaves = f->nodes;
    FY_NOMEM(c->e, at && next && f->first && f->vote);
    for (int64_t i = 0; i < tree.n; i++) {
        at[i] = find(b, tree.at[i], id.at[i]);
        FY_NEED(c->e, at[i] >= 0, ATTR, "a vote names node %lld of tree %lld, which is not there", (long long)id.at[i], (long long)tree.at[i]);
        FY_NEED(c->e, target.at[i] >= 0 && target.at[i] < f->targets, ATTR, "%s holds %lld; there are %lld", name[2], (long long)target.at[i],
                (long long)f->targets);
        f->first[at[i] + 1]++;
    }
    for (int64_t i = 0; i < f->nodes; i++) f->first[i + 1] += f->first[i];
    memcpy(next, f->first, (size_t)f->nodes * sizeof *next);
    for (int64_t i = 0; i < tree.n; i++) f->vote[next[at[i]]++] = (fy_tree_vote){target.at[i], weight.at[i]};
    return FY_OK;
}

static fy_status build_v3(book *b, fy_forest *f, const fy_call *c, const char *prefix) {
    lists l;
    FY_TRY(read_lists(&l, c));
    f->nodes = l.tree.n;
    FY_NOMEM(c->e, f->node = FY_NEWN(c->scratch, fy_tree_node, f->nodes));
    FY_TRY(enter_nodes(b, f, &l, c));
    FY_TRY(link_nodes(b, f, &l, c));
    FY_TRY(find_roots(f, &l, c));
    return count_votes(b, f, c, prefix);
}

fy_status fy_forest_v3(fy_forest *f, const fy_call *c, const char *prefix, int64_t targets) {
    book b = {{0}, NULL};
    *f = (fy_forest){.targets = targets};
    fy_status s = build_v3(&b, f, c, prefix);
    fy_map_free(&b.map);
    return s ? s : acyclic(f, c);
}

/* ---- version 5: children by position ------------------------------------------------------------------------------------- */

static int ascending(const void *ctx, int64_t a, int64_t b) {
    const double *v = ctx;
    return (v[a] > v[b]) - (v[a] < v[b]);
}

/* Sets in the order of the MEMBER nodes, with a NaN between them (and perhaps behind the last). */
static fy_status read_sets(fy_forest *f, const fy_call *c) {
    fy_ml_floats v;
    int64_t sets = 0, at = 0, from = 0;
    FY_TRY(fy_ml_numbers(&v, c, NULL, "membership_values"));
    for (int64_t i = 0; i < f->nodes; i++) sets += f->node[i].mode == FY_TREE_MEMBER;
    int64_t *index = FY_NEWN(c->scratch, int64_t, v.n), *tmp = FY_NEWN(c->scratch, int64_t, v.n);
    f->set = FY_NEWN(c->scratch, int64_t, sets + 1);
    f->member = FY_NEWN(c->scratch, double, v.n);
    FY_NOMEM(c->e, index && tmp && f->set && f->member);
    for (int64_t i = 0, k = 0; i < f->nodes; i++) {
        if (f->node[i].mode != FY_TREE_MEMBER) continue;
        FY_NEED(c->e, from < v.n, ATTR, "membership_values ends before the set of node %lld", (long long)i);
        int64_t to = from, n;
        while (to < v.n && v.at[to] == v.at[to]) to++;
        n = to - from;
        for (int64_t j = 0; j < n; j++) index[j] = j;
        fy_sort(index, tmp, n, ascending, v.at + from);
        for (int64_t j = 0; j < n; j++) f->member[at++] = v.at[from + index[j]];
        from = to + 1;
        f->node[i].value = (double)k++;
        f->set[k] = at;
    }
    FY_NEED(c->e, from >= v.n, ATTR, "membership_values has more sets than the %lld nodes that test membership", (long long)sets);
    return FY_OK;
}

static fy_status child_v5(int64_t *to, const fy_forest *f, int64_t id, int64_t leaf, const fy_call *c) {
    int64_t n = leaf ? f->leaves : f->nodes;
    FY_NEED(c->e, id >= 0 && id < n, ATTR, "%s %lld of %lld is a child", leaf ? "leaf" : "node", (long long)id, (long long)n);
    *to = leaf ? ~id : id;
    return FY_OK;
}

static fy_status link_v5(fy_forest *f, const fy_call *c) {
    const fy_node *n = c->node;
    fy_ml_floats value, mode;
    fy_ml_ints feature = fy_ml_ints_of(n, "nodes_featureids"), yes = fy_ml_ints_of(n, "nodes_truenodeids"), no = fy_ml_ints_of(n, "nodes_falsenodeids"),
               yes_leaf = fy_ml_ints_of(n, "nodes_trueleafs"), no_leaf = fy_ml_ints_of(n, "nodes_falseleafs"),
               missing = fy_ml_ints_of(n, "nodes_missing_value_tracks_true");
    FY_TRY(fy_ml_numbers(&value, c, NULL, "nodes_splits"));
    FY_TRY(fy_ml_numbers(&mode, c, NULL, "nodes_modes"));
    f->nodes = feature.n;
    FY_TRY(same_length(c, value.n, f->nodes, "nodes_splits"));
    FY_TRY(same_length(c, mode.n, f->nodes, "nodes_modes"));
    FY_TRY(same_length(c, yes.n, f->nodes, "nodes_truenodeids"));
    FY_TRY(same_length(c, no.n, f->nodes, "nodes_falsenodeids"));
    FY_TRY(same_length(c, yes_leaf.n, f->nodes, "nodes_trueleafs"));
    FY_TRY(same_length(c, no_leaf.n, f->nodes, "nodes_falseleafs"));
    if (missing.n) FY_TRY(same_length(c, missing.n, f->nodes, "nodes_missing_value_tracks_true"));
    FY_NOMEM(c->e, f->node = FY_NEWN(c->scratch, fy_tree_node, f->nodes));
    for (int64_t i = 0; i < f->nodes; i++) {
        fy_tree_node *t = &f->node[i];
        FY_NEED(c->e, mode.at[i] >= 0 && mode.at[i] <= FY_TREE_MEMBER, ATTR, "nodes_modes holds %g", mode.at[i]);
        FY_NEED(c->e, feature.at[i] >= 0 && feature.at[i] < INT64_MAX, ATTR, "node %lld reads feature %lld", (long long)i, (long long)feature.at[i]);
        *t = (fy_tree_node){.feature = feature.at[i], .value = value.at[i], .mode = (uint8_t)mode.at[i], .missing = missing.n && missing.at[i] == 1};
        if (t->feature >= f->features) f->features = t->feature + 1;
        FY_TRY(child_v5(&t->yes, f, yes.at[i], yes_leaf.at[i], c));
        FY_TRY(child_v5(&t->no, f, no.at[i], no_leaf.at[i], c));
    }
    return FY_OK;
}

fy_status fy_forest_v5(fy_forest *f, const fy_call *c) {
    fy_ml_ints roots = fy_ml_ints_of(c->node, "tree_roots"), target = fy_ml_ints_of(c->node, "leaf_targetids");
    fy_ml_floats weight;
    *f = (fy_forest){.targets = fy_attr_i(c->node, "n_targets"), .leaves = target.n, .trees = roots.n};
    FY_TRY(fy_ml_numbers(&weight, c, NULL, "leaf_weights"));
    FY_TRY(same_length(c, weight.n, target.n, "leaf_weights"));
    FY_TRY(link_v5(f, c));
    FY_TRY(read_sets(f, c));
    f->root = FY_NEWN(c->scratch, int64_t, f->trees);
    f->first = FY_NEWN(c->scratch, int64_t, f->leaves + 1);
    f->vote = FY_NEWN(c->scratch, fy_tree_vote, f->leaves);
    FY_NOMEM(c->e, f->root && f->first && f->vote);
    for (int64_t i = 0; i < f->leaves; i++) {
        FY_NEED(c->e, target.at[i] >= 0 && target.at[i] < f->targets, ATTR, "leaf_targetids holds %lld; there are %lld", (long long)target.at[i],
                (long long)f->targets);
        f->vote[i] = (fy_tree_vote){target.at[i], weight.at[i]};
        f->first[i + 1] = i + 1;
    }
    for (int64_t t = 0; t < f->trees; t++) {
        int64_t r = roots.at[t];
        FY_NEED(c->e, r >= 0 && r < f->nodes, ATTR, "tree_roots holds %lld; there are %lld nodes", (long long)r, (long long)f->nodes);
        /* a tree of one leaf is a node with that leaf on both sides */
        f->root[t] = f->node[r].yes < 0 && f->node[r].yes == f->node[r].no ? f->node[r].yes : r;
    }
    return acyclic(f, c);
}
