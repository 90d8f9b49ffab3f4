// R2: z ~ N(0, 1), x | z ~ N(m(z), σ² I) in the plane. One latent number: every integral is a sum.
const curvePoint = (z) => [1.2 * Math.sin(1.4 * z), 0.5 * z + 0.25 * Math.cos(2.8 * z)];
const curvePosterior = (x1, x2, sigma) => {
  const n = 4001, step = 12 / 4000, z = new Float64Array(n), density = new Float64Array(n);
  let highest = -Infinity;
  for (let g = 0; g < n; g++) {
    z[g] = -6 + g * step;
    const [m1, m2] = curvePoint(z[g]);
    density[g] = normalLogDensity(x1, m1, sigma) + normalLogDensity(x2, m2, sigma) + normalLogDensity(z[g], 0, 1);
    highest = Math.max(highest, density[g]);
  }
  let sum = 0, mean = 0, square = 0;
  for (let g = 0; g < n; g++) {
    density[g] = Math.exp(density[g] - highest);
    sum += density[g]; mean += density[g] * z[g]; square += density[g] * z[g] * z[g];
  }
  mean /= sum;
  const peaks = [];
  for (let g = 0; g < n; g++) density[g] /= sum * step;
  const top = Math.max(...density);
  for (let g = 1; g < n - 1; g++) {
    if (density[g] > density[g - 1] && density[g] >= density[g + 1] && density[g] > 0.02 * top) peaks.push(z[g]);
  }
  return { logP: highest + Math.log(sum * step), mean, sd: Math.sqrt(Math.max(square / sum - mean * mean, 0)), peaks, z, density };
};

