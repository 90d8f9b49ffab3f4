// What a Gaussian with standard deviation s makes of residuals with mean square mse.
const cost = (s, mse) => 0.5 * LOG_2PI + Math.log(s) + mse / (2 * s * s); // nats
// The factor of the KL beside ½ SSE, and beside the mean square over D entries.
const weights = (s, dimensions) => ({ beta: s * s, mean: (2 * s * s) / dimensions });
const above = (s, eigenvalues) => eigenvalues.filter((v) => v > s * s).length;
// The slider's place, 0 to 200, and σ, 0.01 to 3; three digits of it.
const LEAST = 0.01, MOST = 3, STEPS = 200;
const placeOf = (s) => (STEPS * Math.log(s / LEAST)) / Math.log(MOST / LEAST);
const sigmaAt = (t) => Number((LEAST * (MOST / LEAST) ** (clamp(t, 0, STEPS) / STEPS)).toPrecision(3));

function render({ model, el }) {
  const box = scaffold(el, "One σ decides what a squared error is worth");
  const get = (k) => model.get(k);
  const histograms = get("histograms"), squares = get("mse"), eigenvalues = get("eigenvalues"), D = get("dimensions");
  const low = -1, high = 1; // of the residuals
  const KINDS = ["all", "ink", "background"], NAME = { all: "all pixels", ink: "ink", background: "background" };
  const DASH = { all: "none", ink: "8 4", background: "2 3" };
  const SHAPE = {
    all: "The curve still misses a spike and wide tails.",
    ink: "Here the curve nearly fits; only the right tail is heavier.",
    background: "The curve misses a spike, and on the left ink that is not there.",
  };
  const rmse = (kind) => Math.sqrt(squares[kind]);
  const raised = (n) => [...String(n)].map((c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c])).join("");
  const three = (v) => {
    if (v >= 1e-3) return v.toPrecision(3);
    const [digits, power] = v.toExponential(2).split("e");
    return `${digits}·10${raised(Number(power))}`;
  };
  let stop = () => {};
  const put = (values) => {
    stop();
    for (const k in values) model.set(k, values[k]);
    model.save_changes();
  };

  const W = 340, H = 262, LEFT = 40, RIGHT = 12, TOP = 8, BASE = 222;
  const panels = htmlNode("div", { class: "vf-panels" }, box);
  const panel = (caption) => {
    const place = htmlNode("div", {}, panels);
    htmlNode("div", { class: "vf-caption", text: caption }, place);
    const svg = svgNode("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", style: "max-width:26rem;margin:auto" }, place);
    const title = svgNode("title", {}, svg), id = `vf-clip-${Math.random().toString(36).slice(2)}`;
    svgNode("rect", { x: LEFT, y: TOP, width: W - LEFT - RIGHT, height: BASE - TOP }, svgNode("clipPath", { id }, svgNode("defs", {}, svg)));
    return { svg, title, clip: `url(#${id})` };
  };
  const level = (svg, y, text, strong) => {
    svgNode("line", { x1: LEFT, x2: W - RIGHT, y1: y, y2: y, stroke: strong ? "var(--vf-soft)" : "var(--vf-faint)" }, svg);
    svgNode("text", { x: LEFT - 9, y: y + 4, style: "text-anchor:end", class: "vf-num", text }, svg);
  };
  const below = (svg, x, text) => svgNode("text", { x, y: BASE + 17, style: "text-anchor:middle", class: "vf-num", text }, svg);

  // ---- the residuals, and the Gaussian over them
  const left = panel("density of the residuals (log scale)");
  const px = (r) => LEFT + ((r - low) / (high - low)) * (W - LEFT - RIGHT);
  const FLOOR = -3.3, CEILING = 1.75; // powers of ten
  const py = (density) => BASE - ((Math.max(Math.log10(density), -60) - FLOOR) / (CEILING - FLOOR)) * (BASE - TOP);
  for (const v of [-1, -0.5, 0, 0.5, 1]) below(left.svg, px(v), fixed(v, v % 1 ? 1 : 0));
  svgNode("text", { x: W - RIGHT, y: H - 6, style: "text-anchor:end", text: "residual x − m(z), grey scale" }, left.svg);
  const heap = svgNode("path", { fill: "var(--vf-faint)", stroke: "var(--vf-soft)", "stroke-width": 1.2, "clip-path": left.clip, "data-curve": "histogram" }, left.svg);
  for (let p = -3; p <= 1; p++) level(left.svg, py(10 ** p), String(10 ** p));
  svgNode("line", { x1: LEFT, x2: W - RIGHT, y1: BASE, y2: BASE, stroke: "var(--vf-soft)" }, left.svg);
  const bell = svgNode("path", { fill: "none", stroke: "var(--vf-reconstruction)", "stroke-width": 2.5, "clip-path": left.clip, "data-curve": "gaussian" }, left.svg);
  const ends = [-1, 1].map(() => svgNode("circle", { r: 4, fill: "var(--vf-reconstruction)", stroke: "var(--vf-bg)", "stroke-width": 1.5 }, left.svg));
  const endName = svgNode("text", { class: "vf-halo", style: "text-anchor:middle", text: "±σ" }, left.svg);

  // ---- what a pixel costs, over log σ
  const right = panel("cost of an average pixel, nats");
  const LOWEST = -2, HIGHEST = 5;
  const qx = (s) => LEFT + (placeOf(s) / STEPS) * (W - LEFT - RIGHT);
  const qy = (v) => BASE - ((v - LOWEST) / (HIGHEST - LOWEST)) * (BASE - TOP);
  for (let v = LOWEST; v <= HIGHEST; v++) level(right.svg, qy(v), fixed(v, 0), v === 0);
  for (const s of [0.01, 0.03, 0.1, 0.3, 1, 3]) below(right.svg, qx(s), String(s));
  svgNode("text", { x: W - RIGHT, y: H - 6, style: "text-anchor:end", text: "σ (log scale)" }, right.svg);
  const inside = svgNode("g", { "clip-path": right.clip }, right.svg);
  const places = Array.from({ length: STEPS + 1 }, (_, t) => LEAST * (MOST / LEAST) ** (t / STEPS));
  const curve = {}, key = {}, word = {};
  KINDS.forEach((kind, i) => {
    const mse = squares[kind], y = qy(-0.72 - 0.49 * i), x = qx(0.55);
    curve[kind] = svgNode("path", { fill: "none", "stroke-dasharray": DASH[kind], "data-curve": kind,
      d: `M${places.map((s) => `${qx(s).toFixed(1)} ${clamp(qy(cost(s, mse)), -300, 900).toFixed(1)}`).join("L")}` }, inside);
    key[kind] = svgNode("line", { x1: x - 26, x2: x - 3, y1: y, y2: y, "stroke-dasharray": DASH[kind] }, right.svg);
    word[kind] = svgNode("text", { x: x + 2, y: y + 4, text: NAME[kind] }, right.svg);
  });
  const best = svgNode("line", { y1: TOP, y2: BASE, stroke: "var(--vf-soft)", "stroke-dasharray": "3 4" }, right.svg);
  const dot = svgNode("circle", { r: 6, fill: "var(--vf-reconstruction)", stroke: "var(--vf-bg)", "stroke-width": 1.5 }, right.svg);
  const beyond = svgNode("text", { y: TOP + 18, class: "vf-halo vf-num vf-strong" }, right.svg);
  const grip = svgNode("rect", { y: TOP, width: 48, height: BASE - TOP, fill: "transparent", class: "vf-handle", "data-handle": "sigma" }, right.svg);
  onDrag(grip, right.svg, (u) => put({ sigma: sigmaAt((STEPS * (u - LEFT)) / (W - LEFT - RIGHT)) }));

  // Four lines on a phone, so that the slider stays where it is while the sentence changes.
  htmlNode("style", { text: "@container (max-width:28rem){.vf .vf-message.vf-four{min-height:5.8em}}" }, box);
  const message = htmlNode("p", { class: "vf-message vf-four" }, box);
  const lower = htmlNode("div", { class: "vf-panels" }, box);
  const controls = htmlNode("div", { class: "vf-control" }, lower);
  const slide = sliderRow(controls, { label: "σ (log scale)", spoken: "standard deviation", min: 0, max: STEPS, step: 1, digits: 0, onInput: (t) => put({ sigma: sigmaAt(t) }) });
  const slider = controls.querySelector("input"), value = controls.querySelector(".vf-num");
  const first = htmlNode("div", { class: "vf-buttons" }, controls);
  button(first, "Best σ", () => {
    stop();
    stop = glide([Math.log(get("sigma"))], [Math.log(rmse(get("which")))], ([a], done) => {
      model.set("sigma", done ? rmse(get("which")) : Math.exp(a));
      model.save_changes();
    });
  });
  button(first, "σ = 1: plain ½ SSE", () => put({ sigma: 1 }));
  const second = htmlNode("div", { class: "vf-buttons" }, controls);
  htmlNode("span", { text: "Only" }, second);
  const only = [["ink", "ink"], ["background", "background"]].map(([kind, text]) =>
    [kind, button(second, text, () => put({ which: get("which") === kind ? "all" : kind }), { "aria-pressed": "false" })]);

  const table = htmlNode("table", { class: "vf-ledger" }, lower);
  const caption = htmlNode("caption", {}, table), body = htmlNode("tbody", {}, table), cell = {};
  const line = (name, before) => {
    const tr = htmlNode("tr", {}, body), th = htmlNode("th", { scope: "row", text: before }, tr), td = htmlNode("td", {}, tr);
    cell[name] = htmlNode("span", { "data-term": name }, td);
    return th;
  };
  line("cost", "cost of a pixel, nats");
  cell.rmse = htmlNode("span", { "data-term": "rmse" }, line("best", "lowest, at σ = RMSE = "));
  line("beta", "½ SSE + β KL with β = σ² =");
  line("mean", "MSE + w KL with w = 2σ²/D =");
  line("kept", `data directions above σ², of ${D}`);
  const say = announcer(box);

  let drawn = null;
  const draw = () => {
    const s = get("sigma"), kind = get("which"), density = histograms[kind], mse = squares[kind], r0 = Math.sqrt(mse);
    if (drawn !== kind) {
      drawn = kind;
      const step = (high - low) / density.length;
      heap.setAttribute("d", `M${px(low)} ${BASE + 9}${density.map((v, i) => `V${Math.min(py(v), BASE + 9).toFixed(1)}H${px(low + (i + 1) * step).toFixed(1)}`).join("")}V${BASE + 9}Z`);
      for (const k of KINDS) {
        const on = k === kind, stroke = { stroke: on ? "var(--vf-reconstruction)" : "var(--vf-soft)", "stroke-width": on ? 2.5 : 1.3 };
        setAll(curve[k], stroke); setAll(key[k], stroke);
        word[k].setAttribute("class", on ? "vf-halo vf-strong" : "vf-halo");
      }
      setAll(best, { x1: qx(r0), x2: qx(r0) });
      for (const [k, node] of only) node.setAttribute("aria-pressed", String(k === kind));
    }
    caption.textContent = `what this σ says of ${NAME[kind]}`;
    bell.setAttribute("d", `M${Array.from({ length: 401 }, (_, i) => low + ((high - low) * i) / 400).map((r) => `${px(r).toFixed(1)} ${Math.min(py(normalDensity(r, 0, s)), 900).toFixed(1)}`).join("L")}`);
    const seen = s <= high ? "visible" : "hidden", height = py(normalDensity(s, 0, s));
    ends.forEach((node, i) => setAll(node, { cx: px(i ? s : -s), cy: height, visibility: seen }));
    setAll(endName, { x: clamp(px(s) + 16, LEFT, W - RIGHT - 12), y: height - 9, visibility: seen });

    const nll = cost(s, mse), lowest = cost(r0, mse), excess = nll - lowest, x = clamp(qx(s), LEFT, W - RIGHT);
    setAll(dot, { cx: x, cy: Math.max(qy(nll), TOP) });
    setAll(beyond, { x: x + 10, text: nll > HIGHEST ? `↑ ${fixed(nll, 1)}` : "" });
    setAll(grip, { x: x - 24 });
    slide(Math.round(clamp(placeOf(s), 0, STEPS)));
    const sigma = three(s);
    slider.setAttribute("aria-valuetext", `standard deviation ${sigma}`);
    value.textContent = sigma;

    const kept = above(s, eigenvalues), w = weights(s, D);
    cell.cost.textContent = fixed(nll, 3);
    cell.best.textContent = fixed(lowest, 3);
    cell.rmse.textContent = three(r0);
    cell.beta.textContent = three(w.beta);
    cell.mean.textContent = three(w.mean);
    cell.kept.textContent = String(kept);
    const ratio = s / r0, off = Math.abs(Math.log(ratio)), k = Math.exp(off), times = k < 10 ? k.toFixed(2) : k.toFixed(0);
    const nats = (v) => fixed(v, v < 10 ? 2 : 0), mirror = cost(r0 / ratio, mse) - lowest;
    const image = Math.round(excess * D).toLocaleString("en");
    const story = off < 0.015
      ? `At the RMSE the squared errors cost ½ nat per pixel; no other σ costs less. ${SHAPE[kind]}`
      : ratio > 1
        ? `σ is ${times} times the RMSE: each pixel costs ${nats(excess)} nats more than it must, an image ${image}. As many times too small would cost ${nats(mirror)} nats.`
        : `σ is ${times} times too small: each pixel costs ${nats(excess)} nats more than it must, an image ${image}. As many times too large would cost ${nats(mirror)} nats.`;
    const linear = kept === 0 ? " No direction is worth its KL to a linear decoder." : "";
    message.textContent = story + linear;
    left.title.textContent = `Density of the residuals of ${NAME[kind]} from −1 to 1, on a log scale, and over it a Gaussian with standard deviation ${sigma}.`;
    right.title.textContent = `Cost of a pixel over σ from 0.01 to 3, for all pixels, ink and background: steep on the left, lowest at ${three(r0)} for ${NAME[kind]}, gentle on the right. At σ = ${sigma} it is ${fixed(nll, 2)} nats.`;
    say(story + linear);
  };
  const quiet = listen(model, ["sigma", "which"], () => draw());
  draw();
  el.__vf = { name: "residual_sigma", cost, weights, above, sigmaAt, placeOf };
  return () => { stop(); quiet(); say.stop(); };
}
export default { render };
