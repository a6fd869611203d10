/* SPDX-License-Identifier: Apache-2.0
 * profile_html.c - a profile as one page that needs nothing else: totals, operators, steps, and the graph as SVG, coloured by time. The page
 * is well-formed XML as well. Layout: a step's row is the longest way to it from an input; within a row steps go as near to the mean of
 * those that they read as there is room (one sweep of the barycentre method, Sugiyama, Tagawa, Toda 1981). */
#include "check/html.h"
#include "check/profile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- layout ---------------------------------------------------------------------------------------------------------------- */

#define GAP_X 26
#define GAP_Y 30

typedef struct spot { double wish; int step, row; } spot;

static int by_row(const void *a, const void *b) {
    const spot *x = a, *y = b;
    if (x->row != y->row) return x->row < y->row ? -1 : 1;
    return (x->step > y->step) - (x->step < y->step);
}

static int by_wish(const void *a, const void *b) {
    const spot *x = a, *y = b;
    int c = (x->wish > y->wish) - (x->wish < y->wish);
    return c ? c : (x->step > y->step) - (x->step < y->step);
}

/* One row: in order of the wishes, apart from each other, and the whole shifted to where it fits best. */
static void place_row(fy_place *at, spot *s, int n, const fy_profile *p) {
    double shift = 0, x = 0;
    for (int i = 0; i < n; i++) {
        const fy_profile_step *t = &p->step[s[i].step];
        for (int k = 0; k < t->nfrom; k++) s[i].wish += at[t->from[k]].x / t->nfrom;
    }
    qsort(s, (size_t)n, sizeof *s, by_wish);
    for (int i = 0; i < n; i++) {
        x = i && x + FY_BOX_W + GAP_X > s[i].wish ? x + FY_BOX_W + GAP_X : s[i].wish;
        at[s[i].step] = (fy_place){x, s[i].row * (FY_BOX_H + GAP_Y)};
        shift += (s[i].wish - x) / n;
    }
    for (int i = 0; i < n; i++) at[s[i].step].x += shift;
}

fy_status fy_profile_layout(fy_place *at, double *width, double *height, const fy_profile *p, ferry_error *e) {
    fy_arena a = {0};
    spot *s = FY_NEWN(&a, spot, p->nsteps + 1);
    int *row = FY_NEWN(&a, int, p->nsteps + 1);
    *width = *height = 0;
    if (!s || !row) {
        fy_arena_free(&a);
        return fy_nomem(e);
    }
    for (int i = 0; i < p->nsteps; i++) {
        for (int k = 0; k < p->step[i].nfrom; k++)
            if (row[p->step[i].from[k]] >= row[i]) row[i] = row[p->step[i].from[k]] + 1;
        s[i] = (spot){0, i, row[i]};
    }
    qsort(s, (size_t)p->nsteps, sizeof *s, by_row);
    double left = 0;
    for (int i = 0, n; i < p->nsteps; i += n) {
        for (n = 1; i + n < p->nsteps && s[i + n].row == s[i].row;) n++;
        place_row(at, s + i, n, p);
    }
    for (int i = 0; i < p->nsteps; i++) left = i ? fmin(left, at[i].x) : at[i].x;
    for (int i = 0; i < p->nsteps; i++) {
        at[i].x += GAP_X - left;
        at[i].y += GAP_Y;
        *width = fmax(*width, at[i].x + FY_BOX_W + GAP_X * 4);           /* room for arrows that go around */
        *height = fmax(*height, at[i].y + FY_BOX_H + GAP_Y);
    }
    fy_arena_free(&a);
    return FY_OK;
}

/* ---- text ------------------------------------------------------------------------------------------------------------------ */

/* The last characters, where names differ. */
static void put_end(fy_buf *b, const char *s, int most) {
    const unsigned char *p = (const unsigned char *)s, *end = p + strlen(s);
    int n = 0;
    for (const unsigned char *q = p; q < end; q += fy_utf8(q, end) > 0 ? fy_utf8(q, end) : 1) n++;
    if (n > most) fy_buf_str(b, "\xE2\x80\xA6");
    for (; n > most; n--) p += fy_utf8(p, end) > 0 ? fy_utf8(p, end) : 1;
    fy_html_text(b, (const char *)p, 0);
}

