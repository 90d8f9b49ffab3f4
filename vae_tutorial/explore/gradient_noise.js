// f(z) = sin(ωz), z ~ N(0, σ²): the slope of E[f] in μ, and the variance of one draw of each estimator.
const sineGradient = (omega, sigma) => {
  const u = (omega * sigma) ** 2;
  return {
    slope: omega * Math.exp(-u / 2),
    path: 0.5 * omega ** 2 * Math.expm1(-u) ** 2,
    score: (1 - (1 - 4 * u) * Math.exp(-2 * u)) / (2 * sigma ** 2) - omega ** 2 * Math.exp(-u),
  };
};
// Means of the first 1, 2, … draws of both estimators, from the same noise.
const runningMeans = (omega, sigma, noise) => {
  const path = [], score = [];
  let p = 0, s = 0;
  noise.forEach((e, i) => {
    p += omega * Math.cos(omega * sigma * e);
    s += (Math.sin(omega * sigma * e) * e) / sigma;
    path.push(p / (i + 1));
    score.push(s / (i + 1));
  });
  return { path, score };
};
const niceStep = (span) => {
  const base = 10 ** Math.floor(Math.log10(span / 4));
  return [1, 2, 5, 10].map((m) => m * base).find((step) => span / step <= 6);
};

// A ratio as one says it: 9.0, 85, 2,400, 1.6 million.
const spoken = (ratio) =>
  ratio < 9.95 ? fixed(ratio, 1)
    : ratio < 999.5 ? fixed(ratio, 0)
    : ratio < 999500 ? String(Number(ratio.toPrecision(2))).replace(/\B(?=(\d{3})+$)/g, ",")
    : `${Number((ratio / 1e6).toPrecision(2))} million`;

