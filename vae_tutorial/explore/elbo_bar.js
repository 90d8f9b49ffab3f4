// R1: z ~ N(0, 1), x | z ~ N(w z, s²), q(z) = N(μ, σ²). Everything is known in closed form.
const elboTerms = (mu, sigma, x, w, variance) => {
  const precision = 1 + (w * w) / variance;
  const posterior = { mean: ((w / variance) * x) / precision, sd: Math.sqrt(1 / precision) };
  const reconstruction = -0.5 * (LOG_2PI + Math.log(variance)) - ((x - w * mu) ** 2 + (w * sigma) ** 2) / (2 * variance);
  const kl = klNormal(mu, sigma, 0, 1);
  return {
    reconstruction, kl, elbo: reconstruction - kl,
    gap: klNormal(mu, sigma, posterior.mean, posterior.sd),
    logP: normalLogDensity(x, 0, Math.sqrt(w * w + variance)),
    posteriorMean: posterior.mean, posteriorSd: posterior.sd,
  };
};

function render({ model, el }) {
  const get = (k) => model.get(k), w = get("weight"), variance = get("variance");
  const MU = [-2.5, 2.5], SIGMA = [0.1, 2];
  const box = scaffold(el, "Drag q: the bars trade places, the line stays");
  const panels = htmlNode("div", { class: "vf-panels" }, box);

  // Left: densities over z, with a handle for the mean and one for the width.
  const W = 360, H = 262, BASE = 206, ROW = 222, TOP = 1.32;
  const px = (z) => 12 + ((z + 3) / 6) * (W - 24), unpx = (p) => ((p - 12) / (W - 24)) * 6 - 3;
  const py = (d) => BASE - (d / TOP) * (BASE - 26);
  const plot = svgNode("svg", { viewBox: `0 0 ${W} ${H}`, role: "img" }, htmlNode("div", {}, panels));
  const plotTitle = svgNode("title", {}, plot);
  const clipId = `vf-clip-${Math.random().toString(36).slice(2)}`;
  svgNode("rect", { x: 0, y: 4, width: W, height: BASE - 3 }, svgNode("clipPath", { id: clipId }, svgNode("defs", {}, plot)));
  svgNode("line", { x1: px(-3), x2: px(3), y1: BASE, y2: BASE, stroke: "var(--vf-fg)" }, plot);
  for (let z = -3; z <= 3; z++) {
    svgNode("line", { x1: px(z), x2: px(z), y1: BASE, y2: BASE + 4, stroke: "var(--vf-fg)" }, plot);
    svgNode("text", { x: px(z), y: 248, "text-anchor": "middle", class: "vf-tick vf-num", text: fixed(z, 0) }, plot);
  }
  svgNode("text", { x: px(3), y: 261, "text-anchor": "end", class: "vf-tick", text: "latent z (prior standard deviations)" }, plot);
  const curves = svgNode("g", { "clip-path": `url(#${clipId})` }, plot);
  const curve = (attributes) => svgNode("path", attributes, curves);
  const priorPath = curve({ fill: "none", stroke: "var(--vf-prior)", "stroke-width": 2 });
  const posteriorPath = curve({ fill: "var(--vf-posterior)", "fill-opacity": 0.14, stroke: "var(--vf-posterior)", "stroke-width": 2, "stroke-dasharray": "6 4" });
  const qPath = curve({ fill: "none", stroke: "var(--vf-q)", "stroke-width": 3 });
  const label = (text, more) => svgNode("text", { class: "vf-halo", text, ...more }, plot);
  const priorLabel = label("prior p(z)", { "text-anchor": "end" });
  const posteriorLabel = label("posterior p(z | x)", {});
  const stem = svgNode("line", { stroke: "var(--vf-q)", "stroke-width": 1.5, "stroke-dasharray": "2 3" }, plot);
  const beam = svgNode("line", { stroke: "var(--vf-q)", "stroke-width": 3, y1: ROW, y2: ROW }, plot);
  const ends = [0, 1].map(() => svgNode("line", { stroke: "var(--vf-q)", "stroke-width": 3, y1: ROW - 5, y2: ROW + 5 }, plot));
  const qLabel = label("q(z)", { class: "vf-halo vf-strong", "text-anchor": "middle" });
  const sigmaLabel = label("width σ", { "text-anchor": "start" });
  const handle = (shape, attributes, radius) => {
    const g = svgNode("g", { class: "vf-handle" }, plot);
    svgNode("circle", { r: radius, fill: "transparent" }, g); // a finger needs room
    svgNode(shape, { fill: "var(--vf-q)", stroke: "var(--vf-bg)", "stroke-width": 2, ...attributes }, g);
    return g;
  };
  const meanHandle = handle("circle", { r: 9 }, 24);
  const widthHandle = handle("path", { d: "M-9 0 0 -9 9 0 0 9Z" }, 20);
  meanHandle.dataset.handle = "mean";
  widthHandle.dataset.handle = "width";

  // Right: a waterfall from zero: down by the reconstruction, down by the KL, up by the gap.
  const BW = 330, LOW = -6, Y0 = 44, Y1 = 238, COLUMNS = [86, 172, 258], WIDE = 60;
  const by = (nats) => Y0 + (nats / LOW) * (Y1 - Y0);
  const bars = svgNode("svg", { viewBox: `0 0 ${BW} ${H}`, role: "img" }, htmlNode("div", {}, panels));
  const barsTitle = svgNode("title", {}, bars);
  for (let n = 0; n >= LOW; n--) {
    svgNode("line", { x1: 40, x2: BW - 24, y1: by(n), y2: by(n), stroke: n ? "var(--vf-faint)" : "var(--vf-fg)", "stroke-width": n ? 1 : 1.5 }, bars);
    svgNode("text", { x: 32, y: by(n) + 4, "text-anchor": "end", class: "vf-tick vf-num", text: fixed(n, 0) }, bars);
  }
  svgNode("text", { x: 32, y: Y0 - 14, "text-anchor": "end", class: "vf-tick", text: "nats" }, bars);
  const kinds = [["reconstruction", "reconstruction"], ["kl", "− KL"], ["gap", "+ gap"]];
  const columns = kinds.map(([kind, name], i) => {
    svgNode("text", { x: COLUMNS[i], y: 12, "text-anchor": "middle", class: "vf-strong", text: name }, bars);
    return {
      value: svgNode("text", { x: COLUMNS[i], y: 29, "text-anchor": "middle", class: "vf-num" }, bars),
      rect: svgNode("rect", { x: COLUMNS[i] - WIDE / 2, width: WIDE, fill: `var(--vf-${kind})`, stroke: "var(--vf-fg)", "stroke-width": 0.75, "data-bar": kind }, bars),
      more: svgNode("text", { x: COLUMNS[i], y: Y1 + 15, "text-anchor": "middle", class: "vf-tick", text: "▼ off scale" }, bars),
    };
  });
  const step = svgNode("line", { x1: COLUMNS[0] - WIDE / 2, x2: COLUMNS[1] + WIDE / 2, stroke: "var(--vf-fg)", "stroke-width": 1, "stroke-dasharray": "2 3" }, bars);
  const floor = svgNode("line", { x1: COLUMNS[1] - WIDE / 2, x2: BW - 6, stroke: "var(--vf-elbo)", "stroke-width": 3, "stroke-dasharray": "7 3", "data-line": "elbo" }, bars);
  const floorLabel = svgNode("text", { x: BW - 4, "text-anchor": "end", class: "vf-halo", text: "ELBO" }, bars);
  const line = svgNode("line", { x1: 40, x2: BW - 6, stroke: "var(--vf-fg)", "stroke-width": 4, "data-line": "log-p" }, bars);
  const lineLabel = svgNode("text", { x: BW - 4, "text-anchor": "end", class: "vf-halo vf-strong", text: "log p(x)" }, bars);

  const message = htmlNode("p", { class: "vf-message" }, box);
  const lower = htmlNode("div", { class: "vf-panels" }, box);

  // Controls: sliders are the keyboard's path; the buttons show the two ends of the story.
  const controls = htmlNode("div", { class: "vf-control" }, lower);
  let stop = () => {};
  const put = (values) => {
    for (const k in values) model.set(k, values[k]);
    model.save_changes();
  };
  const take = (values) => { stop(); put(values); };
  const round = (v) => Math.round(v * 1000) / 1000;
  const show = {
    mu: sliderRow(controls, { label: "mean μ", spoken: "mean of q", min: MU[0], max: MU[1], step: 0.01, digits: 2, onInput: (v) => take({ mu: v }) }),
    sigma: sliderRow(controls, { label: "width σ", spoken: "standard deviation of q", min: SIGMA[0], max: SIGMA[1], step: 0.01, digits: 2, onInput: (v) => take({ sigma: v }) }),
    x: sliderRow(controls, { label: "observed x", spoken: "observation x", min: -2, max: 3, step: 0.1, digits: 1, kind: "vf-data", onInput: (v) => take({ x: v }) }),
  };
  const row = htmlNode("div", { class: "vf-buttons" }, controls);
  htmlNode("span", { text: "Set q to the" }, row);
  const go = (target) => {
    stop();
    stop = glide([get("mu"), get("sigma")], target, ([mu, sigma]) => put({ mu, sigma }));
  };
  button(row, "prior", () => go([0, 1]));
  button(row, "posterior", () => { const t = terms(); go([t.posteriorMean, t.posteriorSd]); });
  onDrag(meanHandle, plot, (p) => take({ mu: round(clamp(unpx(p), ...MU)) }));
  onDrag(widthHandle, plot, (p) => take({ sigma: round(clamp(unpx(p) - get("mu"), ...SIGMA)) }));

  const ledger = htmlNode("table", { class: "vf-ledger" }, lower);
  const body = htmlNode("tbody", {}, ledger);
  const entry = (key, text, sum) => {
    const tr = htmlNode("tr", sum ? { class: "vf-sum" } : {}, body), th = htmlNode("th", { scope: "row" }, tr);
    htmlNode("span", { class: "vf-key", style: `background:var(--vf-${key === "logP" ? "fg" : key})` }, th);
    th.append(text);
    return htmlNode("td", { "data-term": key }, tr);
  };
  const cells = {
    reconstruction: entry("reconstruction", "reconstruction E[log p(x | z)]"),
    kl: entry("kl", "− KL(q ‖ prior)"),
    elbo: entry("elbo", "= ELBO", true),
    gap: entry("gap", "+ gap KL(q ‖ posterior)"),
    logP: entry("logP", "= log p(x)", true),
  };
  const say = announcer(box);

  const Z = Array.from({ length: 301 }, (_, i) => -3 + i / 50);
  const path = (mu, sigma) => {
    // A narrow density needs points where it lives, not only where the grid has them.
    const zs = [...Z, ...Array.from({ length: 61 }, (_, i) => mu + sigma * (i - 30) / 7.5)].filter((z) => z >= -3 && z <= 3).sort((a, b) => a - b);
    return "M" + zs.map((z) => `${px(z).toFixed(1)} ${py(Math.min(normalDensity(z, mu, sigma), 3 * TOP)).toFixed(1)}`).join("L");
  };
  const place = (node, x, y) => setAll(node, { x: x.toFixed(1), y: y.toFixed(1) });
  const terms = () => elboTerms(get("mu"), get("sigma"), get("x"), w, variance);
  const span = (rect, a, b) => {
    const top = clamp(by(Math.max(a, b)), Y0, Y1), bottom = clamp(by(Math.min(a, b)), Y0, Y1);
    const least = Math.max(a, b) < LOW ? 5 : 0; // a bar that lies below the scale leaves a mark
    setAll(rect, { y: Math.min(top, Y1 - least).toFixed(2), height: Math.max(bottom - top, least).toFixed(2) });
  };
  priorPath.setAttribute("d", path(0, 1));
  const priorY = py(normalDensity(-1.32, 0, 1)) - 6;

  const draw = () => {
    const mu = get("mu"), sigma = get("sigma"), x = get("x"), t = terms();
    show.mu(mu); show.sigma(sigma); show.x(x);
    qPath.setAttribute("d", path(mu, sigma));
    posteriorPath.setAttribute("d", path(t.posteriorMean, t.posteriorSd));
    const right = t.posteriorMean < 1.1, side = t.posteriorMean + (right ? 1.15 : -1.15) * t.posteriorSd;
    place(posteriorLabel, px(side) + (right ? 6 : -6), py(normalDensity(side, t.posteriorMean, t.posteriorSd)) - 2);
    posteriorLabel.setAttribute("text-anchor", right ? "start" : "end");
    const peak = Math.max(py(normalDensity(mu, mu, sigma)), 26);
    setAll(stem, { x1: px(mu), x2: px(mu), y1: peak, y2: ROW });
    meanHandle.setAttribute("transform", `translate(${px(mu).toFixed(1)} ${peak.toFixed(1)})`);
    place(qLabel, px(mu), peak - 14);
    const covered = mu < -1; // there q itself or its handle would cover the name
    place(priorLabel, px(covered ? 1.32 : -1.32), priorY);
    priorLabel.setAttribute("text-anchor", covered ? "start" : "end");
    const left = clamp(px(mu - sigma), 2, W - 2), reach = clamp(px(mu + sigma), 2, W - 12);
    setAll(beam, { x1: left, x2: reach });
    ends.forEach((e, i) => setAll(e, { x1: i ? px(mu) : left, x2: i ? px(mu) : left }));
    widthHandle.setAttribute("transform", `translate(${reach.toFixed(1)} ${ROW})`);
    const tight = reach > W - 74;
    place(sigmaLabel, tight ? left - 8 : reach + 13, ROW + 5);
    sigmaLabel.setAttribute("text-anchor", tight ? "end" : "start");

    span(columns[0].rect, 0, t.reconstruction);
    span(columns[1].rect, t.reconstruction, t.elbo);
    span(columns[2].rect, t.elbo, t.logP);
    [t.reconstruction, -t.kl, t.gap].forEach((v, i) => { columns[i].value.textContent = fixed(v, 3); });
    [t.reconstruction, t.elbo, t.elbo].forEach((v, i) => columns[i].more.setAttribute("visibility", v < LOW ? "visible" : "hidden"));
    const at = (node, y, visible = true) => setAll(node, { y1: y.toFixed(2), y2: y.toFixed(2), visibility: visible ? "visible" : "hidden" });
    at(line, by(t.logP));
    at(step, by(t.reconstruction), t.reconstruction >= LOW);
    at(floor, Math.min(by(t.elbo), Y1)); // off the scale it rests on the lower edge
    lineLabel.setAttribute("y", (by(t.logP) - 9).toFixed(2));
    const low = t.elbo < LOW;
    setAll(floorLabel, { y: low ? Y1 - 8 : (by(t.elbo) + 17).toFixed(2) });
    floorLabel.textContent = low ? "ELBO ▼" : "ELBO";
    for (const k in cells) cells[k].textContent = fixed(k === "kl" ? -t.kl : t[k], 3);
    // The best reconstruction that the controls reach: z = x / w, as narrow as possible.
    const best = elboTerms(clamp(x / w, ...MU), SIGMA[0], x, w, variance).reconstruction;
    const story = t.gap < 5e-4 ? "q is the posterior. The gap is zero and the ELBO touches log p(x): no q can do better."
      : t.kl < 5e-4 ? `q is the prior. It pays no KL, but it explains x badly: the ELBO lies ${fixed(t.gap, 2)} nats below log p(x).`
      : best - t.reconstruction < 0.01 ? `The reconstruction is as good as it gets here, and the KL pays ${fixed(t.kl, 2)} nats for it: the ELBO lies ${fixed(t.gap, 2)} nats below log p(x).`
      : `The ELBO lies ${fixed(t.gap, 2)} nats below log p(x), because q is not the posterior. Whatever q does, the three bars end on the same line.`;
    message.textContent = story;
    plotTitle.textContent = `Densities over z: prior N(0, 1), posterior with mean ${fixed(t.posteriorMean, 2)} and standard deviation ${fixed(t.posteriorSd, 2)}, q with mean ${fixed(mu, 2)} and standard deviation ${fixed(sigma, 2)}.`;
    barsTitle.textContent = `Bars in nats: reconstruction ${fixed(t.reconstruction, 3)}, minus KL ${fixed(-t.kl, 3)}, ELBO ${fixed(t.elbo, 3)}, gap ${fixed(t.gap, 3)}, log p(x) ${fixed(t.logP, 3)}.`;
    say(`${story} ELBO ${fixed(t.elbo, 2)}, log p of x ${fixed(t.logP, 2)} nats.`);
  };
  const quiet = listen(model, ["mu", "sigma", "x"], draw);
  draw();
  el.__vf = { name: "elbo_bar", elboTerms, normalNoise, klNormal, logSumExp };
  return () => { quiet(); stop(); say.stop(); };
}
export default { render };