/* White over yellow to red. */
static void colour(fy_buf *b, double heat) {
    double h = fmin(1, fmax(0, heat)), lo = fmin(1, 2 * h), hi = fmax(0, 2 * h - 1);
    fy_buf_fmt(b, "#%02x%02x%02x", 255 - (int)(12 * hi), 255 - (int)(30 * lo + 118 * hi), 255 - (int)(125 * lo + 45 * hi));
}

/* Differences among the many short ones stay visible. */
static double heat_of(double seconds, double most) { return most > 0 ? sqrt(seconds / most) : 0; }

static void rates(fy_buf *b, double macs, double bytes, double seconds, const char *between) {
    if (seconds <= 0) return;
    if (macs > 0) fy_buf_fmt(b, "%s%.3g GFLOP/s", between, 2e-9 * macs / seconds);
    else if (bytes > 0) fy_buf_fmt(b, "%s%.3g GB/s", between, 1e-9 * bytes / seconds);
}

/* ---- the graph ------------------------------------------------------------------------------------------------------------- */

static void edge(fy_buf *b, const fy_place *from, const fy_place *to) {
    double x0 = from->x + FY_BOX_W / 2.0, y0 = from->y + FY_BOX_H, x1 = to->x + FY_BOX_W / 2.0, y1 = to->y;
    if (y1 - y0 < FY_BOX_H) {
        fy_buf_fmt(b, "<path d=\"M%.0f %.0fC%.0f %.0f %.0f %.0f %.0f %.0f\"/>\n", x0, y0, x0, y0 + GAP_Y / 2.0, x1, y1 - GAP_Y / 2.0, x1, y1);
        return;
    }
    double side = fmax(x0, x1) + FY_BOX_W / 2.0 + GAP_X / 2.0 + fmin(GAP_X * 3, (y1 - y0) / 40);     /* past the boxes between */
    fy_buf_fmt(b, "<path class=\"far\" d=\"M%.0f %.0fC%.0f %.0f %.0f %.0f %.0f %.0fL%.0f %.0fC%.0f %.0f %.0f %.0f %.0f %.0f\"/>\n", x0, y0, x0, y0 + GAP_Y, side, y0, side, y0 + GAP_Y, side,
               y1 - GAP_Y, side, y1, x1, y1 - GAP_Y, x1, y1);
}

static void box(fy_buf *b, const fy_profile *p, int i, const fy_place *at, double total, double most) {
    const fy_profile_step *s = &p->step[i];
    fy_buf_fmt(b, "<g id=\"s%d\"><title>step %d: ", i, i);
    fy_html_text(b, s->nodes, 0);
    fy_buf_str(b, "\n");
    fy_html_text(b, s->impl, 0);
    fy_buf_str(b, "\n");
    fy_html_text(b, s->types, 0);
    if (*s->source) fy_buf_str(b, "\n");
    fy_html_text(b, s->source, 0);
    fy_buf_fmt(b, "\n%.3f ms, %.1f %%", s->seconds * 1e3, total > 0 ? 100 * s->seconds / total : 0);
    rates(b, s->macs > 0 ? (double)s->macs : 0, s->bytes, s->seconds, ", ");
    if (fy_profile_roof(p, s) > 0) fy_buf_fmt(b, ", %.0f %% of the roof", 100 * fy_profile_roof(p, s));
    fy_buf_fmt(b, "</title><rect x=\"%.0f\" y=\"%.0f\" width=\"%d\" height=\"%d\" rx=\"6\" fill=\"", at->x, at->y, FY_BOX_W, FY_BOX_H);
    colour(b, heat_of(s->seconds, most));
    fy_buf_fmt(b, "\"/><text x=\"%.0f\" y=\"%.0f\" class=\"o\">%d ", at->x + 8, at->y + 16, i);
    fy_html_text(b, s->op, 22);
    fy_buf_fmt(b, "</text><text x=\"%.0f\" y=\"%.0f\">", at->x + 8, at->y + 31);
    put_end(b, *s->name ? s->name : s->impl, 31);
    fy_buf_fmt(b, "</text><text x=\"%.0f\" y=\"%.0f\">", at->x + 8, at->y + 45);
    fy_print_seconds(b, s->seconds);
    fy_buf_fmt(b, ", %.1f %%", total > 0 ? 100 * s->seconds / total : 0);
    rates(b, s->macs > 0 ? (double)s->macs : 0, s->bytes, s->seconds, ", ");
    fy_buf_str(b, "</text></g>\n");
}

