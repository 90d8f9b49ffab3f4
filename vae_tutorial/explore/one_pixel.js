// Four log-likelihoods of a pixel x for a parameter m in (0, 1); sd is a standard deviation.
const LEVELS = 17, HALF = 0.5 / (LEVELS - 1);
const softplus = (a) => Math.max(a, 0) + Math.log1p(Math.exp(-Math.abs(a)));
const logit = (m) => Math.log(m) - Math.log1p(-m);
// log of a / tanh(a/2): by its series near 0.
const logConstant = (a) => {
  if (Math.abs(a) < 0.1) {
    const u = a * a;
    return Math.LN2 + u * (1 / 12 - u * (7 / 1440 - u * (31 / 90720 - (u * 127) / 4838400)));
  }
  return Math.log(a / Math.tanh(a / 2));
};
const cbMean = (a) =>
  Math.abs(a) < 0.1 ? 0.5 + a * (1 / 12 - a * a * (1 / 720 - (a * a) / 30240)) : 0.5 + 0.5 / Math.tanh(a / 2) - 1 / a;
const LIKELIHOODS = {
  bernoulli: (x, m) => x * logit(m) - softplus(logit(m)),
  continuous: (x, m) => x * logit(m) - softplus(logit(m)) + logConstant(logit(m)),
  gaussian: (x, m, sd) => normalLogDensity(x, m, sd),
  logistic: (x, m, sd) => {
    const s = (sd * Math.sqrt(3)) / Math.PI, low = (x - HALF - m) / s, high = (x + HALF - m) / s;
    const first = x < HALF, last = x > 1 - HALF;
    return (last ? 0 : -softplus(-high)) + (first ? 0 : -softplus(low)) + (first || last ? 0 : Math.log(-Math.expm1(-2 * HALF / s)));
  },
};
// Where each is highest, and how high; null where it rises without end or beyond 0 and 1.
const highest = (x, sd) => {
  const end = x === 0 || x === 1;
  let low = -60, high = 60;
  for (let i = 0; i < 200; i++) {
    const a = (low + high) / 2;
    if (cbMean(a) < x) low = a; else high = a;
  }
  const lambda = 1 / (1 + Math.exp(-(low + high) / 2));
  const entropy = end ? 0 : -x * Math.log(x) - (1 - x) * Math.log1p(-x);
  return {
    bernoulli: [x, -entropy],
    continuous: end ? null : [lambda, LIKELIHOODS.continuous(x, lambda)],
    gaussian: [x, LIKELIHOODS.gaussian(x, x, sd)],
    logistic: end ? null : [x, LIKELIHOODS.logistic(x, x, sd)],
  };
};

