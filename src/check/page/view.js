// The page of `ferry view`: folds the graph along the paths of its modules, lays out what is unfolded, and shows what is asked for.
// Everything from the model is put in as text, never as markup.
"use strict";
(() => {
const D = JSON.parse(document.getElementById("data").textContent), SVG = "http://www.w3.org/2000/svg";
const V = D.values, N = D.nodes, W = D.weights;
const $ = id => document.getElementById(id);
const el = (tag, props, ...kids) => { const e = document.createElement(tag); Object.assign(e, props); e.append(...kids); return e; };
const svg = (tag, attrs, ...kids) => { const e = document.createElementNS(SVG, tag); for (const k in attrs) e.setAttribute(k, attrs[k]); e.append(...kids); return e; };
const count = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;
const size = b => b < 1e3 ? `${b} B` : b < 1e6 ? `${(b / 1e3).toFixed(1)} kB` : b < 1e9 ? `${(b / 1e6).toFixed(2)} MB` : `${(b / 1e9).toFixed(2)} GB`;
const short = (s, n) => s.length > n ? s.slice(0, n - 1) + "\u2026" : s;
const tail = (s, n) => s.length > n ? "\u2026" + s.slice(1 - n) : s;

/* ---- the tree: modules, nodes, bodies ------------------------------------------------------------------------------------- */

const CHUNK = 60, CROWD = 160;
const classes = [/^(Conv|ConvTranspose|MatMul|Gemm|Einsum|.*Attention|QLinear.*|ConvInteger|MatMulInteger|Fused.*|LSTM|GRU|RNN)$/, /^(.*Relu|Sigmoid|Tanh|Gelu|Softmax|LogSoftmax|Erf|HardSwish|HardSigmoid|Elu|Selu|Mish|Softplus|Swish|Clip)$/,
    /Norm/, /^(Reshape|Transpose|Concat|Split|Slice|Squeeze|Unsqueeze|Flatten|Expand|Identity|Cast|Shape|Gather.*|Scatter.*|Pad|Tile|Resize|DepthToSpace|SpaceToDepth|Constant.*|Range|Where)$/,
    /^(Add|Sub|Mul|Div|Pow|Sqrt|Exp|Log|Neg|Abs|Min|Max|Reciprocal|And|Or|Not|Equal|Less.*|Greater.*)$/, /^(If|Loop|Scan|SequenceMap)$/, /Quant|QLinear|Dequant/, /Pool|^Reduce|ArgM|TopK|CumSum/];
const classOf = op => { const k = classes.findIndex(r => r.test(op)); return k < 0 ? 3 : k; };

let serial = 0;
const item = (kind, name, parent) => ({id: serial++, kind, name, parent, kids: [], open: false, first: Infinity, last: -1, edges: new Map(), inner: new Set(), outer: new Set(), depth: parent ? parent.depth + 1 : 0});
const root = item("group", D.model, null);
const itemOf = new Array(N.length), maker = new Map(), uses = new Map();
const pathOf = n => n.s ? n.s.split("\u0001") : [];

function addGraph(g, into) {
    const groups = new Map();
    const groupAt = path => {
        let at = into, key = "";
        for (const p of path) {
            key += "\u0001" + p;
            let k = groups.get(key);
            if (!k) { k = item("group", p, at); at.kids.push(k); groups.set(key, k); }
            at = k;
        }
        return at;
    };
    for (const v of g.in) { const p = item("pill", V[v][0], into); p.value = v; p.input = true; p.first = p.last = g.at - 0.5; into.kids.push(p); maker.set(v, p); }
    for (let i = g.at; i < g.at + g.n; i++) {
        const n = N[i], parent = groupAt(pathOf(n)), it = item("node", n.n, parent);
        it.node = i; it.first = it.last = i;
        parent.kids.push(it);
        itemOf[i] = it;
        for (const v of n.u) if (v >= 0) maker.set(v, it);
        for (const b of n.g || []) { const body = item("group", D.graphs[b].name, it); body.body = true; it.kids.push(body); addGraph(D.graphs[b], body); }
    }
    for (const v of g.out) { const p = item("pill", V[v][0], into); p.value = v; p.input = false; p.first = p.last = g.at + g.n + 0.5; into.kids.push(p); (into.results = into.results || []).push(p); }
}
addGraph(D.graphs[0], root);

/* Nodes of one module that have nothing to do with each other: an activation that is called in several places. */
function apart(g) {
    if (g.kind !== "group" || g.body || g.kids.length < 2 || g.kids.some(c => c.kind !== "node" || c.kids.length)) return false;
    const made = new Set(g.kids.flatMap(c => N[c.node].u));
    return !g.kids.some(c => N[c.node].i.some(v => v >= 0 && made.has(v)));
}

/* A group with nothing but one group in it is one group; a crowd without structure becomes parts of consecutive items. */
function tidy(g) {
    for (let k = 0; k < g.kids.length; k++) {
        let c = g.kids[k];
        while (c.kind === "group" && !c.body && c.kids.length === 1 && c.kids[0].kind === "group" && !c.kids[0].body) { const only = c.kids[0]; only.name = c.name + "." + only.name; only.parent = g; c = g.kids[k] = only; }
        if (apart(c)) { for (const x of c.kids) x.parent = g; g.kids.splice(k--, 1, ...c.kids); continue; }
        if (c.kind === "group" && !c.body && c.kids.length === 1 && c.kids[0].kind === "node") { c.kids[0].parent = g; c = g.kids[k] = c.kids[0]; }
        if (c.kids.length) tidy(c);
    }
    for (const c of g.kids) { g.first = Math.min(g.first, c.first); g.last = Math.max(g.last, c.last); }
    if (g.kids.length > CROWD && g.kind === "group") {
        const plain = g.kids.filter(c => c.kind !== "pill").sort((a, b) => a.first - b.first), pills = g.kids.filter(c => c.kind === "pill");
        const per = Math.max(CHUNK, Math.ceil(Math.sqrt(plain.length)));
        g.kids = pills.filter(p => p.input);
        for (let k = 0; k < plain.length; k += per) {
            const part = plain.slice(k, k + per), c = item("group", `part ${k / per + 1}`, g);
            c.kids = part;
            c.part = true;
            for (const p of part) { p.parent = c; c.first = Math.min(c.first, p.first); c.last = Math.max(c.last, p.last); }
            g.kids.push(c);
        }
        g.kids.push(...pills.filter(p => !p.input));
    }
}
tidy(root);
(function deepen(g, d) { g.depth = d; for (const c of g.kids) deepen(c, d + 1); })(root, 0);

/* What a group holds, for its box and for the panel. */
function sum(g) {
    g.ops = new Map(); g.count = 0; g.params = 0; g.bytes = 0;
    if (g.kind === "node") {
        const n = N[g.node];
        g.ops.set(n.o, 1); g.count = 1;
        for (const v of n.i) if (v >= 0 && V[v][2] >= 0) { g.params += W[V[v][2]].n; g.bytes += W[V[v][2]].b; }
    }
    for (const c of g.kids) { sum(c); g.count += c.count; g.params += c.params; g.bytes += c.bytes; for (const [o, k] of c.ops) g.ops.set(o, (g.ops.get(o) || 0) + k); }
}
sum(root);

/* Edges belong to the group in which both ends are different children; below it they enter and leave at the border. */
function connect(a, b, v) {
    const way = x => { const w = []; for (; x; x = x.parent) w.push(x); return w; };
    const wa = way(a), wb = way(b);
    let i = wa.length - 1, k = wb.length - 1;
    while (i > 0 && k > 0 && wa[i - 1] === wb[k - 1]) { i--; k--; }
    const lca = wa[i];
    for (let x = 0; x < i - 1; x++) wa[x + 1].outer.add(wa[x]);
    for (let x = 0; x < k - 1; x++) wb[x + 1].inner.add(wb[x]);
    if (i === 0) { for (let x = k - 1; x >= 0 && x + 1 < wb.length; x--) if (wb[x + 1] === lca) break; else wb[x + 1].inner.add(wb[x]); lca.inner.add(wb[k - 1]); return; }      // a body reads an input of its node
    if (k === 0) return;
    const from = wa[i - 1], to = wb[k - 1], key = from.id + ">" + to.id, e = lca.edges.get(key);
    if (e) { if (!e.values.includes(v)) e.values.push(v); } else lca.edges.set(key, {from, to, values: [v]});
}
for (let i = 0; i < N.length; i++)
    for (const v of N[i].i) {
        if (v < 0) continue;
        if (!uses.has(v)) uses.set(v, []);
        if (!uses.get(v).includes(i)) uses.get(v).push(i);
        if (maker.has(v)) connect(maker.get(v), itemOf[i], v);
    }
(function results(g) { for (const p of g.results || []) if (maker.has(p.value) && maker.get(p.value) !== p) connect(maker.get(p.value), p, p.value); for (const c of g.kids) results(c); })(root);

/* ---- layout: layers, few crossings, straight long edges (Sugiyama, Tagawa, Toda 1981) --------------------------------------- */

const GAPX = 16, GAPY = 30, PAD = 14, HEAD = 26;
/* The name of a node without the path of the group that it is drawn in. */
function local(it) {
    const name = N[it.node].n || "", way = path(it.parent), rest = name.slice(name[0] === "/" ? 1 : 0);
    const plain = way.replaceAll(".", "/");
    for (const w of [way, plain]) if (w && rest.length > w.length + 1 && rest.startsWith(w) && "./".includes(rest[w.length])) return rest.slice(w.length + 1);
    return rest;
}
function lines(it) {
    if (it.kind === "pill") return [short(it.name, 26), short(V[it.value][1], 30)];
    if (it.kind === "node" && !it.open) { const n = N[it.node], o = n.u.find(v => v >= 0); return [n.o + (it.kids.length ? " \u25b8" : ""), tail(local(it), 24), o === undefined ? "" : short(V[o][1], 28)]; }
    const main = [...it.ops].sort((a, b) => b[1] - a[1]).slice(0, 3).map(([o, k]) => k > 1 ? `${o} \u00d7${k}` : o).join(", ");
    return [(it.open ? "\u25be " : "\u25b8 ") + tail(it.kind === "node" ? N[it.node].o + " " + it.name : it.name, 30), `${count(it.count, "node")}${it.params ? ", " + size(it.bytes) : ""}`, short(main, 32)];
}
const textWidth = s => { let w = 0; for (const c of s) w += c.charCodeAt(0) > 255 ? 9 : /[ilj.,:;|'!\[\]()]/.test(c) ? 3.6 : /[A-Zmw\u00d7%]/.test(c) ? 8.2 : 6.4; return w; };

function layout(g) {
    if (!g.dirty && g.w) return;
    g.dirty = false;
    if (!g.open || !g.kids.length) {
        const t = lines(g).filter(s => s);
        g.w = Math.max(70, textWidth(t[0]) * 1.22, ...t.map(textWidth)) + 22;
        g.h = 10 + 15 * t.length;
        return;
    }
    for (const c of g.kids) layout(c);
    const kids = [...g.kids].sort((a, b) => a.first - b.first || a.last - b.last), at = new Map(kids.map((c, i) => [c, i]));
    const n = kids.length, out = kids.map(() => []), waits = new Array(n).fill(0), edges = [];
    for (const e of g.edges.values()) { const a = at.get(e.from), b = at.get(e.to); e.back = false; out[a].push(edges.length); waits[b]++; edges.push({a, b, e}); }
    /* order without cycles: where groups read each other, the earlier one goes first */
    const done = new Array(n).fill(false), rank = new Array(n).fill(0), ready = [];
    for (let i = 0; i < n; i++) if (!waits[i]) ready.push(i);
    let scan = 0;
    for (let left = n; left > 0; left--) {
        let i = ready.pop();
        if (i === undefined) { while (done[scan]) scan++; i = scan; for (const x of edges) if (x.b === i && !done[x.a]) x.e.back = true; }
        if (done[i]) { left++; continue; }
        done[i] = true;
        for (const k of out[i]) { const x = edges[k]; if (x.e.back || done[x.b]) { if (done[x.b]) x.e.back = true; continue; } rank[x.b] = Math.max(rank[x.b], rank[i] + 1); if (--waits[x.b] === 0) ready.push(x.b); }
    }
    const flow = edges.filter(x => !x.e.back);
    const preds = new Array(n).fill(0), succ = kids.map(() => []);
    for (const x of flow) { preds[x.b]++; succ[x.a].push(x.b); }
    const down = kids.map((c, i) => i).sort((i, k) => rank[k] - rank[i]);
    for (const i of down)                            // next to its readers, where that makes no edge longer than it was
        if (succ[i].length >= Math.max(1, preds[i])) { let r = Infinity; for (const k of succ[i]) r = Math.min(r, rank[k] - 1); rank[i] = Math.max(rank[i], r); }
    const top = rank.reduce((t, r) => Math.min(t, r), Infinity);
    for (let i = 0; i < n; i++) rank[i] -= top;
    let ranks = 0;
    for (let i = 0; i < n; i++) ranks = Math.max(ranks, rank[i] + 1);
    for (let i = 0; i < n; i++) if (kids[i].kind === "pill" && !kids[i].input) rank[i] = ranks - 1 > rank[i] ? ranks - 1 : rank[i];
    /* cells: children, and a thin one in each layer that an edge passes */
    const cells = kids.map((c, i) => ({c, r: rank[i], w: c.w, up: [], down: [], x: 0})), layers = Array.from({length: ranks}, () => []);
    cells.forEach(c => layers[c.r].push(c));
    let budget = 12000;
    for (const x of flow) {
        let from = cells[x.a];
        const to = cells[x.b], span = to.r - from.r;
        x.way = [from];
        if (span > 1 && span < 400 && (budget -= span) > 0)
            for (let r = from.r + 1; r < to.r; r++) { const d = {c: null, r, w: 6, up: [], down: [], x: 0}; layers[r].push(d); from.down.push(d); d.up.push(from); x.way.push(d); from = d; }
        from.down.push(to); to.up.push(from); x.way.push(to);
    }
    layers.forEach(l => l.forEach((c, i) => { c.i = i; }));
    const bary = (l, side) => {
        for (const c of l) { const s = c[side]; c.key = s.length ? s.reduce((t, o) => t + o.i, 0) / s.length : c.i; }
        l.sort((p, q) => p.key - q.key || p.i - q.i);
        l.forEach((c, i) => { c.i = i; });
    };
    const sweeps = cells.length > 1500 ? 2 : 6;
    for (let s = 0; s < sweeps; s++) {
        for (let r = 1; r < ranks; r++) bary(layers[r], "up");
        for (let r = ranks - 2; r >= 0; r--) bary(layers[r], "down");
    }
    /* places: as near to the neighbours as the order allows, by least squares (pool adjacent violators) */
    const place = (l, wish) => {
        const blocks = [];
        let off = 0;
        for (let i = 0; i < l.length; i++) {
            if (i) off += (l[i - 1].w + l[i].w) / 2 + GAPX;
            l[i].off = off;
            const k = l[i].c ? 1 : 3;
            let b = {sum: (wish(l[i]) - off) * k, k, from: i};
            while (blocks.length && blocks[blocks.length - 1].sum / blocks[blocks.length - 1].k > b.sum / b.k) { const p = blocks.pop(); b = {sum: p.sum + b.sum, k: p.k + b.k, from: p.from}; }
            blocks.push(b);
        }
        for (let k = 0; k < blocks.length; k++) for (let i = blocks[k].from; i < (k + 1 < blocks.length ? blocks[k + 1].from : l.length); i++) l[i].x = blocks[k].sum / blocks[k].k + l[i].off;
    };
    for (const l of layers) { let x = 0; for (const c of l) { c.x = x + c.w / 2; x += c.w + GAPX; } for (const c of l) c.x -= x / 2; }
    const mean = (c, s) => s.length ? s.reduce((t, o) => t + o.x, 0) / s.length : c.x;
    for (let s = 0; s < (cells.length > 1500 ? 3 : 8); s++) {
        for (let r = 1; r < ranks; r++) place(layers[r], c => mean(c, c.up));
        for (let r = ranks - 2; r >= 0; r--) place(layers[r], c => mean(c, c.down));
    }
    for (let r = 1; r < ranks; r++) place(layers[r], c => c.up.length || c.down.length ? mean(c, [...c.up, ...c.down]) : c.x);
    const inner = g.inner.size > 0, outer = g.outer.size > 0, framed = g !== root;
    let y = framed ? HEAD + (inner ? GAPY * 0.7 : 6) : 0, least = Infinity, most = -Infinity;
    for (const l of layers) {
        let h = 0;
        for (const c of l) { if (c.c) h = Math.max(h, c.c.h); least = Math.min(least, c.x - c.w / 2); most = Math.max(most, c.x + c.w / 2); }
        for (const c of l) { c.y = y; c.h = h; }
        y += h + GAPY + Math.min(30, l.length * 1.2);
    }
    const loops = edges.some(x => x.e.back);
    for (const c of cells) if (c.c) { c.c.x = c.x - c.w / 2 - least + PAD; c.c.y = c.y + (c.h - c.c.h) / 2; }
    g.lines = flow.map(x => ({e: x.e, at: x.way.map((c, i) => c.c ? [c.c.x + c.c.w / 2, i ? c.c.y : c.c.y + c.c.h, c.c.y, c.c.h] : [c.x - least + PAD, c.y, c.y, c.h])}));
    for (const x of edges) if (x.e.back) g.lines.push({e: x.e, loop: [kids[x.a], kids[x.b]]});
    g.w = most - least + 2 * PAD + (loops ? 40 : 0);
    const title = lines(g)[0];
    g.w = Math.max(g.w, framed ? textWidth(title) + 90 : 0);
    g.h = y - GAPY - Math.min(30, layers.length ? layers[layers.length - 1].length * 1.2 : 0) + (framed ? (outer ? GAPY * 0.7 : 0) + PAD : 0);
}
function touch(g) { for (; g; g = g.parent) g.dirty = true; }

/* ---- drawing ---------------------------------------------------------------------------------------------------------------- */

const stage = $("stage"), world = svg("g", {});
stage.append(svg("defs", {}, svg("marker", {id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 8, markerHeight: 8, markerUnits: "userSpaceOnUse", orient: "auto"}, svg("path", {d: "M0 0L8 4L0 8z"}))), world);
let view = {x: 0, y: 0, k: 1}, selected = null, hits = [], hitAt = -1, drawn = new Map();
const shown = () => drawn.size;

function smooth(p) {
    let d = `M${p[0][0].toFixed(1)} ${p[0][1].toFixed(1)}`;
    for (let i = 1; i < p.length; i++) {
        const [x0, y0, , h0] = p[i - 1], [x1, y1, , h1] = p[i], from = i > 1 ? y0 + h0 : y0;
        if (i > 1) d += `L${x0.toFixed(1)} ${from.toFixed(1)}`;
        const m = (from + y1) / 2;
        d += `C${x0.toFixed(1)} ${m.toFixed(1)} ${x1.toFixed(1)} ${m.toFixed(1)} ${x1.toFixed(1)} ${y1.toFixed(1)}`;
    }
    return d;
}
const edgeTitle = e => e.values.slice(0, 12).map(v => `${V[v][0]}  ${V[v][1]}`).join("\n") + (e.values.length > 12 ? `\n\u2026 ${e.values.length} values` : "");

function draw(it, into) {
    const t = lines(it), open = it.open && it.kids.length;
    const cls = it.kind === "node" ? `box node c${classOf(N[it.node].o)}` : it.kind === "pill" ? "box pill" : "box group";
    const g = svg("g", {class: cls + (open ? " open" : ""), transform: `translate(${it.x.toFixed(1)},${it.y.toFixed(1)})`, "data-id": it.id});
    g.append(svg("rect", {class: "b", width: it.w.toFixed(1), height: it.h.toFixed(1), rx: it.kind === "pill" ? 12 : open ? 10 : 6}));
    drawn.set(it.id, g);
    const tip = svg("title", {});
    tip.textContent = it.kind === "node" ? `${N[it.node].o} ${N[it.node].n}` : it.kind === "pill" ? `${it.name} ${V[it.value][1]}` : `${path(it)}: ${count(it.count, "node")}`;
    g.append(tip);
    if (it.kind === "node") g.append(svg("rect", {class: "bar", x: 0.5, y: 0.5, width: 4, height: (it.h - 1).toFixed(1), rx: 2}));
    if (open) {
        const a = svg("text", {x: 12, y: 17, class: "t"}), b = svg("text", {x: 24 + textWidth(t[0]) * 1.2, y: 17, class: "s"});
        a.textContent = t[0]; b.textContent = count(it.count, "node");
        g.append(a, b);
        inside(it, g);
    } else t.filter(s => s).forEach((s, i) => { const x = svg("text", {x: 12, y: 17 + 15 * i, class: i ? "s" : "t"}); x.textContent = s; g.append(x); });
    into.append(g);
}
function inside(g, into) {
    for (const l of g.lines) {
        let d;
        if (l.loop) { const [a, b] = l.loop, x = Math.max(a.x + a.w, b.x + b.w) + 26; d = `M${a.x + a.w} ${a.y + a.h / 2}C${x} ${a.y + a.h / 2} ${x} ${b.y + b.h / 2} ${b.x + b.w} ${b.y + b.h / 2}`; } else d = smooth(l.at);
        const p = svg("path", {class: "e" + (l.e.values.length > 1 ? " many" : "") + (l.e.back ? " back" : ""), d, "marker-end": "url(#arrow)", "data-a": l.e.from.id, "data-b": l.e.to.id}), tip = svg("title", {});
        tip.textContent = edgeTitle(l.e);
        p.append(tip);
        into.append(p);
    }
    if (g !== root) {
        for (const c of g.inner) if (c.w) into.append(svg("path", {class: "port", d: `M${c.x + c.w / 2} ${Math.max(HEAD, c.y - 15)}V${c.y}`}));
        for (const c of g.outer) if (c.w) into.append(svg("path", {class: "port", d: `M${c.x + c.w / 2} ${c.y + c.h}V${Math.min(g.h, c.y + c.h + 15)}`}));
    }
    for (const c of g.kids) draw(c, into);
}
function paint() {
    const began = performance.now();
    layout(root);
    document.body.dataset.layout = Math.round(performance.now() - began) + " ms";
    drawn.clear();
    world.replaceChildren();
    root.x = root.y = 0;
    inside(root, world);
    mark();
}
function mark() {
    for (const [id, g] of drawn) { g.classList.toggle("sel", !!selected && selected.id === id); g.classList.toggle("hit", hits.some(h => h.item.id === id)); }
    for (const p of world.querySelectorAll(".e")) p.classList.toggle("on", !!selected && (p.dataset.a == selected.id || p.dataset.b == selected.id));
}
function apply() { world.setAttribute("transform", `translate(${view.x},${view.y}) scale(${view.k})`); }
const bounds = () => stage.getBoundingClientRect();
function fit() {
    const b = bounds(), k = Math.min(1.25, (b.width - 40) / root.w, (b.height - 40) / root.h);
    const deep = k < 0.45;                           // a long graph: the start of it in a readable size
    view.k = deep ? Math.min(0.9, (b.width - 40) / root.w) : k;
    if (view.k < 0.3) view.k = 0.3;
    view.x = (b.width - root.w * view.k) / 2;
    view.y = deep ? 20 : (b.height - root.h * view.k) / 2;
    if (root.w * view.k > b.width) { const p = root.kids.find(c => c.kind === "pill" && c.input); if (p) view.x = b.width / 2 - (p.x + p.w / 2) * view.k; }
    apply();
}
function whole() { const b = bounds(); view.k = Math.min(1.25, (b.width - 20) / root.w, (b.height - 20) / root.h); view.x = (b.width - root.w * view.k) / 2; view.y = (b.height - root.h * view.k) / 2; apply(); }
function spot(it) { let x = 0, y = 0; for (let i = it; i !== root; i = i.parent) { x += i.x; y += i.y; } return [x, y]; }
function centre(it, k) {
    const b = bounds(), [x, y] = spot(it);
    view.k = k || Math.max(view.k, 0.7);
    view.x = b.width / 2 - (x + it.w / 2) * view.k;
    view.y = it.h * view.k > b.height - 60 ? 30 - y * view.k : b.height / 2 - (y + it.h / 2) * view.k;
    apply();
}
function zoom(f, cx, cy) { const b = bounds(), x = cx === undefined ? b.width / 2 : cx - b.left, y = cy === undefined ? b.height / 2 : cy - b.top, k = Math.min(4, Math.max(0.02, view.k * f)); view.x = x - (x - view.x) * k / view.k; view.y = y - (y - view.y) * k / view.k; view.k = k; apply(); }

/* ---- folding ------------------------------------------------------------------------------------------------------------------ */

const all = [];
(function list(g) { all.push(g); for (const c of g.kids) list(c); })(root);
const byId = new Map(all.map(i => [i.id, i]));
const path = it => { const p = []; for (let i = it; i && i !== root; i = i.parent) if (!i.part) p.unshift(i.kind === "node" && i !== it ? N[i.node].n || N[i.node].o : i.name); return p.join("."); };
function setOpen(it, open) { if (it.kids.length && it !== root && it.open !== open) { it.open = open; touch(it); } }
function openBody(it) { setOpen(it, true); for (const c of it.kids) if (c.body) setOpen(c, true); }
function toggle(it) {
    const [x, y] = spot(it), sx = x * view.k + view.x, sy = y * view.k + view.y;
    if (it.open) setOpen(it, false); else openBody(it);
    paint();
    const [nx, ny] = spot(it);                       // the title stays where it was clicked
    view.x = sx - nx * view.k; view.y = sy - ny * view.k;
    apply();
    choose(it);
}
function foldAll() { for (const i of all) setOpen(i, false); start(); paint(); fit(); }
function unfoldAll() { for (const i of all) setOpen(i, true); paint(); fit(); }
function reveal(it) { for (let p = it.parent; p; p = p.parent) setOpen(p, true); paint(); centre(it); choose(it); }
/* Unfolded at the start: the outermost groups, as long as the page stays readable. */
function start() {
    root.open = true; root.dirty = true;
    let visible = root.kids.length, row = root.kids;
    while (row.length) {
        const next = [];
        for (const c of row.filter(c => c.kids.length && c.kind === "group" && !c.part).sort((a, b) => a.kids.length - b.kids.length)) if (visible + c.kids.length <= 48) { setOpen(c, true); visible += c.kids.length; next.push(...c.kids); }
        row = next;
    }
}

/* ---- the panel ------------------------------------------------------------------------------------------------------------------ */

const panel = $("panel");
const num = x => typeof x === "string" ? x : x === 0 ? "0" : Math.abs(x) >= 1e5 || Math.abs(x) < 1e-3 ? x.toExponential(3) : String(+x.toPrecision(5));
const rows = list => { const t = el("table", {}); for (const [k, v] of list) { const b = el("td", {}); b.append(v); t.append(el("tr", {}, el("td", {textContent: k, title: k}), b)); } return t; };
const head = s => el("h3", {textContent: s});
const goTo = (text, it, what) => { const a = el("a", {textContent: text, tabIndex: 0, title: what || ""}); a.onclick = () => reveal(it); a.onkeydown = e => { if (e.key === "Enter") reveal(it); }; return a; };

function weightView(v) {
    const w = W[V[v][2]], box = el("div", {className: "weight"});
    box.append(el("div", {textContent: V[v][0] || "(constant)"}), el("div", {className: "soft", textContent: `${V[v][1]}, ${size(w.b)}`}));
    if (w.v !== undefined) box.append(el("code", {textContent: w.v}));
    if (w.min !== undefined && w.n > 1) {
        box.append(rows([["min \u2026 max", `${num(w.min)} \u2026 ${num(w.max)}`], ["mean \u00b1 std", `${num(w.mean)} \u00b1 ${num(w.std)}`], ["zeros", `${w.z.toLocaleString("en")} (${(100 * w.z / w.n).toFixed(1)} %)`]]));
        if (w.nan || w.inf) box.append(rows([["not finite", `${w.nan} NaN, ${w.inf} infinite`]]));
        if (w.h) {
            const most = Math.max(...w.h), s = svg("svg", {class: "hist", viewBox: `0 0 ${w.h.length * 10} 46`, preserveAspectRatio: "none"});
            w.h.forEach((n, i) => { const h = most ? 45 * Math.sqrt(n / most) : 0, r = svg("rect", {x: i * 10 + 0.5, y: 46 - h, width: 9, height: h}), t = svg("title", {}); t.textContent = `${num(w.min + (w.max - w.min) * i / w.h.length)} \u2026: ${n.toLocaleString("en")}`; r.append(t); s.append(r); });
            box.append(s);
        }
    }
    return box;
}
function where(it) {
    const line = el("div", {className: "soft"}), way = [];
    for (let p = it.parent; p; p = p.parent) way.unshift(p);
    way.forEach((p, i) => { if (i) line.append(" / "); const a = el("a", {textContent: p === root ? "model" : p.name}); a.onclick = () => p === root ? (choose(null), fit()) : reveal(p); line.append(a); });
    return line;
}
function showNode(it) {
    const n = N[it.node];
    panel.append(el("h2", {textContent: n.o}), el("div", {textContent: n.n || ""}), where(it));
    if (n.q) panel.append(el("div", {}, el("code", {textContent: n.q})));
    if (n.a && n.a.length) panel.append(head("attributes"), rows(n.a.map(([k, v]) => [k, el("code", {textContent: v})])));
    panel.append(head("inputs"), rows(n.i.map((v, i) => {
        if (v < 0) return [String(i), el("span", {className: "soft", textContent: "(none)"})];
        const m = maker.get(v), s = el("span", {}, m ? goTo(V[v][0] || "(unnamed)", m) : V[v][0] || "(constant)", el("div", {className: "soft", textContent: V[v][1]}));
        return [String(i), s];
    })));
    panel.append(head("outputs"), rows(n.u.map((v, i) => {
        if (v < 0) return [String(i), "(not used)"];
        const s = el("span", {}, V[v][0] || "(unnamed)", el("div", {className: "soft", textContent: V[v][1]}));
        for (const k of (uses.get(v) || []).slice(0, 12)) s.append(el("div", {}, "\u2192 ", goTo(`${N[k].o} ${N[k].n}`, itemOf[k])));
        return [String(i), s];
    })));
    const w = n.i.filter(v => v >= 0 && V[v][2] >= 0);
    if (w.length) panel.append(head("weights"), ...w.map(weightView));
    if (it.kids.length) { const b = el("button", {textContent: it.open ? "fold its bodies" : "unfold its bodies"}); b.onclick = () => toggle(it); panel.append(el("p", {}, b)); }
}
function showGroup(it) {
    panel.append(el("h2", {textContent: it === root ? D.model : path(it) || it.name}));
    if (it !== root) panel.append(where(it));
    panel.append(el("div", {className: "soft", textContent: `${count(it.count, "node")}, ${count(it.params, "parameter")}, ${size(it.bytes)}`}));
    if (it !== root) { const b = el("button", {textContent: it.open ? "fold" : "unfold"}); b.onclick = () => toggle(it); panel.append(el("p", {}, b)); }
    if (it === root) {
        panel.append(head("inputs"), rows(D.graphs[0].in.map(v => [V[v][0], V[v][1]])), head("outputs"), rows(D.graphs[0].out.map(v => [V[v][0], V[v][1]])));
        if (D.meta.length) panel.append(head("metadata"), rows(D.meta.map(([k, v]) => [k, short(v, 300)])));
    }
    panel.append(head("operators"), rows([...it.ops].sort((a, b) => b[1] - a[1]).map(([o, k]) => { const a = el("a", {textContent: o}); a.onclick = () => { $("search").value = o; search(); }; return [a, String(k)]; }).map(([a, k]) => [a.textContent, (() => { const s = el("span", {className: "num"}); a.textContent = k; s.append(a); return s; })()])));
    const ws = new Map();
    (function gather(g) { if (g.kind === "node") for (const v of N[g.node].i) if (v >= 0 && V[v][2] >= 0 && W[V[v][2]].n > 16) ws.set(v, g); for (const c of g.kids) gather(c); })(it);
    const big = [...ws].sort((a, b) => W[V[b[0]][2]].b - W[V[a[0]][2]].b).slice(0, 10);
    if (big.length) panel.append(head("largest weights"), ...big.map(([v, g]) => el("div", {}, goTo(V[v][0] || "(constant)", g), el("span", {className: "soft", textContent: `  ${V[v][1]}, ${size(W[V[v][2]].b)}`}))));
}
function choose(it) {
    selected = it;
    panel.replaceChildren();
    if (!it) showGroup(root);
    else if (it.kind === "node") showNode(it);
    else if (it.kind === "pill") {
        panel.append(el("h2", {textContent: it.name}), el("div", {className: "soft", textContent: `${it.input ? "input" : "output"} of the ${it.parent === root ? "model" : "body"}: ${V[it.value][1]}`}), head(it.input ? "read by" : "made by"));
        if (it.input) for (const k of uses.get(it.value) || []) panel.append(el("div", {}, goTo(`${N[k].o} ${N[k].n}`, itemOf[k])));
        else if (maker.has(it.value)) { const m = maker.get(it.value); panel.append(goTo(m.kind === "node" ? `${N[m.node].o} ${N[m.node].n}` : m.name, m)); }
    } else showGroup(it);
    mark();
    if (it && it.kind === "node") history.replaceState(null, "", "#" + it.node);
}

/* ---- search ---------------------------------------------------------------------------------------------------------------------- */

function search() {
    const q = $("search").value.trim().toLowerCase(), list = $("hits");
    list.replaceChildren();
    hits = []; hitAt = -1;
    if (q) {
        const found = (it, text) => { if (hits.length < 400) hits.push({item: it, text}); };
        for (let i = 0; i < N.length; i++) {
            const n = N[i], w = n.i.find(v => v >= 0 && V[v][2] >= 0 && V[v][0].toLowerCase().includes(q));
            if (n.o.toLowerCase().includes(q) || n.n.toLowerCase().includes(q) || n.u.some(v => v >= 0 && V[v][0].toLowerCase().includes(q))) found(itemOf[i], `${n.o}  ${n.n}`);
            else if (w !== undefined) found(itemOf[i], `${n.o}  ${V[w][0]}`);
        }
        for (const g of all) if (g.kind === "group" && g !== root && !g.part && path(g).toLowerCase().includes(q)) found(g, `module  ${path(g)}`);
        list.append(el("div", {className: "soft", textContent: hits.length ? `${hits.length}${hits.length === 400 ? "+" : ""} found; Enter: the next one` : "nothing found"}));
        hits.slice(0, 100).forEach((h, k) => { const d = el("div", {textContent: h.text}); d.onclick = () => go(k); list.append(d); });
    }
    mark();
}
function go(k) {
    if (!hits.length) return;
    hitAt = (k + hits.length) % hits.length;
    reveal(hits[hitAt].item);
    [...$("hits").children].forEach((d, i) => d.classList.toggle("at", i === hitAt + 1));
}

/* ---- hands ------------------------------------------------------------------------------------------------------------------------ */

let drag = null;
const fingers = new Map();
stage.addEventListener("pointerdown", e => { fingers.set(e.pointerId, e); drag = {x: e.clientX, y: e.clientY, vx: view.x, vy: view.y, moved: false, at: e.target.closest(".box")}; stage.focus({preventScroll: true}); });
stage.addEventListener("pointermove", e => {
    if (!fingers.has(e.pointerId)) return;
    if (fingers.size === 2) {
        const [a, b] = [...fingers.values()], was = Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
        fingers.set(e.pointerId, e);
        const [c, d] = [...fingers.values()];
        zoom(Math.hypot(c.clientX - d.clientX, c.clientY - d.clientY) / was, (c.clientX + d.clientX) / 2, (c.clientY + d.clientY) / 2);
        if (drag) drag.moved = true;
        return;
    }
    if (!drag) return;
    const dx = e.clientX - drag.x, dy = e.clientY - drag.y;
    if (Math.abs(dx) + Math.abs(dy) > 4 && !drag.moved) { drag.moved = true; stage.setPointerCapture(e.pointerId); stage.classList.add("drag"); }
    if (drag.moved) { view.x = drag.vx + dx; view.y = drag.vy + dy; apply(); }
});
const lift = e => {
    fingers.delete(e.pointerId);
    stage.classList.remove("drag");
    if (drag && !drag.moved && e.type === "pointerup") click(drag.at);
    drag = null;
};
stage.addEventListener("pointerup", lift);
stage.addEventListener("pointercancel", lift);
function click(g) {
    if (!g) { choose(null); $("hits").replaceChildren(); return; }
    const it = byId.get(+g.dataset.id);
    if (it.kind === "group") toggle(it); else if (it.kids.length && selected === it) toggle(it); else choose(it);
}
stage.addEventListener("wheel", e => { e.preventDefault(); if (e.shiftKey) { view.x -= e.deltaY; apply(); } else zoom(Math.exp(-e.deltaY * (e.ctrlKey ? 0.01 : 0.0015)), e.clientX, e.clientY); }, {passive: false});
$("search").addEventListener("input", search);
$("search").addEventListener("keydown", e => { if (e.key === "Enter") { go(hitAt + (e.shiftKey ? -1 : 1)); e.preventDefault(); } if (e.key === "Escape") { $("search").value = ""; search(); stage.focus(); } });
$("fold").onclick = foldAll;
$("unfold").onclick = unfoldAll;
$("whole").onclick = whole;
const theme = t => { document.documentElement.dataset.theme = t; };
$("theme").onclick = () => theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
theme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
/* Along the edges by keys: to the first reader, to the first producer, to a neighbour of equal standing. */
function step(key) {
    if (!selected) { const p = root.kids.find(c => drawn.has(c.id)); if (p) { choose(p); centre(p); } return; }
    const g = selected.parent || root, e = [...g.edges.values()];
    const next = key === "j" ? e.find(x => x.from === selected) : key === "k" ? e.find(x => x.to === selected) : null;
    const to = key === "j" ? next && next.to : key === "k" ? next && next.from : g !== root ? g : null;
    if (to) { choose(to); centre(to); }
}
document.addEventListener("keydown", e => {
    if (e.target.tagName === "INPUT" || e.ctrlKey || e.metaKey || e.altKey) return;
    const move = {ArrowLeft: [80, 0], ArrowRight: [-80, 0], ArrowUp: [0, 80], ArrowDown: [0, -80]}[e.key];
    if (move) { view.x += move[0]; view.y += move[1]; apply(); }
    else if (e.key === "/") $("search").focus();
    else if (e.key === "+" || e.key === "=") zoom(1.25);
    else if (e.key === "-") zoom(0.8);
    else if (e.key === "0") whole();
    else if (e.key === "1") fit();
    else if (e.key === "f") foldAll();
    else if (e.key === "u") unfoldAll();
    else if (e.key === "t") $("theme").click();
    else if (e.key === "n") go(hitAt + 1);
    else if (e.key === "j" || e.key === "k" || e.key === "h") step(e.key);
    else if ((e.key === "Enter" || e.key === " ") && selected && document.activeElement === stage) toggle(selected);
    else if (e.key === "Escape") { choose(null); $("hits").replaceChildren(); hits = []; mark(); }
    else return;
    e.preventDefault();
});

const began = performance.now();
start();
paint();
fit();
choose(null);
const wanted = +location.hash.slice(1);
if (location.hash.length > 1 && itemOf[wanted]) reveal(itemOf[wanted]);
if (location.hash === "#unfolded") unfoldAll();
if (location.hash.startsWith("#q=")) { $("search").value = decodeURIComponent(location.hash.slice(3)); search(); go(0); }
document.body.dataset.ready = Math.round(performance.now() - began) + " ms";
document.body.dataset.shown = shown();
})();
