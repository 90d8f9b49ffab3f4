// Each family: noise as a quantile h of (0, 1), z = g(noise, φ) and its slope in φ at fixed noise.
const normalQuantile = (h) => {
  // Newton's method on the CDF, which is integrated by its continued fraction or series.
  if (h === 0.5) return 0;
  if (h > 0.5) return -normalQuantile(1 - h);
  let z = -Math.sqrt(Math.max(0, -2 * Math.log(2 * h)));
  for (let i = 0; i < 60; i++) {
    const step = (normalCdf(z) - h) / normalDensity(z, 0, 1);
    // A step in the logarithm keeps the far tail in reach.
    const move = clamp(step, -0.5, 0.5);
    z -= move;
    if (Math.abs(move) < 1e-13) break;
  }
  return z;
};
const normalCdf = (z) => {
  if (z > 0) return 1 - normalCdf(-z);
  const x = -z;
  if (x > 5) { // continued fraction of the tail
    let f = x;
    for (let k = 60; k > 0; k--) f = x + k / f;
    return normalDensity(x, 0, 1) / f;
  }
  let sum = x, term = x;
  for (let k = 1; k < 200; k++) {
    term *= (x * x) / (2 * k + 1);
    sum += term;
  }
  return 0.5 - sum * normalDensity(x, 0, 1);
};
const FAMILY = {
  exponential: { sign: "λ", word: "rate", formula: "z = −log(1 − u) / λ", range: [0.4, 3], step: 0.05, start: 1, z: [0, 4], noise: "u", g: (h, p) => -Math.log1p(-h) / p, slope: (h, p) => Math.log1p(-h) / (p * p), density: (z, p) => (z < 0 ? 0 : p * Math.exp(-p * z)) },
  logistic: { sign: "b", word: "scale", formula: "z = b log(u / (1 − u))", range: [0.3, 1.5], step: 0.05, start: 1, z: [-5, 5], noise: "u", g: (h, p) => p * (Math.log(h) - Math.log1p(-h)), slope: (h) => Math.log(h) - Math.log1p(-h), density: (z, p) => 1 / (4 * p * Math.cosh(z / (2 * p)) ** 2) },
  Gumbel: { sign: "b", word: "scale", formula: "z = −b log(−log u)", range: [0.3, 1.5], step: 0.05, start: 1, z: [-3, 6], noise: "u", g: (h, p) => -p * Math.log(-Math.log(h)), slope: (h) => -Math.log(-Math.log(h)), density: (z, p) => Math.exp(-z / p - Math.exp(-z / p)) / p },
  Gaussian: { sign: "σ", word: "standard deviation", formula: "z = σ ε", range: [0.3, 1.8], step: 0.05, start: 1, z: [-4, 4], noise: "ε", g: (h, p) => p * normalQuantile(h), slope: (h) => normalQuantile(h), density: (z, p) => normalDensity(z, 0, p) },
  "log-normal": { sign: "σ", word: "standard deviation of log z", formula: "z = exp(σ ε)", range: [0.2, 1.2], step: 0.05, start: 0.6, z: [0, 6], noise: "ε", g: (h, p) => Math.exp(p * normalQuantile(h)), slope: (h, p) => normalQuantile(h) * Math.exp(p * normalQuantile(h)), density: (z, p) => (z <= 0 ? 0 : normalDensity(Math.log(z), 0, p) / z) },
  coin: { sign: "π", word: "probability of a 1", formula: "z = 1 if u < π, else 0", range: [0.05, 0.95], step: 0.05, start: 0.6, z: [-0.5, 1.5], noise: "u", g: (h, p) => (h < p ? 1 : 0), slope: () => 0 },
};

