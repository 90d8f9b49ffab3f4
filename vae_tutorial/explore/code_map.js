// The decoder of an autoencoder with two code numbers: 2-256-64, ReLU, the output linear.
const PIXELS = 64, UNITS = 256;
const decoderOf = (view) => {
  const flat = fromHalf(view), bias = 2 * UNITS, second = bias + UNITS, last = second + UNITS * PIXELS;
  return ([a, b]) => {
    const h = new Float64Array(UNITS), out = new Float64Array(PIXELS);
    for (let i = 0; i < UNITS; i++) h[i] = Math.max(0, flat[2 * i] * a + flat[2 * i + 1] * b + flat[bias + i]);
    for (let j = 0; j < PIXELS; j++) {
      let v = flat[last + j];
      for (let i = 0, row = second + j * UNITS; i < UNITS; i++) v += flat[row + i] * h[i];
      out[j] = v;
    }
    return out;
  };
};
// The nearest training digit: its index, and the root of the sum of squared differences.
const nearestDigit = (picture, images) => {
  let best = Infinity, index = 0;
  for (let n = 0, at = 0; n * PIXELS < images.length; n++) {
    let s = 0;
    for (let j = 0; j < PIXELS; j++) { const d = picture[j] - images[at++] / 16; s += d * d; }
    if (s < best) { best = s; index = n; }
  }
  return { index, distance: Math.sqrt(best) };
};