static void graph(fy_buf *b, const fy_profile *p, const fy_place *at, double width, double height, double total) {
    double most = 0;
    for (int i = 0; i < p->nsteps; i++) most = fmax(most, p->step[i].seconds);
    fy_buf_fmt(b, "<h2>graph</h2>\n<div class=\"g\"><svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\">\n<g class=\"e\">\n", width, height, width, height);
    for (int i = 0; i < p->nsteps; i++)
        for (int k = 0; k < p->step[i].nfrom; k++) edge(b, &at[p->step[i].from[k]], &at[i]);
    fy_buf_str(b, "</g>\n");
    for (int i = 0; i < p->nsteps; i++) box(b, p, i, &at[i], total, most);
    fy_buf_str(b, "</svg></div>\n");
}

/* ---- the page -------------------------------------------------------------------------------------------------------------- */

static const char style[] =
    "body{font:14px/1.45 system-ui,sans-serif;margin:24px;color:#222;background:#fff}h1{font-size:20px;margin:0}h2{font-size:16px;margin:24px 0 6px}"
    "table{border-collapse:collapse}td,th{padding:2px 12px 2px 0;text-align:left;vertical-align:top}.r{text-align:right;font-variant-numeric:tabular-nums}"
    "tr:nth-child(even){background:#f6f6f6}.d{color:#666}a{color:#0645ad;text-decoration:none}.g{overflow:auto;border:1px solid #ddd;max-height:92vh}"
    "svg text{font:11px system-ui,sans-serif;fill:#222}svg .o{font-weight:600;font-size:12px}svg rect{stroke:#888}svg .e path{fill:none;stroke:#9aa0a6}"
    "svg .e .far{stroke:#c3cfe0}g:target rect{stroke:#0645ad;stroke-width:3}";

static void cell(fy_buf *b, double v, const char *unit) {
    fy_buf_str(b, "<td class=\"r\">");
    if (v > 0) fy_buf_fmt(b, "%.1f%s", v, unit);
    fy_buf_str(b, "</td>");
}

static void op_table(fy_buf *b, const fy_profile_op *ops, int n, double total) {
    fy_buf_str(b, "<h2>operators</h2>\n<table><tr><th>operator</th><th>steps</th><th>ms</th><th>share</th><th>GFLOP/s</th><th>GB/s</th></tr>\n");
    for (int i = 0; i < n; i++) {
        double t = ops[i].seconds;
        fy_buf_str(b, "<tr><td>");
        fy_html_text(b, ops[i].op, 0);
        fy_buf_fmt(b, "</td><td class=\"r\">%d</td><td class=\"r\">%.3f</td><td class=\"r\">%.1f %%</td>", ops[i].steps, t * 1e3, total > 0 ? 100 * t / total : 0);
        cell(b, t > 0 ? 2e-9 * (double)ops[i].macs / t : 0, "");
        cell(b, t > 0 ? 1e-9 * ops[i].bytes / t : 0, "");
        fy_buf_str(b, "</tr>\n");
    }
    fy_buf_str(b, "</table>\n");
}

