// Two targets, as log p~ and its derivative; what needs the integral is a sum over a fine grid.
const logAddExp = (a, b) => Math.max(a, b) + Math.log1p(Math.exp(-Math.abs(a - b)));
const logSigmoid = (a) => (a < 0 ? a - Math.log1p(Math.exp(a)) : -Math.log1p(Math.exp(-a)));
const TARGETS = {
  bumps: {
    log: (z) => logAddExp(normalLogDensity(z, -2, 0.6), normalLogDensity(z, 2, 0.6)) - Math.LN2,
    slope: (z) => {
      const right = 1 / (1 + Math.exp((-4 * z) / 0.36)); // the share of the right bump at z
      return -(z - (right * 2 - (1 - right) * 2)) / 0.36;
    },
  },
  step: {
    log: (z) => -0.5 * z * z + logSigmoid(20 * z + 4),
    slope: (z) => -z + 20 / (1 + Math.exp(20 * z + 4)),
  },
};
for (const target of Object.values(TARGETS)) {
  const n = 8000, h = 28 / n, zs = Array.from({ length: n + 1 }, (_, i) => -14 + i * h);
  const logs = zs.map(target.log);
  target.logZ = logSumExp2(logs) + Math.log(h);
  const p = logs.map((l) => Math.exp(l - target.logZ) * h), sum = (f) => zs.reduce((s, z, i) => s + p[i] * f(z, i), 0);
  target.mean = sum((z) => z);
  target.variance = sum((z) => (z - target.mean) ** 2);
  target.minusEntropy = sum((z, i) => (p[i] > 0 ? logs[i] - target.logZ : 0));
}
// Like logSumExp, for more numbers than a call may have arguments.
function logSumExp2(values) {
  const m = values.reduce((a, b) => Math.max(a, b), -Infinity);
  return m + Math.log(values.reduce((s, v) => s + Math.exp(v - m), 0));
}
// Averages over N(0, 1): the trapezoidal rule from -8 to 8.
const nodes = (n) => {
  const eps = Array.from({ length: n + 1 }, (_, i) => -8 + (16 * i) / n), w = eps.map((e) => Math.exp(-0.5 * e * e));
  const total = w.reduce((s, v) => s + v, 0);
  return { eps, w: w.map((v) => v / total) };
};
const FINE = nodes(800), COARSE = nodes(120);
const reverseKl = (name, mu, sigma, { eps, w } = FINE) => {
  const t = TARGETS[name];
  let average = 0;
  for (let i = 0; i < eps.length; i++) average += w[i] * t.log(mu + sigma * eps[i]);
  return -Math.log(sigma) - 0.5 * (LOG_2PI + 1) - average + t.logZ;
};
const forwardKl = (name, mu, sigma) => {
  const t = TARGETS[name];
  return t.minusEntropy + Math.log(sigma) + 0.5 * LOG_2PI + (t.variance + (t.mean - mu) ** 2) / (2 * sigma * sigma);
};
// Slopes in mu and log sigma.
const slopes = (direction, name, mu, sigma) => {
  const t = TARGETS[name], s2 = sigma * sigma;
  if (direction === "forward") return [(mu - t.mean) / s2, 1 - (t.variance + (t.mean - mu) ** 2) / s2];
  let first = 0, second = 0;
  for (let i = 0; i < FINE.eps.length; i++) {
    const f = FINE.w[i] * t.slope(mu + sigma * FINE.eps[i]);
    first -= f;
    second -= f * FINE.eps[i];
  }
  return [first, sigma * second - 1];
};
const height = (direction, name, mu, sigma, rule) =>
  direction === "forward" ? forwardKl(name, mu, sigma) : reverseKl(name, mu, sigma, rule);
// Downhill with steps that grow while they help and shrink where they do not.
const descend = (direction, name, mu, sigma) => {
  let at = [mu, Math.log(sigma)], value = height(direction, name, mu, sigma), step = 0.05;
  const path = [[mu, sigma]];
  for (let n = 0; n < 600; n++) {
    const g = slopes(direction, name, at[0], Math.exp(at[1])), size = Math.hypot(...g);
    if (size < 1e-7) break;
    const length = Math.min(step, 0.15 / size); // no leap over a ridge
    const next = [at[0] - length * g[0], at[1] - length * g[1]];
    const lower = height(direction, name, next[0], Math.exp(next[1]));
    if (lower > value + 1e-15) { step = length / 2; if (step < 1e-12) break; continue; }
    [at, value, step] = [next, lower, length * 1.2];
    path.push([at[0], Math.exp(at[1])]);
  }
  return path;
};
// The pieces of one contour line, by marching squares: each a pair of grid points.
const contour = (values, columns, rows, level) => {
  const found = [], v = (i, j) => values[j * columns + i];
  for (let j = 0; j < rows - 1; j++) for (let i = 0; i < columns - 1; i++) {
    const corners = [[i, j], [i + 1, j], [i + 1, j + 1], [i, j + 1]], cuts = [];
    for (let k = 0; k < 4; k++) {
      const [a, b] = [corners[k], corners[(k + 1) % 4]], [x, y] = [v(...a), v(...b)];
      if (x < level !== y < level) {
        const t = (level - x) / (y - x);
        cuts.push([a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])]);
      }
    }
    for (let k = 0; k + 1 < cuts.length; k += 2) found.push([cuts[k], cuts[k + 1]]);
  }
  return found;
};