function render({ model, el }) {
  const get = (k) => model.get(k);
  const view = get("images"), images = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  const bits = get("holes"), codes = get("codes"), threshold = get("threshold"), [low, high] = get("window");
  const decode = decoderOf(get("weights")), cells = 48;
  const box = scaffold(el, "Drag the ring: what does the decoder draw there?");
  const panels = htmlNode("div", { class: "vf-panels" }, box);

  const W = 340, H = 340;
  const px = (v) => ((v - low[0]) / (high[0] - low[0])) * W, py = (v) => H - ((v - low[1]) / (high[1] - low[1])) * H;
  const plane = svgNode("svg", { viewBox: `0 0 ${W} ${H}`, role: "img" }, htmlNode("div", {}, panels));
  const title = svgNode("title", {}, plane);
  // Holes: a grey ground with strokes, so that they show without colour too.
  let ground = "", strokes = "";
  const side = W / cells;
  for (let r = 0; r < cells; r++) for (let c = 0; c < cells; c++) {
    const k = r * cells + c;
    if (!((bits.getUint8(k >> 3) >> (7 - (k & 7))) & 1)) continue;
    const x = c * side, y = H - (r + 1) * side;
    ground += `M${x.toFixed(1)} ${y.toFixed(1)}h${side.toFixed(2)}v${side.toFixed(2)}h${(-side).toFixed(2)}z`;
    strokes += `M${x.toFixed(1)} ${(y + side).toFixed(1)}l${side.toFixed(2)} ${(-side).toFixed(2)}`;
  }
  svgNode("path", { d: ground || "M0 0", fill: "var(--vf-gap)", "fill-opacity": 0.28 }, plane);
  svgNode("path", { d: strokes || "M0 0", fill: "none", stroke: "var(--vf-gap)", "stroke-width": 0.9 }, plane);
  svgNode("rect", { x: 0.5, y: 0.5, width: W - 1, height: H - 1, fill: "none", stroke: "var(--vf-soft)" }, plane);
  for (const [a, b, k] of codes.filter((_, n) => n % 3 === 0)) {
    svgNode("text", { x: px(a).toFixed(1), y: (py(b) + 3.5).toFixed(1), "text-anchor": "middle", class: `vf-digit vf-d${k}`, "aria-hidden": "true", text: k }, plane);
  }
  svgNode("text", { x: W - 6, y: H - 8, "text-anchor": "end", class: "vf-tick vf-halo", text: "code z₁" }, plane);
  svgNode("text", { x: 6, y: 16, class: "vf-tick vf-halo", text: "code z₂" }, plane);
  const handle = svgNode("g", { class: "vf-handle" }, plane);
  handle.dataset.handle = "z";
  svgNode("circle", { r: 24, fill: "transparent" }, handle); // a finger needs room
  svgNode("circle", { r: 9, fill: "none", stroke: "var(--vf-bg)", "stroke-width": 7 }, handle);
  svgNode("circle", { r: 9, fill: "none", stroke: "var(--vf-fg)", "stroke-width": 3 }, handle);

  const right = htmlNode("div", {}, panels);
  const tiles = htmlNode("div", { style: "display:grid;grid-template-columns:1fr 1fr;gap:1rem;max-width:17rem" }, right);
  const paper = (caption, name) => {
    const tile = htmlNode("div", {}, tiles);
    htmlNode("div", { class: "vf-caption", text: caption }, tile);
    const canvas = htmlNode("canvas", { width: 8, height: 8, class: "vf-paper", role: "img", "aria-label": name }, tile);
    const context = canvas.getContext("2d"), picture = context.createImageData(8, 8);
    return (values, label) => {
      for (let j = 0; j < PIXELS; j++) {
        picture.data.fill(Math.round(255 * (1 - clamp(values[j], 0, 1))), 4 * j, 4 * j + 3);
        picture.data[4 * j + 3] = 255;
      }
      context.putImageData(picture, 0, 0);
      canvas.setAttribute("aria-label", label);
    };
  };
  const showDecoded = paper("decoded", "decoded picture"), showNearest = paper("nearest digit", "nearest digit");

  // The meter: the distance, with a mark at the threshold.
  const MW = 300, most = 4, mx = (v) => 8 + (Math.min(v, most) / most) * (MW - 16);
  const meter = svgNode("svg", { viewBox: `0 0 ${MW} 62`, role: "img", style: "max-width:19rem;margin-top:.5rem" }, right);
  const meterTitle = svgNode("title", {}, meter);
  svgNode("rect", { x: mx(0), y: 24, width: mx(most) - mx(0), height: 14, fill: "var(--vf-faint)" }, meter);
  const bar = svgNode("rect", { x: mx(0), y: 24, height: 14, width: 0 }, meter);
  svgNode("line", { x1: mx(threshold), x2: mx(threshold), y1: 18, y2: 44, stroke: "var(--vf-fg)", "stroke-width": 2 }, meter);
  svgNode("text", { x: mx(threshold), y: 13, "text-anchor": "middle", text: `95 % of real digits stay below ${fixed(threshold, 2)}` }, meter);
  for (const v of [0, 1, 2, 3, 4]) svgNode("text", { x: mx(v), y: 57, "text-anchor": "middle", class: "vf-tick vf-num", text: v === most ? "4+" : fixed(v, 0) }, meter);

  const ledger = htmlNode("table", { class: "vf-ledger" }, right);
  const body = htmlNode("tbody", {}, ledger);
  const entry = (key, text) => {
    const tr = htmlNode("tr", {}, body);
    htmlNode("th", { scope: "row", text }, tr);
    return htmlNode("td", { "data-term": key }, tr);
  };
  const distanceCell = entry("distance", "to the nearest training digit");
  const codeCell = entry("code", "to the nearest code, in the plane");

  const message = htmlNode("p", { class: "vf-message" }, box);
  const controls = htmlNode("div", { class: "vf-control" }, box);
  let stop = () => {};
  const put = (z) => { model.set("z", z); model.save_changes(); };
  const take = (z) => { stop(); put(z); };
  const round = (v) => Math.round(v * 1000) / 1000;
  const sliders = [0, 1].map((k) => sliderRow(controls, {
    label: `code z${"₁₂"[k]}`, spoken: `${["first", "second"][k]} number of the code`, min: low[k], max: high[k], step: 0.01, digits: 2,
    onInput: (v) => take(get("z").map((old, i) => (i === k ? v : old))),
  }));
  onDrag(handle, plane, (x, y) => take([
    round(clamp(low[0] + (x / W) * (high[0] - low[0]), low[0], high[0])),
    round(clamp(low[1] + ((H - y) / H) * (high[1] - low[1]), low[1], high[1])),
  ]));
  const row = htmlNode("div", { class: "vf-buttons" }, controls);
  htmlNode("span", { text: "Go to a" }, row);
  for (let k = 0; k < 10; k++) {
    const of = codes.filter(([, , label]) => label === k), middle = (i) => of.map((c) => c[i]).sort((a, b) => a - b)[of.length >> 1];
    const centre = [middle(0), middle(1)];
    const target = of.reduce((a, b) => (Math.hypot(a[0] - centre[0], a[1] - centre[1]) <= Math.hypot(b[0] - centre[0], b[1] - centre[1]) ? a : b)).slice(0, 2);
    button(row, String(k), () => {
      stop();
      stop = glide(get("z"), target, (z) => put(z));
    }, { "aria-label": `Go to the digits ${k}`, class: "vf-small" });
  }
  const say = announcer(box);

  const draw = () => {
    const z = get("z"), picture = decode(z), { index, distance } = nearestDigit(picture, images);
    const near = Math.min(...codes.map(([a, b]) => Math.hypot(a - z[0], b - z[1])));
    const hole = distance > threshold, label = codes[index][2], a = label === 8 ? "an" : "a";
    sliders.forEach((show, k) => show(z[k]));
    handle.setAttribute("transform", `translate(${px(z[0]).toFixed(1)} ${py(z[1]).toFixed(1)})`);
    showDecoded(picture, `The picture decoded at ${fixed(z[0], 2)}, ${fixed(z[1], 2)}`);
    showNearest(Array.from({ length: PIXELS }, (_, j) => images[index * PIXELS + j] / 16), `The nearest training digit, ${a} ${label}`);
    setAll(bar, { width: (mx(distance) - mx(0)).toFixed(1), fill: hole ? "var(--vf-kl)" : "var(--vf-elbo)" });
    distanceCell.textContent = fixed(distance, 2);
    codeCell.textContent = fixed(near, 2);
    const story = hole ? `A hole: no training digit is within ${fixed(threshold, 2)} of this picture. The decoder was never asked about this place.`
      : distance > 0.75 * threshold ? `Something like ${a} ${label}: as far from the nearest training digit as an unusual real one.`
      : `A${a.slice(1)} ${label}, near to a training digit.`;
    message.textContent = story;
    title.textContent = `The plane of codes with the training digits as numerals, holes hatched, and a ring at ${fixed(z[0], 2)}, ${fixed(z[1], 2)}.`;
    meterTitle.textContent = `Distance ${fixed(distance, 2)}, ${hole ? "above" : "below"} the mark at ${fixed(threshold, 2)}.`;
    say(`${story} Distance ${fixed(distance, 2)}.`);
  };
  const quiet = listen(model, ["z"], draw);
  draw();
  el.__vf = { name: "code_map", decode, nearest: (picture) => nearestDigit(picture, images) };
  return () => { quiet(); stop(); say.stop(); };
}
export default { render };
