// The latent plane of a trained VAE: where the codes lie, and three roads from A to B.
const SIDE = 28, FRAMES = 9, STEPS = 33, CELLS = 64;

// The decoder, linear layers with ReLU between them; the last gives logits, and here their sigmoid.
const decoderOf = (view, sizes) => {
  const flat = fromHalf(view);
  let at = 0;
  const take = (n) => flat.subarray(at, (at += n));
  const layers = sizes.slice(1).map((n, k) => ({ n, m: sizes[k], W: take(n * sizes[k]), b: take(n) }));
  return (z) => {
    let h = z;
    layers.forEach(({ n, m, W, b }, k) => {
      const out = new Float64Array(n), last = k === layers.length - 1;
      for (let i = 0, row = 0; i < n; i++, row += m) {
        let a = b[i];
        for (let j = 0; j < m; j++) a += W[row + j] * h[j];
        out[i] = last ? 1 / (1 + Math.exp(-a)) : Math.max(0, a);
      }
      h = out;
    });
    return h;
  };
};
// log q(z), the mixture of all stored encodings: mu1, mu2, sigma1, sigma2 for each.
const mixtureOf = (view) => {
  const q = fromHalf(view), n = q.length / 4;
  const base = Array.from({ length: n }, (_, k) => -LOG_2PI - Math.log(q[4 * k + 2] * q[4 * k + 3]) - Math.log(n));
  const terms = new Float64Array(n);
  return ([x, y]) => {
    let most = -Infinity;
    for (let k = 0; k < n; k++) {
      const u = (x - q[4 * k]) / q[4 * k + 2], v = (y - q[4 * k + 1]) / q[4 * k + 3];
      terms[k] = base[k] - 0.5 * (u * u + v * v);
      if (terms[k] > most) most = terms[k];
    }
    let s = 0;
    for (let k = 0; k < n; k++) if (terms[k] > most - 40) s += Math.exp(terms[k] - most);
    return most + Math.log(s);
  };
};
const between = (a, b, t) => a.map((v, i) => (1 - t) * v + t * b[i]);
const lerp = (a, b, n) => Array.from({ length: n }, (_, i) => between(a, b, i / (n - 1)));
const slerp = (a, b, n) => {
  const la = Math.hypot(...a), lb = Math.hypot(...b);
  const cosine = la * lb > 0 ? clamp((a[0] * b[0] + a[1] * b[1]) / (la * lb), -1, 1) : 1, angle = Math.acos(cosine);
  // Without an angle, or with every circle to choose from, there is only the straight road.
  if (angle < 1e-3 || cosine < -1 + 1e-6) return lerp(a, b, n);
  return Array.from({ length: n }, (_, i) => {
    const t = i / (n - 1), p = Math.sin((1 - t) * angle) / Math.sin(angle), r = Math.sin(t * angle) / Math.sin(angle);
    return a.map((v, k) => (i === 0 ? v : i === n - 1 ? b[k] : p * v + r * b[k]));
  });
};
// Points at equal distances along a way given by its corners.
const resample = (path, n) => {
  const at = [0];
  for (let k = 1; k < path.length; k++) at.push(at[k - 1] + Math.hypot(path[k][0] - path[k - 1][0], path[k][1] - path[k - 1][1]));
  const total = at[at.length - 1];
  let k = 1;
  return Array.from({ length: n }, (_, i) => {
    if (i === 0) return path[0];
    if (i === n - 1) return path[path.length - 1];
    const wish = (total * i) / (n - 1);
    while (k < path.length - 1 && at[k] < wish) k++;
    return between(path[k - 1], path[k], (wish - at[k - 1]) / Math.max(at[k] - at[k - 1], 1e-12));
  });
};
// Length, on which a step k nats below `typical` costs 1 + k lengths; each weighed at its middle.
const stepCost = (logQ, typical, p, r) => {
  const middle = logQ([(p[0] + r[0]) / 2, (p[1] + r[1]) / 2]);
  return (1 + Math.max(0, typical - middle)) * Math.hypot(p[0] - r[0], p[1] - r[1]);
};
const pathCost = (logQ, typical, path) => path.slice(1).reduce((s, r, k) => s + stepCost(logQ, typical, path[k], r), 0);
// log q between the middles of the cells of the stored table, row after row from the bottom.
const tableOf = (view, low, high) => {
  const table = fromHalf(view), side = (high - low) / CELLS;
  return ([x, y]) => {
    const u = clamp((x - low) / side - 0.5, 0, CELLS - 1.001), v = clamp((y - low) / side - 0.5, 0, CELLS - 1.001);
    const i = Math.floor(u), j = Math.floor(v), s = u - i, t = v - j, at = j * CELLS + i;
    return (1 - t) * ((1 - s) * table[at] + s * table[at + 1]) + t * ((1 - s) * table[at + CELLS] + s * table[at + CELLS + 1]);
  };
};
const NEXT = [[1, 0], [0, 1], [1, 1], [1, -1], [-1, 0], [0, -1], [-1, -1], [-1, 1], [2, 1], [1, 2], [2, -1], [1, -2], [-2, -1], [-1, -2], [-2, 1], [-1, 2]];
// The cheapest way over the cells from each one to `to`: Bellman's sweeps until nothing changes.
const sweep = (table, typical, low, high, to) => {
  const side = (high - low) / CELLS, place = (n) => [low + ((n % CELLS) + 0.5) * side, low + (Math.floor(n / CELLS) + 0.5) * side];
  const cost = new Float64Array(CELLS * CELLS).fill(Infinity), next = new Int32Array(CELLS * CELLS).fill(-1);
  const price = NEXT.map(() => new Float64Array(CELLS * CELLS).fill(NaN));
  cost[to] = 0;
  for (let round = 0, moved = true; moved && round < 200; round++) {
    moved = false;
    for (let n = 0; n < CELLS * CELLS; n++) {
      // Every second sweep runs through the rows backwards, every second pair through the columns.
      const j = round & 1 ? CELLS - 1 - Math.floor(n / CELLS) : Math.floor(n / CELLS);
      const i = round & 2 ? CELLS - 1 - (n % CELLS) : n % CELLS, me = j * CELLS + i;
      NEXT.forEach(([di, dj], e) => {
        if (i + di < 0 || i + di >= CELLS || j + dj < 0 || j + dj >= CELLS) return;
        const other = me + dj * CELLS + di;
        if (cost[other] >= cost[me]) return;
        if (Number.isNaN(price[e][me])) price[e][me] = stepCost(table, typical, place(me), place(other));
        const found = cost[other] + price[e][me];
        if (found < cost[me] - 1e-12) { cost[me] = found; next[me] = other; moved = true; }
      });
    }
  }
  return { cost, next, place };
};
const dense = (table, typical, low, high, a, b) => {
  const cell = (z) => z.map((v) => clamp(Math.floor(((v - low) / (high - low)) * CELLS), 0, CELLS - 1));
  const [i, j] = cell(a), [k, l] = cell(b), { next, place } = sweep(table, typical, low, high, l * CELLS + k);
  const corners = [a];
  for (let n = next[j * CELLS + i]; n >= 0 && next[n] >= 0; n = next[n]) corners.push(place(n));
  corners.push(b);
  let path = resample(corners, STEPS);
  // Corners of the cells are no part of the answer: pull each point to the middle where that is cheaper.
  for (let round = 0; round < 60; round++) {
    for (let n = 1; n < STEPS - 1; n++) {
      const [p, me, r] = path.slice(n - 1, n + 2), other = between(me, between(p, r, 0.5), 0.5);
      const now = stepCost(table, typical, p, me) + stepCost(table, typical, me, r);
      if (stepCost(table, typical, p, other) + stepCost(table, typical, other, r) < now) path[n] = other;
    }
    if (round % 10 === 9) path = resample(path, STEPS);
  }
  const straight = lerp(a, b, STEPS);
  return pathCost(table, typical, path) < pathCost(table, typical, straight) ? path : straight;
};