function render({ model, el }) {
  const get = (k) => model.get(k);
  const MU = [-3.5, 3.5], SIGMA = [0.2, 3], LEVELS = [0.2, 0.3, 0.5, 0.8, 1, 1.15, 1.3, 1.7, 2.5, 4, 7, 12];
  const box = scaffold(el, "Drag q, let it go, and see where it comes to rest");
  const panels = htmlNode("div", { class: "vf-panels" }, box);

  // Left: the plane of all Gaussians.
  const W = 360, H = 300, LEFT = 42, RIGHT = 350, TOP = 12, LOW = 252;
  const span = Math.log(SIGMA[1] / SIGMA[0]);
  const px = (mu) => LEFT + ((mu - MU[0]) / (MU[1] - MU[0])) * (RIGHT - LEFT);
  const py = (sigma) => LOW - (Math.log(sigma / SIGMA[0]) / span) * (LOW - TOP);
  const unpx = (x) => MU[0] + ((x - LEFT) / (RIGHT - LEFT)) * (MU[1] - MU[0]);
  const unpy = (y) => SIGMA[0] * Math.exp(((LOW - y) / (LOW - TOP)) * span);
  const plane = svgNode("svg", { viewBox: `0 0 ${W} ${H}`, role: "img" }, htmlNode("div", {}, panels));
  const planeTitle = svgNode("title", {}, plane);
  svgNode("rect", { x: LEFT, y: TOP, width: RIGHT - LEFT, height: LOW - TOP, fill: "none", stroke: "var(--vf-faint)" }, plane);
  for (const m of [-2, 0, 2]) svgNode("text", { x: px(m), y: LOW + 18, "text-anchor": "middle", class: "vf-tick vf-num", text: fixed(m, 0) }, plane);
  for (const s of [0.3, 0.6, 1, 1.8, 3]) svgNode("text", { x: LEFT - 7, y: py(s) + 4, "text-anchor": "end", class: "vf-tick vf-num", text: String(s) }, plane);
  svgNode("text", { x: RIGHT, y: LOW + 36, "text-anchor": "end", class: "vf-tick", text: "mean μ of q" }, plane);
  svgNode("text", { x: 4, y: LOW + 36, "text-anchor": "start", class: "vf-tick", text: "↑ σ of q" }, plane);
  const lines = svgNode("g", { fill: "none", stroke: "var(--vf-soft)", "stroke-width": 1 }, plane);
  const names = svgNode("g", {}, plane);
  const trail = svgNode("path", { fill: "none", stroke: "var(--vf-q)", "stroke-width": 2, "stroke-dasharray": "3 3" }, plane);
  const rests = svgNode("g", {}, plane);
  const handle = svgNode("g", { class: "vf-handle", "data-handle": "q" }, plane);
  svgNode("circle", { r: 24, fill: "transparent" }, handle); // a finger needs room
  svgNode("circle", { r: 9, fill: "var(--vf-q)", stroke: "var(--vf-bg)", "stroke-width": 2 }, handle);

  // Right: the densities. Lower than the map: stacked on a phone, they stand close together.
  const X = (z) => 12 + ((z + 5) / 10) * 336, Y = (d) => 246 - d * 190, ROOF = 80;
  const plot = svgNode("svg", { viewBox: `0 ${ROOF} ${W} ${H - ROOF}`, role: "img" }, htmlNode("div", { style: "align-self:end" }, panels));
  const plotTitle = svgNode("title", {}, plot);
  svgNode("line", { x1: X(-5), x2: X(5), y1: Y(0), y2: Y(0), stroke: "var(--vf-fg)" }, plot);
  for (let z = -4; z <= 4; z += 2) svgNode("text", { x: X(z), y: 264, "text-anchor": "middle", class: "vf-tick vf-num", text: fixed(z, 0) }, plot);
  svgNode("text", { x: X(5), y: 288, "text-anchor": "end", class: "vf-tick", text: "z" }, plot);
  const targetPath = svgNode("path", { fill: "var(--vf-posterior)", "fill-opacity": 0.18, stroke: "var(--vf-posterior)", "stroke-width": 2 }, plot);
  const qPath = svgNode("path", { fill: "none", stroke: "var(--vf-q)", "stroke-width": 3 }, plot);
  const targetLabel = svgNode("text", { class: "vf-halo", "text-anchor": "middle", text: "target p" }, plot);
  const qLabel = svgNode("text", { class: "vf-halo vf-strong", "text-anchor": "middle", text: "q" }, plot);

  const message = htmlNode("p", { class: "vf-message" }, box);
  const lower = htmlNode("div", { class: "vf-panels" }, box);
  const controls = htmlNode("div", { class: "vf-control" }, lower);
  let stop = () => {}, found = [];
  const put = (values) => {
    for (const k in values) model.set(k, values[k]);
    model.save_changes();
  };
  const round = (v) => Math.round(v * 1000) / 1000;
  const take = (values) => { stop(); trail.setAttribute("d", ""); put(values); };
  const rest = (mu, sigma) => {
    const kl = height(get("direction"), get("target"), mu, sigma);
    if (found.some((r) => Math.hypot(r.mu - mu, Math.log(r.sigma / sigma)) < 0.05)) return;
    found.push({ mu, sigma, kl });
    svgNode("circle", { cx: px(mu), cy: py(sigma), r: 13, fill: "none", stroke: "var(--vf-elbo)", "stroke-width": 3, "data-rest": fixed(kl, 3) }, rests);
    svgNode("text", { x: px(mu), y: py(sigma) + 30, "text-anchor": "middle", class: "vf-halo vf-strong vf-num", text: fixed(kl, 2) }, rests);
  };
  const letGo = () => {
    stop();
    const direction = get("direction"), target = get("target"), path = descend(direction, target, get("mu"), get("sigma"));
    const last = path.length - 1, end = path[last];
    trail.setAttribute("d", "M" + path.map(([m, s]) => `${px(m).toFixed(1)} ${py(s).toFixed(1)}`).join("L"));
    stop = glide([0], [last], ([k], done) => {
      const [mu, sigma] = done ? end : path[Math.round(k)];
      if (done && slopes(direction, target, ...end).every((g) => Math.abs(g) < 1e-3)) rest(...end);
      put({ mu, sigma });
      if (done) draw(); // also where the last step has moved nothing
    }, 1200);
  };
  const toggle = (key, text, words) => { // one of two: its present value in words, and a button for the other
    const row = htmlNode("div", { class: "vf-buttons" }, controls), said = htmlNode("span", {}, row);
    button(row, text, () => { stop(); put({ [key]: Object.keys(words).find((v) => v !== get(key)) }); });
    return (value) => { said.textContent = words[value]; };
  };
  const go = htmlNode("div", { class: "vf-buttons" }, controls);
  button(go, "Let go", letGo);
  button(go, "Back to the start", () => take({ mu: -0.7, sigma: 0.9 }));
  const show = {
    mu: sliderRow(controls, { label: "mean μ", spoken: "mean of q", min: MU[0], max: MU[1], step: 0.01, digits: 2, onInput: (v) => take({ mu: v }) }),
    sigma: sliderRow(controls, { label: "width σ", spoken: "standard deviation of q", min: SIGMA[0], max: SIGMA[1], step: 0.01, digits: 2, onInput: (v) => take({ sigma: v }) }),
    direction: toggle("direction", "Turn it round", { reverse: "Height: KL(q‖p)", forward: "Height: KL(p‖q)" }),
    target: toggle("target", "Take the other", { bumps: "Target: two bumps", step: "Target: skewed, as in 3.1" }),
  };
  onDrag(handle, plane, (x, y) => take({ mu: round(clamp(unpx(x), ...MU)), sigma: round(clamp(unpy(y), ...SIGMA)) }));

  const ledger = htmlNode("table", { class: "vf-ledger" }, lower);
  const body = htmlNode("tbody", {}, ledger);
  const entry = (key, text) => {
    const tr = htmlNode("tr", {}, body);
    const th = htmlNode("th", { scope: "row", text }, tr);
    return [th, htmlNode("td", { "data-term": key }, tr)];
  };
  const TERMS = { reverse: "KL(q‖p)", forward: "KL(p‖q)" };
  const cells = { reverse: entry("reverse", ""), forward: entry("forward", ""), found: entry("found", "minima found so far") };
  const say = announcer(box);

  const map = () => { // what depends on target and direction, and not on q
    const name = get("target"), direction = get("direction"), columns = 85, rows = 61, values = [];
    for (let j = 0; j < rows; j++) for (let i = 0; i < columns; i++)
      values.push(height(direction, name, MU[0] + (i / (columns - 1)) * (MU[1] - MU[0]), SIGMA[0] * Math.exp((j / (rows - 1)) * span), COARSE));
    const at = ([i, j]) => [LEFT + (i / (columns - 1)) * (RIGHT - LEFT), LOW - (j / (rows - 1)) * (LOW - TOP)];
    lines.replaceChildren();
    names.replaceChildren();
    for (const level of LEVELS) {
      const pieces = contour(values, columns, rows, level).map((piece) => piece.map(at));
      if (!pieces.length) continue;
      svgNode("path", { d: pieces.map(([a, b]) => `M${a[0].toFixed(1)} ${a[1].toFixed(1)}L${b[0].toFixed(1)} ${b[1].toFixed(1)}`).join("") }, lines);
      if (![0.5, 1.3, 2.5, 7].includes(level)) continue;
      const [[x, y]] = pieces.reduce((a, b) => (b[0][1] < a[0][1] ? b : a)); // its highest point
      svgNode("text", { x: clamp(x, LEFT + 14, RIGHT - 14).toFixed(1), y: (clamp(y, TOP + 8, LOW) + 4).toFixed(1), "text-anchor": "middle", class: "vf-tick vf-halo vf-name vf-num", text: fixed(level, 1) }, names);
    }
    const t = TARGETS[name], zs = Array.from({ length: 401 }, (_, i) => -5 + i / 40);
    targetPath.setAttribute("d", "M" + zs.map((z) => `${X(z).toFixed(1)} ${Y(Math.exp(t.log(z) - t.logZ)).toFixed(1)}`).join("L") + "Z");
    setAll(targetLabel, { y: name === "bumps" ? Y(0.33) - 8 : Y(0.72) });
    found = [];
    rests.replaceChildren();
    trail.setAttribute("d", "");
    show.direction(direction);
    show.target(name);
    for (const key of ["reverse", "forward"]) cells[key][0].textContent = `${TERMS[key]}, nats${key === direction ? " (the height of the map)" : ""}`;
  };
  const draw = () => {
    const mu = get("mu"), sigma = get("sigma"), direction = get("direction"), name = get("target");
    show.mu(mu); show.sigma(sigma);
    setAll(handle, { transform: `translate(${px(clamp(mu, ...MU)).toFixed(1)} ${py(clamp(sigma, ...SIGMA)).toFixed(1)})` });
    const zs = Array.from({ length: 241 }, (_, i) => mu + (sigma * (i - 120)) / 24).filter((z) => z >= -5 && z <= 5);
    qPath.setAttribute("d", "M" + zs.map((z) => `${X(z).toFixed(1)} ${Math.max(Y(normalDensity(z, mu, sigma)), ROOF + 8).toFixed(1)}`).join("L"));
    const top = Y(normalDensity(mu, mu, sigma)) - 8;
    setAll(qLabel, { x: X(mu).toFixed(1), y: (top > ROOF ? top : ROOF + 28).toFixed(1) }); // inside, where q is cut off
    setAll(targetLabel, { x: X(name === "step" ? -1.2 : mu < 0 ? 2 : -2) }); // over the bump where q is not
    const kl = { reverse: reverseKl(name, mu, sigma), forward: forwardKl(name, mu, sigma) };
    cells.reverse[1].textContent = fixed(kl.reverse, 3);
    cells.forward[1].textContent = fixed(kl.forward, 3);
    cells.found[1].textContent = String(found.length);
    const steep = Math.hypot(...slopes(direction, name, mu, sigma));
    const story = steep < 2e-3
      ? `At rest: no small step makes ${TERMS[direction]} smaller than ${fixed(kl[direction], 3)} nats. ${direction === "forward" ? "This is the only such place: q has the mean and the variance of p." : name === "bumps" ? "Is it the best place? Let go elsewhere and compare." : "q stays away from the cliff on the left."}`
      : direction === "reverse" ? "The plane shows KL(q‖p): q is punished for standing where p is not. Let it go."
        : "The plane shows KL(p‖q): q is punished for missing a place where p is. Let it go.";
    message.textContent = story;
    planeTitle.textContent = `Map of ${TERMS[direction]} over mean and standard deviation of q; q is at mean ${fixed(mu, 2)}, standard deviation ${fixed(sigma, 2)}, height ${fixed(kl[direction], 3)} nats.`;
    plotTitle.textContent = `Densities over z: the target, ${name === "bumps" ? "two bumps at −2 and 2" : "a Gaussian cut off on the left"}, and q with mean ${fixed(mu, 2)} and standard deviation ${fixed(sigma, 2)}.`;
    say(`${story} KL(q‖p) ${fixed(kl.reverse, 2)}, KL(p‖q) ${fixed(kl.forward, 2)} nats.`);
  };
  const both = () => { map(); draw(); };
  const quiet = [listen(model, ["mu", "sigma"], draw), listen(model, ["target", "direction"], both)];
  both();
  el.__vf = { name: "kl_plane", reverseKl, forwardKl, slopes, descend };
  return () => { quiet.forEach((f) => f()); stop(); say.stop(); };
}
export default { render };