function render({ model, el }) {
  const get = (k) => model.get(k);
  const X1 = [-2, 2], X2 = [-1.8, 1.8], SIGMA = [0.05, 1];
  const box = scaffold(el, "Drag x: the posterior may jump, split, or widen");
  const panels = htmlNode("div", { class: "vf-panels" }, box);

  // Left: the plane, with the curve, beads of posterior mass on it, and the observation.
  const W = 340, H = 326, SCALE = 70, CX = 178, CY = 150, LEFT = -2.15, FOOT = -2.1, EDGE = 4; // z is drawn up to EDGE
  const px = (v) => CX + SCALE * v, py = (v) => CY - SCALE * v;
  const plane = svgNode("svg", { viewBox: `0 0 ${W} ${H}`, role: "img" }, htmlNode("div", {}, panels));
  const planeTitle = svgNode("title", {}, plane);
  svgNode("path", { d: `M${px(LEFT)} ${py(FOOT)}H${px(2.2)}M${px(LEFT)} ${py(FOOT)}V${py(2.1)}`, fill: "none", stroke: "var(--vf-fg)" }, plane);
  for (const v of [-1, 0, 1]) {
    svgNode("text", { x: px(v), y: py(FOOT) + 16, "text-anchor": "middle", class: "vf-tick vf-num", text: fixed(v, 0) }, plane);
    svgNode("text", { x: px(LEFT) - 6, y: py(v) + 4, "text-anchor": "end", class: "vf-tick vf-num", text: fixed(v, 0) }, plane);
  }
  svgNode("text", { x: px(2.2), y: py(FOOT) + 16, "text-anchor": "end", class: "vf-tick", text: "x₁" }, plane);
  svgNode("text", { x: px(LEFT) - 6, y: py(2), "text-anchor": "end", class: "vf-tick", text: "x₂" }, plane);
  const line = Array.from({ length: 321 }, (_, i) => curvePoint(-EDGE + i / 40));
  svgNode("path", { d: "M" + line.map(([a, b]) => `${px(a).toFixed(1)} ${py(b).toFixed(1)}`).join("L"), fill: "none", stroke: "var(--vf-model)", "stroke-width": 2.5 }, plane);
  // One bead for each 0.05 of z; its area is the posterior mass there.
  const BEADS = Array.from({ length: 161 }, (_, i) => -EDGE + i * 0.05);
  const beads = BEADS.map((z) => {
    const [a, b] = curvePoint(z);
    return svgNode("circle", { cx: px(a).toFixed(1), cy: py(b).toFixed(1), r: 0, fill: "var(--vf-posterior)", "fill-opacity": 0.75 }, plane);
  });
  const noise = svgNode("circle", { fill: "none", stroke: "var(--vf-soft)", "stroke-dasharray": "3 3" }, plane);
  const handle = svgNode("g", { class: "vf-handle" }, plane);
  handle.dataset.handle = "x";
  svgNode("circle", { r: 24, fill: "transparent" }, handle); // a finger needs room
  svgNode("circle", { r: 8, fill: "var(--vf-fg)", stroke: "var(--vf-bg)", "stroke-width": 2 }, handle);
  const name = svgNode("text", { class: "vf-halo vf-strong", text: "x" }, plane);

  // Right: densities over z.
  const PW = 340, PH = 326, BASE = 282, TOP = 34;
  const qx = (z) => 14 + ((z + EDGE) / (2 * EDGE)) * (PW - 28);
  const plot = svgNode("svg", { viewBox: `0 0 ${PW} ${PH}`, role: "img" }, htmlNode("div", {}, panels));
  const plotTitle = svgNode("title", {}, plot);
  svgNode("line", { x1: qx(-EDGE), x2: qx(EDGE), y1: BASE, y2: BASE, stroke: "var(--vf-fg)" }, plot);
  for (let z = -EDGE; z <= EDGE; z++) {
    svgNode("text", { x: qx(z), y: BASE + 17, "text-anchor": "middle", class: "vf-tick vf-num", text: fixed(z, 0) }, plot);
  }
  svgNode("text", { x: qx(EDGE), y: BASE + 34, "text-anchor": "end", class: "vf-tick", text: "latent z (prior standard deviations)" }, plot);
  const priorPath = svgNode("path", { fill: "none", stroke: "var(--vf-prior)", "stroke-width": 2, "stroke-dasharray": "6 4" }, plot);
  const posteriorPath = svgNode("path", { fill: "var(--vf-posterior)", "fill-opacity": 0.3, stroke: "var(--vf-posterior)", "stroke-width": 2.5 }, plot);
  const priorLabel = svgNode("text", { class: "vf-halo", "text-anchor": "middle", text: "prior p(z)" }, plot);
  const posteriorLabel = svgNode("text", { class: "vf-halo", "text-anchor": "middle", y: 20, text: "posterior p(z | x)" }, plot);

  const message = htmlNode("p", { class: "vf-message" }, box);
  const lower = htmlNode("div", { class: "vf-panels" }, box);
  const controls = htmlNode("div", { class: "vf-control" }, lower);
  let stop = () => {};
  const put = (values) => {
    for (const k in values) model.set(k, values[k]);
    model.save_changes();
  };
  const take = (values) => { stop(); put(values); };
  const round = (v) => Math.round(v * 1000) / 1000;
  const show = {
    x1: sliderRow(controls, { label: "observed x₁", spoken: "first coordinate of x", min: X1[0], max: X1[1], step: 0.01, digits: 2, kind: "vf-data", onInput: (v) => take({ x1: v }) }),
    x2: sliderRow(controls, { label: "observed x₂", spoken: "second coordinate of x", min: X2[0], max: X2[1], step: 0.01, digits: 2, kind: "vf-data", onInput: (v) => take({ x2: v }) }),
    sigma: sliderRow(controls, { label: "noise σ", spoken: "standard deviation of the noise", min: SIGMA[0], max: SIGMA[1], step: 0.01, digits: 2, onInput: (v) => take({ sigma: v }) }),
  };
  const row = htmlNode("div", { class: "vf-buttons" }, controls);
  htmlNode("span", { text: "Set x to" }, row);
  for (const [letter, target] of [["A", [0, 0.25]], ["B", [1.1, 0.45]], ["C", [0, 0.85]], ["D", [1.5, -1]]]) {
    button(row, letter, () => {
      stop();
      stop = glide([get("x1"), get("x2")], target, ([x1, x2]) => put({ x1, x2 }));
    }, { "aria-label": `Set x to the observation ${letter}` });
  }
  onDrag(handle, plane, (p, q) => take({
    x1: round(clamp((p - CX) / SCALE, ...X1)), x2: round(clamp((CY - q) / SCALE, ...X2)),
  }));

  const ledger = htmlNode("table", { class: "vf-ledger" }, lower);
  const body = htmlNode("tbody", {}, ledger);
  const entry = (key, text) => {
    const tr = htmlNode("tr", {}, body);
    htmlNode("th", { scope: "row", text }, tr);
    return htmlNode("td", { "data-term": key }, tr);
  };
  const cells = {
    logP: entry("logP", "log p(x), nats"), mean: entry("mean", "mean of z given x"),
    sd: entry("sd", "its standard deviation (prior: 1)"), peaks: entry("peaks", "peaks of the posterior"),
  };
  const say = announcer(box);

  const draw = () => {
    const x1 = get("x1"), x2 = get("x2"), sigma = get("sigma"), t = curvePosterior(x1, x2, sigma);
    show.x1(x1); show.x2(x2); show.sigma(sigma);
    handle.setAttribute("transform", `translate(${px(x1).toFixed(1)} ${py(x2).toFixed(1)})`);
    setAll(noise, { cx: px(x1).toFixed(1), cy: py(x2).toFixed(1), r: (SCALE * sigma).toFixed(1) });
    setAll(name, { x: (px(x1) + 12).toFixed(1), y: (py(x2) - 8).toFixed(1) });
    const index = (z) => clamp(Math.round((z + 6) / 0.003), 0, 4000);
    beads.forEach((bead, i) => bead.setAttribute("r", Math.min(11, 22 * Math.sqrt(0.05 * t.density[index(BEADS[i])])).toFixed(2)));
    const top = Math.max(0.45, ...t.density), qy = (d) => BASE - (d / top) * (BASE - TOP);
    const path = (f) => {
      const points = [];
      for (let g = index(-EDGE); g <= index(EDGE); g += 5) points.push(`${qx(t.z[g]).toFixed(1)} ${qy(f(g)).toFixed(1)}`);
      return `M${qx(-EDGE)} ${BASE}L${points.join("L")}L${qx(EDGE)} ${BASE}`;
    };
    posteriorPath.setAttribute("d", path((g) => t.density[g]));
    priorPath.setAttribute("d", path((g) => normalDensity(t.z[g], 0, 1)));
    const high = t.peaks.reduce((a, b) => (t.density[index(b)] > t.density[index(a)] ? b : a), t.peaks[0] ?? t.mean);
    posteriorLabel.setAttribute("x", clamp(qx(high), 62, PW - 62).toFixed(1));
    const aside = high > 0 || t.mean > 0.3 ? -1.25 : 1.25;
    setAll(priorLabel, { x: qx(aside).toFixed(1), y: (qy(normalDensity(aside, 0, 1)) - 9).toFixed(1) });
    cells.logP.textContent = fixed(t.logP, 2);
    cells.mean.textContent = fixed(t.mean, 2);
    cells.sd.textContent = fixed(t.sd, 2);
    cells.peaks.textContent = t.peaks.length ? t.peaks.map((z) => fixed(z, 2)).join(", ") : "outside";
    const beyond = t.density.reduce((mass, d, g) => mass + (Math.abs(t.z[g]) > EDGE ? 0.003 * d : 0), 0);
    const story = beyond > 0.5 ? "The posterior lies beyond the edge of this picture: only a z that the prior hardly ever draws explains x."
      : t.sd > 1 ? "z now has a larger standard deviation than under the prior: places far apart explain x."
      : t.logP < -12 && t.sd < 0.3 ? "The model would hardly ever make such an x, and yet the posterior names its z with confidence."
      : t.peaks.length > 1 ? "More than one place on the curve explains x: the posterior has several peaks."
      : t.sd > 0.6 ? "With so much noise x says little: the posterior is close to the prior."
      : "One place on the curve explains x: the posterior has one peak.";
    message.textContent = story;
    planeTitle.textContent = `The plane: the curve, and the observation at ${fixed(x1, 2)}, ${fixed(x2, 2)}, with noise of standard deviation ${fixed(sigma, 2)}.`;
    plotTitle.textContent = `Densities over z: the prior N(0, 1), and the posterior with mean ${fixed(t.mean, 2)}, standard deviation ${fixed(t.sd, 2)} and peaks at ${cells.peaks.textContent}.`;
    say(`${story} log p of x ${fixed(t.logP, 2)} nats.`);
  };
  const quiet = listen(model, ["x1", "x2", "sigma"], draw);
  draw();
  el.__vf = { name: "curve_posterior", curvePosterior };
  return () => { quiet(); stop(); say.stop(); };
}
export default { render };
