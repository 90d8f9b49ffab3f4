// What one entry costs, nats: ½ log 2πσ² + MSE/(2σ²). Its minimum is at σ² = MSE.
const cost = (sigma, mse) => 0.5 * (LOG_2PI + mse / sigma ** 2) + Math.log(sigma);
// The KL weight beside half the sum of squares, and beside their mean over D entries.
const weights = (sigma, dimensions) => ({ beta: sigma ** 2, mean: (2 * sigma ** 2) / dimensions });
const above = (sigma, eigenvalues) => eigenvalues.filter((v) => v > sigma ** 2).length;

function render({ model, el }) {
  const box = scaffold(el, "One σ decides what a squared error is worth");
  const KINDS = { all: "all pixels", ink: "ink", background: "background" };
  const LOW = 0.01, HIGH = 3;  // of σ
  const put = (values) => {
    for (const k in values) model.set(k, values[k]);
    model.save_changes();
  };
  const panels = htmlNode("div", { class: "vf-panels" }, box);

  // Left: the residuals and their Gaussian, on a logarithmic density axis.
  const W = 500, H = 316, LEFT = 52, RIGHT = 14, TOP = 10, BASE = 262, BOTTOM = -3, CEIL = 1.7;
  const px = (r) => LEFT + ((r + 1) / 2) * (W - LEFT - RIGHT);
  const py = (density) => BASE - ((clamp(Math.log10(Math.max(density, 1e-9)), -9, 9) - BOTTOM) / (CEIL - BOTTOM)) * (BASE - TOP);
  const leftSide = htmlNode("div", {}, panels);
  htmlNode("div", { class: "vf-caption", text: "density of the residual x − m(z)" }, leftSide);
  const plot = svgNode("svg", { viewBox: `0 0 ${W} ${H}`, role: "img" }, leftSide);
  const plotTitle = svgNode("title", {}, plot);
  const clipId = `vf-clip-${Math.random().toString(36).slice(2)}`;
  svgNode("rect", { x: LEFT, y: TOP, width: W - LEFT - RIGHT, height: BASE - TOP }, svgNode("clipPath", { id: clipId }, svgNode("defs", {}, plot)));
  for (let k = BOTTOM; k <= 1; k++) {
    svgNode("line", { x1: LEFT, x2: W - RIGHT, y1: py(10 ** k), y2: py(10 ** k), stroke: "var(--vf-faint)" }, plot);
    svgNode("text", { x: LEFT - 6, y: py(10 ** k) + 5, style: "font-size:15px;text-anchor:end", class: "vf-num", text: String(10 ** k) }, plot);
  }
  for (const r of [-1, -0.5, 0, 0.5, 1]) {
    svgNode("text", { x: px(r), y: BASE + 20, style: `font-size:15px;text-anchor:${r === 1 ? "end" : "middle"}`, class: "vf-num", text: fixed(r, r % 1 ? 1 : 0) }, plot);
  }
  svgNode("text", { x: W - RIGHT, y: BASE + 42, style: "font-size:15px;text-anchor:end", text: "residual, 1 = from black to white" }, plot);
  const inside = svgNode("g", { "clip-path": `url(#${clipId})` }, plot);
  const bars = svgNode("path", { fill: "var(--vf-soft)", "fill-opacity": 0.3, stroke: "var(--vf-soft)", "stroke-width": 1 }, inside);
  const curve = svgNode("path", { fill: "none", stroke: "var(--vf-model)", "stroke-width": 2.5 }, inside);

  // Right: the cost of a pixel against σ.
  const V = 500, U = 316, FLOOR = -2, ROOF = 6;
  const sx = (s) => LEFT + (Math.log(s / LOW) / Math.log(HIGH / LOW)) * (V - LEFT - RIGHT);
  const sy = (c) => BASE - ((c - FLOOR) / (ROOF - FLOOR)) * (BASE - TOP);
  const rightSide = htmlNode("div", {}, panels);
  htmlNode("div", { class: "vf-caption", text: "cost of a pixel, nats" }, rightSide);
  const second = svgNode("svg", { viewBox: `0 0 ${V} ${U}`, role: "img" }, rightSide);
  const secondTitle = svgNode("title", {}, second);
  const clip2 = `${clipId}-2`;
  svgNode("rect", { x: LEFT, y: TOP, width: V - LEFT - RIGHT, height: BASE - TOP }, svgNode("clipPath", { id: clip2 }, svgNode("defs", {}, second)));
  for (let c = FLOOR; c <= ROOF; c += 2) {
    svgNode("line", { x1: LEFT, x2: V - RIGHT, y1: sy(c), y2: sy(c), stroke: c ? "var(--vf-faint)" : "var(--vf-soft)" }, second);
    svgNode("text", { x: LEFT - 6, y: sy(c) + 5, style: "font-size:15px;text-anchor:end", class: "vf-num", text: fixed(c, 0) }, second);
  }
  for (const s of [0.01, 0.1, 1]) svgNode("text", { x: sx(s), y: BASE + 20, style: "font-size:15px;text-anchor:middle", class: "vf-num", text: String(s) }, second);
  svgNode("text", { x: V - RIGHT, y: BASE + 42, style: "font-size:15px;text-anchor:end", text: "σ" }, second);
  const costs = svgNode("path", { fill: "none", stroke: "var(--vf-reconstruction)", "stroke-width": 2.5, "clip-path": `url(#${clip2})` }, second);
  const best = svgNode("line", { y1: TOP, y2: BASE, stroke: "var(--vf-soft)", "stroke-dasharray": "3 4" }, second);
  const bestLabel = svgNode("text", { y: TOP + 16, style: "font-size:15px", text: "best" }, second);
  const dot = svgNode("circle", { r: 7, fill: "var(--vf-model)", stroke: "var(--vf-bg)", "stroke-width": 1.5 }, second);
  const grip = svgNode("rect", { y: TOP, width: 48, height: BASE - TOP, fill: "transparent", class: "vf-handle" }, second);
  onDrag(grip, second, (u) => put({ sigma: clamp(LOW * (HIGH / LOW) ** ((u - LEFT) / (V - LEFT - RIGHT)), LOW, HIGH) }));

  const message = htmlNode("p", { class: "vf-message" }, box);
  const lower = htmlNode("div", { class: "vf-panels" }, box);
  const controls = htmlNode("div", { class: "vf-control" }, lower);
  const rowLabel = htmlNode("label", { class: "vf-row" }, controls);
  htmlNode("span", { text: "σ" }, rowLabel);
  const input = htmlNode("input", { type: "range", min: -2, max: Math.log10(HIGH), step: 0.01, "aria-label": "standard deviation σ, on a logarithmic scale" }, rowLabel);
  const value = htmlNode("span", { class: "vf-num", "aria-hidden": "true" }, rowLabel);
  input.addEventListener("input", () => put({ sigma: clamp(10 ** Number(input.value), LOW, HIGH) }));
  const kinds = htmlNode("div", { class: "vf-buttons" }, controls), buttons = {};
  for (const k in KINDS) buttons[k] = button(kinds, KINDS[k], () => put({ which: k }));
  let stop = () => {};
  const row = htmlNode("div", { class: "vf-buttons" }, controls);
  const go = (sigma) => {
    stop();
    stop = glide([Math.log(model.get("sigma"))], [Math.log(sigma)], ([v]) => put({ sigma: clamp(Math.exp(v), LOW, HIGH) }));
  };
  button(row, "Best σ", () => go(Math.sqrt(model.get("mse")[model.get("which")])));
  button(row, "σ = 1", () => go(1));

  const table = htmlNode("table", { class: "vf-ledger" }, lower);
  htmlNode("caption", { text: "what this σ says" }, table);
  const body = htmlNode("tbody", {}, table), cells = {};
  const D = model.get("dimensions"), TERMS = {
    cost: "cost of a pixel, nats",
    rmse: "it is smallest at σ =",
    beta: "β beside ½ sum of squares",
    mean: `KL weight beside their mean over ${D}`,
    kept: `directions of the data above σ², of ${D}`,
  };
  for (const k in TERMS) {
    const tr = htmlNode("tr", {}, body);
    htmlNode("th", { scope: "row", text: TERMS[k] }, tr);
    cells[k] = htmlNode("td", { "data-term": k }, tr);
  }
  const say = announcer(box);

  const draw = () => {
    const sigma = model.get("sigma"), which = model.get("which"), mse = model.get("mse")[which];
    const histogram = model.get("histograms")[which], n = histogram.length, rmse = Math.sqrt(mse);
    input.value = Math.log10(sigma);
    input.setAttribute("aria-valuetext", `σ ${sigma.toPrecision(3)}`);
    value.textContent = sigma < 0.1 ? sigma.toFixed(3) : sigma.toFixed(2);
    for (const k in buttons) buttons[k].setAttribute("aria-pressed", String(k === which));
    const step = histogram.map((h, i) => `L${px(-1 + (2 * i) / n).toFixed(1)} ${py(h).toFixed(1)}L${px(-1 + (2 * (i + 1)) / n).toFixed(1)} ${py(h).toFixed(1)}`).join("");
    bars.setAttribute("d", `M${px(-1)} ${py(1e-9)}${step}L${px(1)} ${py(1e-9)}Z`);
    const places = Array.from({ length: 401 }, (_, i) => -1 + i / 200);
    curve.setAttribute("d", `M${places.map((r) => `${px(r).toFixed(1)} ${py(normalDensity(r, 0, sigma)).toFixed(1)}`).join("L")}`);
    const scales = Array.from({ length: 201 }, (_, i) => LOW * (HIGH / LOW) ** (i / 200));
    costs.setAttribute("d", `M${scales.map((s) => `${sx(s).toFixed(1)} ${sy(Math.min(cost(s, mse), 60)).toFixed(1)}`).join("L")}`);
    setAll(best, { x1: sx(rmse), x2: sx(rmse) });
    bestLabel.setAttribute("x", sx(rmse) + 5);
    const now = cost(sigma, mse);
    setAll(dot, { cx: sx(sigma), cy: clamp(sy(now), TOP, BASE) });
    grip.setAttribute("x", sx(sigma) - 24);
    const w = weights(sigma, D);
    cells.cost.textContent = fixed(now, 2);
    cells.rmse.textContent = rmse.toPrecision(3);
    cells.beta.textContent = w.beta.toPrecision(3);
    cells.mean.textContent = w.mean.toPrecision(3);
    cells.kept.textContent = String(above(sigma, model.get("eigenvalues")));
    const extra = now - cost(rmse, mse), ratio = sigma / rmse;
    const story = Math.abs(Math.log(ratio)) < 0.02
      ? `The best σ for ${KINDS[which]} is their root mean squared error. The curve still does not fit: a spike and long tails are no Gaussian.`
      : ratio < 1
        ? `σ is ${ratio.toPrecision(2)} of the best: the misses are too dear, ${extra.toFixed(extra < 10 ? 2 : 0)} nats a pixel more than needed.`
        : `σ is ${ratio.toPrecision(2)} times the best: everything is vague, ${extra.toFixed(2)} nats a pixel more than needed.`;
    message.textContent = story;
    plotTitle.textContent = `Histogram of residuals of ${KINDS[which]} from −1 to 1 with a Gaussian of standard deviation ${sigma.toPrecision(3)}, densities on a logarithmic axis. ${story}`;
    secondTitle.textContent = `Cost of a pixel against σ from 0.01 to 3: steep to the left of its minimum at ${rmse.toPrecision(3)}, flat to the right. Now ${fixed(now, 2)} nats.`;
    say(story);
  };
  const quiet = listen(model, ["sigma", "which"], draw);
  draw();
  el.__vf = { name: "residual_sigma", cost, weights, above };
  return () => { quiet(); stop(); say.stop(); };
}
export default { render };