function render({ model, el }) {
  const get = (k) => model.get(k);
  const box = scaffold(el, "Make f wiggle: the path gets noisy, the score function hardly");

  // The two estimators have the colours of the chapter's other figures, and lighter ones on dark.
  const noise = (path, score) => `{--vf-noise-path:${path};--vf-noise-score:${score}}`;
  const dark = ["html[data-theme=dark]", "html[theme=dark]", "body[data-jp-theme-light=false]", "body.vscode-dark"];
  htmlNode("style", { text: `.vf${noise("#882255", "#332288")}${dark.map((d) => `${d} .vf`).join(",")}${noise("#ee94b4", "#aaa0f0")}` }, box);

  const W = 500, H = 300, LEFT = 54, RIGHT = 12, TOP = 10, BASE = 252;
  const plot = svgNode("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", style: "max-width:37rem;margin:auto" }, htmlNode("div", {}, box));
  const plotTitle = svgNode("title", {}, plot);
  const clipId = `vf-clip-${Math.random().toString(36).slice(2)}`;
  svgNode("rect", { x: LEFT, y: TOP, width: W - LEFT - RIGHT, height: BASE - TOP }, svgNode("clipPath", { id: clipId }, svgNode("defs", {}, plot)));
  const ticks = svgNode("g", {}, plot), inside = svgNode("g", { "clip-path": `url(#${clipId})` }, plot);
  const COLOUR = { path: "var(--vf-noise-path)", score: "var(--vf-noise-score)" }, NAME = { path: "pathwise", score: "score function" };
  const band = {}, line = {};
  for (const k of ["path", "score"]) band[k] = svgNode("path", { fill: COLOUR[k], "fill-opacity": 0.16, stroke: COLOUR[k], "stroke-opacity": 0.5, "data-band": k }, inside);
  const exact = svgNode("line", { x1: LEFT, x2: W - RIGHT, stroke: "var(--vf-fg)", "stroke-width": 1.5 }, inside);
  for (const k of ["path", "score"]) {
    line[k] = svgNode("path", { fill: "none", stroke: COLOUR[k], "stroke-width": 2.5, "stroke-dasharray": k === "path" ? "7 4" : "none", "data-mean": k }, inside);
    const y = TOP + (k === "path" ? 16 : 37); // upper right, where the bands are narrow
    svgNode("line", { x1: W - RIGHT - 36, x2: W - RIGHT - 2, y1: y - 5, y2: y - 5, stroke: COLOUR[k], "stroke-width": 2.5, "stroke-dasharray": k === "path" ? "7 4" : "none" }, plot);
    svgNode("text", { x: W - RIGHT - 44, y, class: "vf-halo vf-strong", "text-anchor": "end", style: `fill:${COLOUR[k]};font-size:16px`, text: NAME[k] }, plot);
  }
  svgNode("text", { x: W - RIGHT, y: H - 6, "text-anchor": "end", style: "font-size:16px", text: "draws averaged" }, plot);

  htmlNode("p", { class: "vf-note", text: "The bands are the exact slope ± two standard errors of the mean." }, box);
  const message = htmlNode("p", { class: "vf-message" }, box);
  const lower = htmlNode("div", { class: "vf-panels" }, box);
  const controls = htmlNode("div", { class: "vf-control" }, lower);
  const put = (values) => {
    for (const k in values) model.set(k, values[k]);
    model.save_changes();
  };
  const show = {
    omega: sliderRow(controls, { label: "frequency ω", spoken: "frequency of f", min: 0.2, max: 10, step: 0.1, digits: 1, onInput: (v) => put({ omega: v }) }),
    sigma: sliderRow(controls, { label: "width σ", spoken: "standard deviation of q", min: 0.2, max: 2, step: 0.05, digits: 2, onInput: (v) => put({ sigma: v }) }),
    draws: sliderRow(controls, { label: "draws L", spoken: "number of draws", min: 50, max: 2000, step: 50, digits: 0, onInput: (v) => put({ draws: v }) }),
  };
  const row = htmlNode("div", { class: "vf-buttons" }, controls);
  button(row, "other draws", () => put({ seed: get("seed") + 1 }));

  const table = htmlNode("table", { class: "vf-ledger" }, lower), body = htmlNode("tbody", {}, table);
  const entry = (key, text, colour) => {
    const tr = htmlNode("tr", {}, body), th = htmlNode("th", { scope: "row" }, tr);
    if (colour) htmlNode("span", { class: "vf-key", style: `background:${colour}` }, th);
    th.append(text);
    return htmlNode("td", { "data-term": key }, tr);
  };
  const cells = {
    slope: entry("slope", "exact slope in μ", "var(--vf-fg)"),
    path: entry("path", "variance of one draw, pathwise", COLOUR.path),
    score: entry("score", "variance of one draw, score function", COLOUR.score),
  };
  const say = announcer(box);

  const draw = () => {
    const omega = get("omega"), sigma = get("sigma"), draws = get("draws");
    show.omega(omega); show.sigma(sigma); show.draws(draws);
    const t = sineGradient(omega, sigma), means = runningMeans(omega, sigma, normalNoise(get("seed"), draws));
    const half = (8 * Math.sqrt(Math.max(t.path, t.score))) / Math.sqrt(draws), low = t.slope - half;
    const px = (l) => LEFT + (l / draws) * (W - LEFT - RIGHT);
    const py = (v) => clamp(BASE - ((v - low) / (2 * half)) * (BASE - TOP), TOP - 400, BASE + 400);
    const at = (l, v) => `${px(l).toFixed(1)} ${py(v).toFixed(1)}`;
    ticks.replaceChildren();
    const step = niceStep(2 * half), digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    for (let i = Math.ceil(low / step); i * step <= t.slope + half; i++) {
      svgNode("line", { x1: LEFT, x2: W - RIGHT, y1: py(i * step), y2: py(i * step), stroke: "var(--vf-faint)" }, ticks);
      svgNode("text", { x: LEFT - 6, y: py(i * step) + 5, "text-anchor": "end", class: "vf-num", style: "font-size:15px;text-anchor:end", text: fixed(i * step, digits) }, ticks);
    }
    for (let i = 0; i <= 4; i++) {
      svgNode("text", { x: px((draws * i) / 4), y: BASE + 20, "text-anchor": i === 4 ? "end" : "middle", style: "font-size:15px", text: String(Math.round((draws * i) / 4)) }, ticks);
    }
    const places = Array.from({ length: 121 }, (_, i) => Math.max(1, (draws * i * i) / 14400));
    for (const k of ["path", "score"]) {
      const wide = (l) => 2 * Math.sqrt(t[k] / l);
      band[k].setAttribute("d", `M${places.map((l) => at(l, t.slope + wide(l))).join("L")}L${[...places].reverse().map((l) => at(l, t.slope - wide(l))).join("L")}Z`);
      line[k].setAttribute("d", `M${means[k].map((v, i) => at(i + 1, v)).join("L")}`);
      cells[k].textContent = t[k] < 0.0995 ? t[k].toPrecision(2) : fixed(t[k], 2);
    }
    setAll(exact, { y1: py(t.slope), y2: py(t.slope) });
    cells.slope.textContent = fixed(t.slope, 4);
    const wider = t.path > t.score ? "path" : "score", other = wider === "path" ? "score" : "path";
    const ratio = t[wider] / t[other], times = spoken(ratio);
    const story = ratio < 1.05 ? "Here both are equally noisy."
      : wider === "path" ? `The score function is quieter: the path needs ${times} times as many draws for the same precision.`
      : `The path is quieter: the score function needs ${times} times as many draws for the same precision.`;
    message.textContent = story;
    plotTitle.textContent = `Running means over ${draws} draws. Exact slope ${fixed(t.slope, 4)}; variance of one draw ${fixed(t.path, 3)} pathwise and ${fixed(t.score, 3)} for the score function.`;
    say(story);
  };
  const quiet = listen(model, ["omega", "sigma", "draws", "seed"], draw);
  draw();
  el.__vf = { name: "gradient_noise", spoken, sineGradient, runningMeans, normalNoise };
  return () => { quiet(); say.stop(); };
}
export default { render };