function render({ model, el }) {
  const get = (k) => model.get(k), box = scaffold(el, "Noise goes in, draws come out: move φ, and each draw slides");
  const NAMES = Object.keys(FAMILY);
  const pick = htmlNode("div", { class: "vf-buttons vf-control" }, box);
  const W = 520, H = 372, LEFT = 44, RIGHT = 392, TOP = 12, BASE = 246, FLOOR = 336, END = W - 8;
  const svg = svgNode("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", style: "max-width:38rem;margin:auto" }, htmlNode("div", {}, box));
  const title = svgNode("title", {}, svg);
  const clipId = `vf-clip-${Math.random().toString(36).slice(2)}`;
  svgNode("rect", { x: LEFT, y: TOP, width: RIGHT - LEFT, height: BASE - TOP }, svgNode("clipPath", { id: clipId }, svgNode("defs", {}, svg)));
  const ticks = svgNode("g", {}, svg), noiseBars = svgNode("g", {}, svg), drawBars = svgNode("g", {}, svg);
  svgNode("path", { d: `M${LEFT} ${TOP}V${BASE}H${RIGHT}M${RIGHT + 10} ${TOP}V${BASE}M${LEFT} ${BASE + 14}H${RIGHT}`, fill: "none", stroke: "var(--vf-fg)" }, svg);
  const inside = svgNode("g", { "clip-path": `url(#${clipId})` }, svg);
  const curve = svgNode("path", { fill: "none", stroke: "var(--vf-q)", "stroke-width": 3, "data-curve": "g" }, inside);
  const ghost = svgNode("path", { fill: "none", stroke: "var(--vf-q)", "stroke-width": 1.5, "stroke-dasharray": "5 4" }, inside);
  const guide = svgNode("path", { fill: "none", stroke: "var(--vf-fg)", "stroke-dasharray": "3 3" }, svg);
  const arrow = svgNode("path", { fill: "none", stroke: "var(--vf-kl)", "stroke-width": 4, "data-arrow": "slope" }, svg);
  const dot = svgNode("circle", { r: 6, fill: "var(--vf-q)", stroke: "var(--vf-bg)", "stroke-width": 2 }, svg);
  const big = "font-size:17px";
  svgNode("text", { x: LEFT + 6, y: TOP + 14, class: "vf-halo vf-strong", style: big, "data-formula": "1" }, svg);
  const formula = svg.lastChild;
  svgNode("text", { x: END, y: BASE + 20, "text-anchor": "end", style: `${big};text-anchor:end`, text: "draws z" }, svg);
  const axis = svgNode("text", { x: END, y: FLOOR + 26, "text-anchor": "end", style: `${big};text-anchor:end` }, svg);
  const handle = svgNode("g", { class: "vf-handle", "data-handle": "noise" }, svg);
  svgNode("circle", { r: 24, fill: "transparent" }, handle);
  svgNode("path", { d: "M0 -10 9 6 -9 6Z", fill: "var(--vf-fg)", stroke: "var(--vf-bg)", "stroke-width": 2 }, handle);

  const message = htmlNode("p", { class: "vf-message" }, box);
  const lower = htmlNode("div", { class: "vf-panels" }, box);
  const controls = htmlNode("div", { class: "vf-control" }, lower);
  const put = (values) => {
    for (const k in values) model.set(k, values[k]);
    model.save_changes();
  };
  const buttons = NAMES.map((name) => button(pick, name, () => put({ family: name, parameter: FAMILY[name].start })));
  const share = sliderRow(controls, { label: "noise", spoken: "share of noise below the marked draw", min: 0.02, max: 0.98, step: 0.01, digits: 2, onInput: (v) => put({ height: v }) });
  const rowFor = htmlNode("div", {}, controls);
  let show = null, shown = "";
  const parameterRow = (name) => {
    const f = FAMILY[name];
    rowFor.replaceChildren();
    show = sliderRow(rowFor, { label: `φ = ${f.sign}`, spoken: f.word, min: f.range[0], max: f.range[1], step: f.step, digits: 2, onInput: (v) => put({ parameter: v }) });
    shown = name;
  };
  const table = htmlNode("table", { class: "vf-ledger" }, lower), body = htmlNode("tbody", {}, table);
  const entry = (key, text) => {
    const tr = htmlNode("tr", {}, body);
    htmlNode("th", { scope: "row", text }, tr);
    return htmlNode("td", { "data-term": key }, tr);
  };
  const cells = { noise: entry("noise", "marked noise"), z: entry("z", "its draw z"), slope: entry("slope", "its slope dz/dφ") };
  const say = announcer(box);

  // The noise axis: u itself, or ε between −3 and 3.
  const low = (f) => (f.noise === "u" ? 0 : -3), high = (f) => (f.noise === "u" ? 1 : 3);
  const noiseAt = (f, h) => (f.noise === "u" ? h : normalQuantile(h));
  const px = (f, e) => LEFT + ((e - low(f)) / (high(f) - low(f))) * (RIGHT - LEFT);
  const py = (f, z) => BASE - ((z - f.z[0]) / (f.z[1] - f.z[0])) * (BASE - TOP);
  onDrag(handle, svg, (x) => {
    const f = FAMILY[get("family")], e = low(f) + ((x - LEFT) / (RIGHT - LEFT)) * (high(f) - low(f));
    put({ height: clamp(Math.round(100 * (f.noise === "u" ? e : normalCdf(e))) / 100, 0.02, 0.98) });
  });

  const BINS = 24, HEIGHTS = Array.from({ length: 399 }, (_, i) => (i + 1) / 400);
  const draw = () => {
    const name = get("family"), f = FAMILY[name], p = get("parameter"), h = get("height");
    if (shown !== name) parameterRow(name);
    show(p); share(h);
    buttons.forEach((b, i) => b.setAttribute("aria-pressed", String(NAMES[i] === name)));
    formula.textContent = f.formula;
    axis.textContent = f.noise === "u" ? "noise u" : "noise ε";
    ticks.replaceChildren(); noiseBars.replaceChildren(); drawBars.replaceChildren();
    for (const v of f.noise === "u" ? [0, 0.5, 1] : [-2, 0, 2]) svgNode("text", { x: px(f, v), y: FLOOR + 26, "text-anchor": "middle", class: "vf-num", style: `${big};text-anchor:middle`, text: String(fixed(v, v % 1 ? 1 : 0)) }, ticks);
    const gap = f.z[1] - f.z[0] > 5 ? 2 : 1;
    for (let v = gap * Math.ceil(f.z[0] / gap); v <= f.z[1]; v += gap) svgNode("text", { x: LEFT - 6, y: py(f, v) + 5, class: "vf-num", style: `${big};text-anchor:end`, text: fixed(v, 0) }, ticks);
    // Equal steps of h are equal shares of noise, so counting them fills both histograms.
    const counts = (values, a, b) => {
      const n = Array(BINS).fill(0);
      for (const v of values) { const k = Math.floor(((v - a) / (b - a)) * BINS); if (k >= 0 && k < BINS) n[k]++; }
      return n;
    };
    const fine = Array.from({ length: 4800 }, (_, i) => (i + 0.5) / 4800);
    const below = counts(fine.map((u) => noiseAt(f, u)), low(f), high(f)), most = Math.max(...below);
    below.forEach((c, k) => svgNode("rect", { x: LEFT + (k / BINS) * (RIGHT - LEFT), y: BASE + 14, width: (RIGHT - LEFT) / BINS - 1, height: (54 * c) / most, fill: "var(--vf-prior)" }, noiseBars));
    const right = counts(fine.map((u) => f.g(u, p)), ...f.z), top = Math.max(...right, 1);
    const tall = (BASE - TOP) / BINS;
    right.forEach((c, k) => svgNode("rect", { x: RIGHT + 10, y: BASE - (k + 1) * tall, width: ((END - RIGHT - 10) * c) / top, height: tall - 1, fill: "var(--vf-posterior)", "data-bin": k }, drawBars));
    const path = (q) => {
      let d = "", last = null;
      for (const u of HEIGHTS) {
        const z = f.g(u, q), jump = name === "coin" && last !== null && z !== last;
        d += `${d && !jump ? "L" : "M"}${px(f, noiseAt(f, u)).toFixed(1)} ${clamp(py(f, z), -900, 900).toFixed(1)}`;
        last = z;
      }
      return d;
    };
    curve.setAttribute("d", path(p));
    const dp = Math.min(0.15 * (f.range[1] - f.range[0]), f.range[1] - p);
    ghost.setAttribute("d", dp > 1e-9 ? path(p + dp) : "");
    const e = noiseAt(f, h), z = f.g(h, p), slope = f.slope(h, p);
    const x = px(f, e), y = clamp(py(f, z), TOP, BASE);
    setAll(guide, { d: `M${x.toFixed(1)} ${FLOOR - 4}V${y.toFixed(1)}H${END}` });
    setAll(dot, { cx: x.toFixed(1), cy: y.toFixed(1) });
    handle.setAttribute("transform", `translate(${x.toFixed(1)} ${FLOOR})`);
    const reach = clamp(-slope * 22, TOP - y, BASE - y), s = Math.sign(reach);
    arrow.setAttribute("d", Math.abs(reach) < 3 ? "" : `M${x.toFixed(1)} ${y.toFixed(1)}v${reach.toFixed(1)}m-6 ${-s * 8}l6 ${s * 8}l6 ${-s * 8}`);
    cells.noise.textContent = fixed(e, 3); cells.z.textContent = fixed(z, 3); cells.slope.textContent = fixed(slope, 3);
    const story = name === "coin" ? `A coin jumps. Move π a little: the marked draw stays at ${fixed(z, 0)}, its slope is zero, and yet the share of ones changes. There is no path.`
      : Math.abs(slope) < 0.005 ? `As ${f.sign} grows, this draw stays where it is: its slope is zero here, and not elsewhere.`
      : `As ${f.sign} grows, this draw moves ${slope > 0 ? "up" : "down"}, at the rate ${fixed(Math.abs(slope), 2)}. The noise stays. The dashed curve is g for a larger ${f.sign}.`;
    message.textContent = story;
    title.textContent = `Noise, the curve ${f.formula} with ${f.sign} = ${fixed(p, 2)}, and the histogram of its draws. Marked: noise ${fixed(e, 2)}, draw ${fixed(z, 2)}, slope ${fixed(slope, 2)}.`;
    say(story);
  };
  const quiet = listen(model, ["family", "parameter", "height"], draw);
  draw();
  el.__vf = { name: "reparameterize", FAMILY, normalQuantile, normalCdf };
  return () => { quiet(); say.stop(); };
}
export default { render };
