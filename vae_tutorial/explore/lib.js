// Shared by the figures: Python puts this text in front of each module, so nothing is imported.
// Contract of a module: no network, touch only `el`, read and write traits through `model`,
// put the pure functions that tests compare with Python's in `el.__vf`, return a clean-up.
const SVG_NS = "http://www.w3.org/2000/svg";
const LOG_2PI = Math.log(2 * Math.PI);

const setAll = (node, attributes) => {
  for (const k in attributes) k === "text" ? (node.textContent = attributes[k]) : node.setAttribute(k, attributes[k]);
  return node;
};
const svgNode = (name, attributes, parent) => {
  const node = setAll(document.createElementNS(SVG_NS, name), attributes || {});
  if (parent) parent.append(node);
  return node;
};
const htmlNode = (name, attributes, parent) => {
  const node = setAll(document.createElement(name), attributes || {});
  if (parent) parent.append(node);
  return node;
};
const clamp = (v, low, high) => Math.max(low, Math.min(high, v));
// A number with a true minus sign; what rounds to zero has no sign.
const fixed = (v, digits) => {
  const s = Math.abs(v).toFixed(digits);
  return (v < 0 && Number(s) !== 0 ? "−" : "") + s;
};

// Densities and divergences, in nats; sigma is a standard deviation.
const normalLogDensity = (x, mu, sigma) => -0.5 * (LOG_2PI + ((x - mu) / sigma) ** 2) - Math.log(sigma);
const normalDensity = (x, mu, sigma) => Math.exp(normalLogDensity(x, mu, sigma));
const klNormal = (mu, sigma, mu0, sigma0) =>
  Math.log(sigma0 / sigma) + (sigma ** 2 + (mu - mu0) ** 2) / (2 * sigma0 ** 2) - 0.5;
const logSumExp = (values) => {
  const m = Math.max(...values);
  return m + Math.log(values.reduce((s, v) => s + Math.exp(v - m), 0));
};

// Reproducible standard normal noise: mulberry32 and Box-Muller.
const normalNoise = (seed, n) => {
  let a = seed >>> 0;
  const uniform = () => {
    a = (a + 1831565813) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), a | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return (((t ^ (t >>> 14)) >>> 0) + 0.5) / 4294967296;
  };
  return Array.from({ length: n }, () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()));
};

// Little-endian IEEE half precision to Float32Array.
const fromHalf = (view) => {
  const n = view.byteLength >> 1, out = new Float32Array(n);
  for (let i = 0; i < n; i++) {
    const h = view.getUint16(2 * i, true), e = (h >> 10) & 31, f = h & 1023, s = h & 32768 ? -1 : 1;
    out[i] = e === 0 ? s * f * 2 ** -24 : e === 31 ? NaN : s * (1 + f / 1024) * 2 ** (e - 15);
  }
  return out;
};

// One labelled range input with its value beside it; `show` writes the value in words and digits.
const sliderRow = (parent, { label, spoken, min, max, step, digits, kind, onInput }) => {
  const row = htmlNode("label", { class: "vf-row" }, parent);
  htmlNode("span", { text: label }, row);
  const input = htmlNode("input", { type: "range", min, max, step, "aria-label": spoken, class: kind || "" }, row);
  const value = htmlNode("span", { class: "vf-num", "aria-hidden": "true" }, row);
  input.addEventListener("input", () => onInput(Number(input.value)));
  return (v) => {
    input.value = v;
    input.setAttribute("aria-valuetext", `${spoken} ${v.toFixed(digits)}`);
    value.textContent = fixed(v, digits);
  };
};
const button = (parent, text, onClick, attributes) => {
  const node = htmlNode("button", { type: "button", text, ...attributes }, parent);
  node.addEventListener("click", onClick);
  return node;
};
// The place of a pointer in the coordinates of an svg's viewBox.
const svgPoint = (svg, event) => {
  const r = svg.getBoundingClientRect(), v = svg.viewBox.baseVal;
  return [v.x + ((event.clientX - r.left) / r.width) * v.width, v.y + ((event.clientY - r.top) / r.height) * v.height];
};
// Mouse, pen and finger alike: the node keeps the pointer until it is released.
const onDrag = (node, svg, move, start) => {
  node.addEventListener("pointerdown", (e) => {
    if (e.button > 0) return;
    node.setPointerCapture(e.pointerId);
    e.preventDefault();
    (start || move)(...svgPoint(svg, e));
  });
  node.addEventListener("pointermove", (e) => {
    if (!node.hasPointerCapture(e.pointerId)) return;
    // A fast finger sends several places at once; coalesced ones lie between two events.
    const events = e.getCoalescedEvents?.() ?? [];
    for (const one of events.length ? events : [e]) move(...svgPoint(svg, one));
  });
};
// A sentence for screen readers, spoken only when the figure has come to rest.
const announcer = (parent) => {
  const node = htmlNode("div", { class: "vf-spoken", role: "status", "aria-live": "polite" }, parent);
  let timer = 0, last = null;
  const say = (text) => {
    if (last === null) { last = text; return; } // the first state is not news
    if (text === last) return;
    last = text;
    clearTimeout(timer);
    timer = setTimeout(() => { node.textContent = text; }, 600);
  };
  say.stop = () => clearTimeout(timer);
  return say;
};
// Move numbers to their goal in a short time, or at once where the reader wants less motion.
const glide = (from, to, step, milliseconds = 700) => {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) { step(to, true); return () => {}; }
  const begin = performance.now();
  let frame = requestAnimationFrame(function next(now) {
    const t = clamp((now - begin) / milliseconds, 0, 1), e = t * t * (3 - 2 * t);
    step(t === 1 ? to : from.map((v, i) => v + e * (to[i] - v)), t === 1);
    if (t < 1) frame = requestAnimationFrame(next);
  });
  return () => cancelAnimationFrame(frame);
};
const listen = (model, names, f) => {
  for (const n of names) model.on("change:" + n, f);
  return () => { for (const n of names) model.off("change:" + n, f); };
};
const scaffold = (el, title) => {
  el.classList.add("vf");
  const box = htmlNode("div", { class: "vf-box", role: "group", "aria-label": title }, el);
  htmlNode("div", { class: "vf-title", text: title, "aria-hidden": "true" }, box);
  return box;
};