static void step_row(fy_buf *b, const fy_profile *p, int i, double total) {
    const fy_profile_step *s = &p->step[i];
    double t = s->seconds;
    fy_buf_fmt(b, "<tr><td class=\"r\"><a href=\"#s%d\">%d</a></td><td class=\"r\">%.3f</td><td class=\"r\">%.1f %%</td>", i, i, t * 1e3, total > 0 ? 100 * t / total : 0);
    cell(b, t > 0 && s->macs > 0 ? 2e-9 * (double)s->macs / t : 0, "");
    cell(b, t > 0 ? 1e-9 * s->bytes / t : 0, "");
    cell(b, 100 * fy_profile_roof(p, s), " %");
    fy_buf_str(b, "<td>");
    fy_html_text(b, s->impl, 0);
    fy_buf_str(b, "</td><td>");
    fy_html_text(b, s->nodes, 0);
    fy_buf_str(b, "<br/><span class=\"d\">");
    fy_html_text(b, s->types, 0);
    fy_buf_str(b, *s->source ? " from " : "");
    fy_html_text(b, s->source, 0);
    fy_buf_str(b, "</span></td></tr>\n");
}

#define SLOWEST 20

static void step_tables(fy_buf *b, const fy_profile *p, const int *order, double total) {
    static const char head[] = "<table><tr><th>step</th><th>ms</th><th>share</th><th>GFLOP/s</th><th>GB/s</th><th>roof</th><th>implementation</th><th>nodes</th></tr>\n";
    fy_buf_fmt(b, "<h2>slowest steps</h2>\n%s", head);
    for (int i = 0; i < p->nsteps && i < SLOWEST; i++) step_row(b, p, order[i], total);
    fy_buf_str(b, "</table>\n");
    if (p->nsteps <= SLOWEST) return;
    fy_buf_fmt(b, "<details><summary>all %d steps in order</summary>\n%s", p->nsteps, head);
    for (int i = 0; i < p->nsteps; i++) step_row(b, p, i, total);
    fy_buf_str(b, "</table></details>\n");
}

static void page(fy_buf *b, const fy_profile *p, const fy_profile_op *ops, int nops, const int *order, const fy_place *at, double width, double height) {
    double total = fy_profile_total(p);
    fy_html_head(b, p->model, "profile", style, strlen(style));
    fy_buf_str(b, "<body>\n<h1>");
    fy_html_text(b, p->model, 0);
    fy_buf_str(b, "</h1>\n<p>");
    fy_html_text(b, p->about, 0);
    fy_buf_fmt(b, ", %d thread%s; median of %lld runs ", p->threads, p->threads == 1 ? "" : "s", (long long)p->s.runs);
    fy_print_seconds(b, p->s.median);
    fy_buf_str(b, ", steps together ");
    fy_print_seconds(b, total);
    fy_buf_str(b, "<br/><span class=\"d\">");
    fy_html_text(b, p->cpu, 0);
    if (p->flops > 0) fy_buf_fmt(b, ": %.4g GFLOP/s by FMA in registers (%s)", p->flops * 1e-9, p->isa);
    if (p->bytes > 0) fy_buf_fmt(b, ", %.3g GB/s by a copy", p->bytes * 1e-9);
    fy_buf_str(b, ". Roof: the time that these allow, as a share of the time taken; over 100 %: from caches, or fewer operations (Winograd).</span>");
    for (int i = 0; i < p->ninputs; i++) {
        fy_buf_str(b, "<br/><span class=\"d\">input ");
        fy_html_text(b, p->input[i].name, 0);
        fy_buf_char(b, ' ');
        fy_html_text(b, p->input[i].type, 0);
        fy_buf_str(b, "</span>");
    }
    fy_buf_str(b, "</p>\n");
    op_table(b, ops, nops, total);
    step_tables(b, p, order, total);
    graph(b, p, at, width, height, total);
    fy_buf_str(b, "</body></html>\n");
}

fy_status fy_profile_html(fy_buf *out, const fy_profile *p, ferry_error *e) {
    fy_arena a = {0};
    fy_profile_op *ops = NULL;
    int nops = 0, *order = NULL;
    double width = 0, height = 0;
    fy_place *at = FY_NEWN(&a, fy_place, p->nsteps + 1);
    fy_status s = at ? fy_profile_ops(&ops, &nops, &a, p, e) : fy_nomem(e);
    if (!s) s = fy_profile_order(&order, &a, p, e);
    if (!s) s = fy_profile_layout(at, &width, &height, p, e);
    if (!s) page(out, p, ops, nops, order, at, width, height);
    fy_arena_free(&a);
    return !s && out->oom ? fy_nomem(e) : s;
}