function render({ model, el }) {
  const box = scaffold(el, "Three of four likelihoods point at the pixel; no two mean the same by it");
  const KINDS = ["bernoulli", "continuous", "gaussian", "logistic"];
  const NAME = { bernoulli: "Bernoulli (−BCE), π", continuous: "continuous Bernoulli, λ", gaussian: "Gaussian, mean", logistic: "discretized logistic, centre" };
  const DASH = { bernoulli: "none", continuous: "9 4", gaussian: "2 4", logistic: "9 4 2 4" };
  const light = ["#0072b2", "#b34700", "#00734f", "#882255"], dim = ["#4aa3df", "#ff8a45", "#2fc79a", "#ee94b4"];
  const set = (hues) => `{${KINDS.map((k, i) => `--vf-${k}:${hues[i]}`).join(";")}}`;
  const dark = ["html[data-theme=dark]", "html[theme=dark]", "body[data-jp-theme-light=false]", "body.vscode-dark"];
  htmlNode("style", { text: `.vf${set(light)}${dark.map((d) => `${d} .vf`).join(",")}${set(dim)}` }, box);
  const colour = (k) => `var(--vf-${k})`;

  const W = 500, H = 350, LEFT = 46, RIGHT = 14, TOP = 8, BASE = 268, LOW = -4, HIGH = 3;
  const px = (m) => LEFT + m * (W - LEFT - RIGHT), py = (v) => BASE - ((v - LOW) / (HIGH - LOW)) * (BASE - TOP);
  htmlNode("div", { class: "vf-caption", text: "log-likelihood of the pixel, nats" }, box);
  const plot = svgNode("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", style: "max-width:37rem;margin:auto" }, htmlNode("div", {}, box));
  const plotTitle = svgNode("title", {}, plot);
  const clipId = `vf-clip-${Math.random().toString(36).slice(2)}`;
  svgNode("rect", { x: LEFT, y: TOP, width: W - LEFT - RIGHT, height: BASE - TOP }, svgNode("clipPath", { id: clipId }, svgNode("defs", {}, plot)));
  for (let v = LOW; v <= HIGH; v++) {
    svgNode("line", { x1: LEFT, x2: W - RIGHT, y1: py(v), y2: py(v), stroke: v ? "var(--vf-faint)" : "var(--vf-soft)" }, plot);
    svgNode("text", { x: LEFT - 6, y: py(v) + 5, style: "font-size:15px;text-anchor:end", class: "vf-num", text: fixed(v, 0) }, plot);
  }
  for (let i = 0; i <= 4; i++) {
    svgNode("text", { x: px(i / 4), y: BASE + 46, style: `font-size:15px;text-anchor:${i === 4 ? "end" : "middle"}`, text: String(i / 4) }, plot);
  }
  svgNode("text", { x: W - RIGHT, y: H - 12, style: "font-size:15px;text-anchor:end", text: "the decoder's parameter" }, plot);
  const inside = svgNode("g", { "clip-path": `url(#${clipId})` }, plot);
  const line = {}, dot = {};
  for (const k of KINDS) line[k] = svgNode("path", { fill: "none", stroke: colour(k), "stroke-width": 2.5, "stroke-dasharray": DASH[k], "data-curve": k }, inside);
  for (const k of KINDS) dot[k] = svgNode("circle", { r: 5.5, fill: colour(k), stroke: "var(--vf-bg)", "stroke-width": 1.5, "data-top": k }, inside);
  const pixel = svgNode("g", {}, plot);
  const bar = svgNode("line", { y1: TOP, y2: BASE, stroke: "var(--vf-fg)", "stroke-width": 1.5 }, pixel);
  const tile = svgNode("rect", { y: BASE + 4, width: 24, height: 24, rx: 3, stroke: "var(--vf-fg)", "stroke-width": 1.5 }, pixel);
  const grip = svgNode("rect", { y: TOP, width: 44, height: BASE - TOP + 30, fill: "transparent", class: "vf-handle" }, pixel);

  const message = htmlNode("p", { class: "vf-message" }, box);
  const lower = htmlNode("div", { class: "vf-panels" }, box);
  const controls = htmlNode("div", { class: "vf-control" }, lower);
  const put = (values) => {
    for (const k in values) model.set(k, values[k]);
    model.save_changes();
  };
  const show = {
    x: sliderRow(controls, { label: "pixel x", spoken: "grey value of the pixel", min: 0, max: 1, step: 0.0625, digits: 4, kind: "vf-data", onInput: (v) => put({ level: Math.round(16 * v) }) }),
    sigma: sliderRow(controls, { label: "width σ", spoken: "standard deviation of Gaussian and logistic", min: 0.02, max: 0.5, step: 0.01, digits: 2, onInput: (v) => put({ sigma: v }) }),
  };
  const row = htmlNode("div", { class: "vf-buttons" }, controls);
  for (const [text, level] of [["Black", 0], ["Mid-grey", 8], ["Dark grey", 4]]) button(row, text, () => put({ level }));
  onDrag(grip, plot, (u) => put({ level: clamp(Math.round((16 * (u - LEFT)) / (W - LEFT - RIGHT)), 0, 16) }));

  const table = htmlNode("table", { class: "vf-ledger" }, lower);
  htmlNode("caption", { text: "highest at, and how high (nats)" }, table);
  const body = htmlNode("tbody", {}, table), cells = {};
  for (const k of KINDS) {
    const tr = htmlNode("tr", {}, body), th = htmlNode("th", { scope: "row" }, tr);
    const key = svgNode("svg", { viewBox: "0 0 26 8", style: "display:inline-block;width:26px;height:8px;margin-inline-end:.45em", "aria-hidden": "true" }, th);
    svgNode("line", { x1: 0, x2: 26, y1: 4, y2: 4, stroke: colour(k), "stroke-width": 2.5, "stroke-dasharray": DASH[k] }, key);
    th.append(NAME[k]);
    cells[k] = [htmlNode("td", { "data-term": `${k}-at` }, tr), htmlNode("td", { "data-term": k }, tr)];
  }
  const say = announcer(box);

  const draw = () => {
    const x = model.get("level") / 16, sigma = model.get("sigma"), top = highest(x, sigma);
    show.x(x); show.sigma(sigma);
    const places = Array.from({ length: 397 }, (_, i) => 1 / (1 + Math.exp(-(i - 198) / 22)));
    for (const k of KINDS) {
      line[k].setAttribute("d", `M${places.map((m) => `${px(m).toFixed(1)} ${clamp(py(LIKELIHOODS[k](x, m, sigma)), -300, 900).toFixed(1)}`).join("L")}`);
      const best = top[k];
      setAll(dot[k], { cx: px(best ? best[0] : 0), cy: best ? py(best[1]) : 0, visibility: best ? "visible" : "hidden" });
      const out = k === "continuous" ? "without end" : "below 0";
      const beyond = x === 0 ? "→ 0" : "→ 1";
      cells[k][0].textContent = best ? (best[0] > 0 && best[0] < 0.01 ? best[0].toPrecision(1) : fixed(best[0], 3)) : k === "logistic" ? "beyond" : beyond;
      cells[k][1].textContent = best ? fixed(best[1], 2) : out;
    }
    setAll(bar, { x1: px(x), x2: px(x) });
    setAll(tile, { x: px(x) - 12, fill: `rgb(${Array(3).fill(Math.round(255 * (1 - x))).join(",")})` });
    grip.setAttribute("x", px(x) - 22);
    const end = x === 0 || x === 1;
    const story = end
      ? `At x = ${x} the continuous Bernoulli rises without end as λ goes to ${x}, and the logistic is content with any centre beyond ${x}.`
      : Math.abs(x - 0.5) < 1e-9 ? "At x = ½ all four point at ½, and an honest Bernoulli still pays log 2 = 0.69 nats."
      : `For x = ${x} the continuous Bernoulli points at λ = ${cells.continuous[0].textContent}: its mean there is x.`;
    message.textContent = story;
    plotTitle.textContent = `Log-likelihoods of a pixel of ${x} over the decoder's parameter from 0 to 1, from ${LOW} to ${HIGH} nats. ${story}`;
    say(story);
  };
  const quiet = listen(model, ["level", "sigma"], draw);
  draw();
  el.__vf = { name: "one_pixel", likelihood: (k, x, m, sd) => LIKELIHOODS[k](x, m, sd), highest };
  return () => { quiet(); say.stop(); };
}
export default { render };