function render({ model, el }) {
  const get = (k) => model.get(k), [low, high] = get("window"), typical = get("typical");
  const decode = decoderOf(get("weights"), get("decoder")), logQ = mixtureOf(get("codes")), table = tableOf(get("table"), low, high);
  const road = (name, a, b) => (name === "dense" ? dense(table, typical, low, high, a, b) : (name === "spherical" ? slerp : lerp)(a, b, STEPS));
  const box = scaffold(el, "Every place of the plane is a picture. How do you get from A to B?");
  const panels = htmlNode("div", { class: "vf-panels" }, box);

  const W = 340, span = high - low, px = (v) => ((v - low) / span) * W, py = (v) => W - px(v);
  const plane = svgNode("svg", { viewBox: `0 0 ${W} ${W}`, role: "img" }, htmlNode("div", {}, panels));
  const title = svgNode("title", {}, plane);
  svgNode("rect", { width: W, height: W, fill: "none", stroke: "var(--vf-soft)" }, plane);
  // Density in five steps of two nats, each darker than the one before: the shades lie on each other.
  const grid = fromHalf(get("table")), side = W / CELLS;
  for (const level of [-9, -7, -5, -3, -1.5]) {
    let d = "";
    for (let r = 0; r < CELLS; r++) for (let c = 0; c < CELLS; c++) {
      if (grid[r * CELLS + c] < level) continue;
      let n = 1;
      while (c + n < CELLS && grid[r * CELLS + c + n] >= level) n++;
      d += `M${(c * side).toFixed(1)} ${(W - (r + 1) * side).toFixed(1)}h${(n * side).toFixed(1)}v${side.toFixed(1)}h${(-n * side).toFixed(1)}z`;
      c += n;
    }
    svgNode("path", { d: d || "M0 0", fill: "var(--vf-posterior)", "fill-opacity": 0.16 }, plane);
  }
  for (const [a, b, k] of get("points")) {
    if (Math.max(Math.abs(a), Math.abs(b)) < high - 0.05) svgNode("text", { x: px(a).toFixed(1), y: (py(b) + 3.5).toFixed(1), "text-anchor": "middle", class: `vf-digit vf-d${k}`, "aria-hidden": "true", text: k }, plane);
  }
  svgNode("text", { x: W - 6, y: W - 8, "text-anchor": "end", class: "vf-tick vf-halo", text: "z₁" }, plane);
  svgNode("text", { x: 6, y: 16, class: "vf-tick vf-halo", text: "z₂" }, plane);
  const halo = svgNode("polyline", { fill: "none", stroke: "var(--vf-bg)", "stroke-width": 6 }, plane);
  const line = svgNode("polyline", { fill: "none", stroke: "var(--vf-fg)", "stroke-width": 2.5 }, plane);
  const dots = Array.from({ length: FRAMES }, () => svgNode("circle", { r: 3.5, fill: "var(--vf-fg)", stroke: "var(--vf-bg)" }, plane));
  const handle = {};
  for (const name of ["a", "b", "z"]) {
    const g = (handle[name] = svgNode("g", { class: "vf-handle" }, plane));
    g.dataset.handle = name;
    svgNode("circle", { r: 20, fill: "transparent" }, g); // a finger needs room
    svgNode("circle", { r: 10, fill: name === "z" ? "none" : "var(--vf-bg)", stroke: name === "z" ? "var(--vf-bg)" : "var(--vf-fg)", "stroke-width": name === "z" ? 7 : 2.5 }, g);
    if (name === "z") svgNode("circle", { r: 10, fill: "none", stroke: "var(--vf-kl)", "stroke-width": 3 }, g);
    else svgNode("text", { y: 4.5, "text-anchor": "middle", class: "vf-strong", text: name.toUpperCase() }, g);
  }

  const right = htmlNode("div", {}, panels);
  const picture = (parent, columns, style) => {
    const canvas = htmlNode("canvas", { width: columns * SIDE, height: SIDE, class: "vf-paper", role: "img", style }, parent);
    const context = canvas.getContext("2d");
    return (images, label) => {
      const data = context.createImageData(columns * SIDE, SIDE);
      images.forEach((image, n) => {
        for (let p = 0; p < SIDE * SIDE; p++) {
          const at = 4 * (Math.floor(p / SIDE) * columns * SIDE + n * SIDE + (p % SIDE));
          data.data.fill(Math.round(255 * (1 - image[p])), at, at + 3);
          data.data[at + 3] = 255;
        }
      });
      context.putImageData(data, 0, 0);
      canvas.setAttribute("aria-label", label);
    };
  };
  htmlNode("div", { class: "vf-caption", text: "decoded at the ring" }, right);
  const showHere = picture(right, 1, "max-width:8.5rem");
  const ledger = htmlNode("tbody", {}, htmlNode("table", { class: "vf-ledger" }, right));
  const entry = (key, text) => {
    const tr = htmlNode("tr", {}, ledger);
    htmlNode("th", { scope: "row", text }, tr);
    return htmlNode("td", { "data-term": key }, tr);
  };
  const hereCell = entry("log_q", "log q(z) at the ring, nats"), worstCell = entry("worst", "worst frame, nats below typical");
  const lengthCell = entry("length", "length of the road in z"), costCell = entry("cost", "its cost");

  htmlNode("div", { class: "vf-caption", style: "margin-top:.5rem", text: "the road from A to B, nine frames" }, box);
  const showFrames = picture(box, FRAMES, `aspect-ratio:${FRAMES}`);
  const CW = 440, CH = 116, deepest = -12, top = 0, cx = (t) => 34 + t * (CW - 44), cy = (v) => 8 + ((top - clamp(v, deepest, top)) / (top - deepest)) * (CH - 30);
  const chart = svgNode("svg", { viewBox: `0 0 ${CW} ${CH}`, role: "img", style: "margin-top:.4rem;max-width:34rem" }, box);
  const chartTitle = svgNode("title", {}, chart);
  for (const v of [0, -4, -8, -12]) {
    svgNode("line", { x1: cx(0), x2: cx(1), y1: cy(v), y2: cy(v), stroke: "var(--vf-faint)" }, chart);
    svgNode("text", { x: 28, y: cy(v) + 4, "text-anchor": "end", class: "vf-tick vf-num", text: fixed(v, 0) }, chart);
  }
  svgNode("line", { x1: cx(0), x2: cx(1), y1: cy(typical), y2: cy(typical), stroke: "var(--vf-soft)", "stroke-dasharray": "5 4" }, chart);
  const curve = svgNode("polyline", { fill: "none", stroke: "var(--vf-q)", "stroke-width": 2.5 }, chart);
  svgNode("text", { x: cx(1), y: cy(typical) - 5, "text-anchor": "end", class: "vf-tick vf-halo", text: "typical of test codes" }, chart);
  svgNode("text", { x: cx(0.5), y: CH - 4, "text-anchor": "middle", class: "vf-tick", text: "log q(z), nats, along the road" }, chart);

  const message = htmlNode("p", { class: "vf-message" }, box);
  const controls = htmlNode("div", { class: "vf-control" }, box);
  const put = (name, value) => { model.set(name, value); model.save_changes(); };
  const roads = htmlNode("div", { class: "vf-buttons" }, controls);
  htmlNode("span", { text: "Road" }, roads);
  const roadButtons = ["straight", "spherical", "dense"].map((name) => [name, button(roads, name, () => put("road", name))]);
  const which = htmlNode("div", { class: "vf-buttons" }, controls);
  htmlNode("span", { text: "The sliders move" }, which);
  let chosen = "z";
  const names = { z: "the ring", a: "A", b: "B" };
  const whichButtons = ["z", "a", "b"].map((name) => [name, button(which, names[name], () => { chosen = name; drawControls(); })]);
  const sliders = [0, 1].map((k) => sliderRow(controls, {
    label: `z${"₁₂"[k]}`, spoken: `${["first", "second"][k]} coordinate`, min: low, max: high, step: 0.01, digits: 2,
    onInput: (v) => put(chosen, get(chosen).map((old, i) => (i === k ? v : old))),
  }));
  const round = (v) => Math.round(v * 1000) / 1000;
  for (const name in handle) onDrag(handle[name], plane, (x, y) => put(name, [
    round(clamp(low + (x / W) * span, low, high)), round(clamp(low + ((W - y) / W) * span, low, high)),
  ]), () => { chosen = name; drawControls(); });
  const say = announcer(box);

  const drawControls = () => {
    for (const [name, node] of whichButtons) node.setAttribute("aria-pressed", name === chosen);
    sliders.forEach((show, k) => show(get(chosen)[k]));
  };
  const drawHere = () => {
    const z = get("z"), value = logQ(z);
    handle.z.setAttribute("transform", `translate(${px(z[0]).toFixed(1)} ${py(z[1]).toFixed(1)})`);
    showHere([decode(z)], `The picture decoded at ${fixed(z[0], 2)}, ${fixed(z[1], 2)}`);
    hereCell.textContent = fixed(value, 2);
    drawControls();
  };
  const drawRoad = () => {
    const a = get("a"), b = get("b"), name = get("road"), path = road(name, a, b), frames = resample(path, FRAMES);
    for (const [key, z] of [["a", a], ["b", b]]) handle[key].setAttribute("transform", `translate(${px(z[0]).toFixed(1)} ${py(z[1]).toFixed(1)})`);
    const corners = path.map(([x, y]) => `${px(x).toFixed(1)},${py(y).toFixed(1)}`).join(" ");
    halo.setAttribute("points", corners);
    line.setAttribute("points", corners);
    frames.forEach(([x, y], n) => setAll(dots[n], { cx: px(x).toFixed(1), cy: py(y).toFixed(1) }));
    const density = path.map(logQ), worst = typical - Math.min(...frames.map(logQ));
    curve.setAttribute("points", density.map((v, n) => `${cx(n / (STEPS - 1)).toFixed(1)},${cy(v).toFixed(1)}`).join(" "));
    showFrames(frames.map((z) => decode(z)), `Nine decoded pictures along the ${name} road from A to B`);
    const length = path.slice(1).reduce((s, [x, y], n) => s + Math.hypot(x - path[n][0], y - path[n][1]), 0);
    worstCell.textContent = fixed(worst, 2);
    lengthCell.textContent = fixed(length, 2);
    costCell.textContent = fixed(pathCost(logQ, typical, path), 2);
    for (const [key, node] of roadButtons) node.setAttribute("aria-pressed", key === name);
    const story = worst > 4 ? `The ${name} road crosses a valley: its worst frame lies ${fixed(worst, 1)} nats below a typical code.`
      : `The ${name} road stays where codes lie: its worst frame is ${worst > 0 ? `${fixed(worst, 1)} nats below` : "as dense as"} a typical code.`;
    message.textContent = story;
    title.textContent = `The latent plane: numerals of encoded digits over the density of all codes; a ${name} road from A to B.`;
    chartTitle.textContent = `log q(z) along the road, at its lowest ${fixed(Math.min(...density), 1)} nats.`;
    say(story);
    drawControls();
  };
  const quiet = [listen(model, ["z"], drawHere), listen(model, ["a", "b", "road"], drawRoad)];
  drawHere();
  drawRoad();
  el.__vf = {
    name: "latent_map", decode, logQ, road, resample,
    cost: (path) => pathCost(logQ, typical, path),
    sweep: (to) => Array.from(sweep(table, typical, low, high, to).cost),
  };
  return () => { quiet.forEach((stop) => stop()); say.stop(); };
}
export default { render };
