// A Bernoulli VAE trains in the page: 64–H–2 encoder, 2–H–64 decoder, tanh; gradients by hand, Adam.
const PIXELS = 64, MAX_STEPS_A_FRAME = 2, REST_AFTER = 4000, STILL = 1000, RECENT = 40;
const BETAS = [0, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.4, 2, 2.8, 4, 5.6, 8];

// All parameters in one array in PyTorch's order: a layer's weight, one row per output, then its bias.
const bubbleNet = (H) => {
  let at = 0;
  const [W1, b1, W2, b2, W3, b3, W4, b4] = [H * PIXELS, H, 4 * H, 4, 2 * H, H, PIXELS * H, PIXELS].map((n) => (at += n) - n);
  const on = new Int32Array(PIXELS), ink = new Float64Array(PIXELS), q = new Float64Array(4);
  const h = new Float64Array(H), u = new Float64Array(H), du = new Float64Array(H), dl = new Float64Array(PIXELS);
  // μ₁, μ₂, log σ₁², log σ₂² of q(z|x) into `q`; returns how many pixels hold ink.
  const encode = (w, images, x) => {
    let n = 0;
    for (let j = 0; j < PIXELS; j++) { const v = images[x + j]; if (v !== 0) { on[n] = j; ink[n++] = v; } }
    for (let i = 0, row = W1; i < H; i++, row += PIXELS) {
      let a = w[b1 + i];
      for (let k = 0; k < n; k++) a += w[row + on[k]] * ink[k];
      h[i] = Math.tanh(a);
    }
    for (let o = 0; o < 4; o++) {
      let a = w[b2 + o];
      for (let i = 0, row = W2 + o * H; i < H; i++) a += w[row + i] * h[i];
      q[o] = a;
    }
    return n;
  };
  const hiddenOf = (w, z0, z1) => {
    for (let i = 0; i < H; i++) u[i] = Math.tanh(w[b3 + i] + w[W3 + 2 * i] * z0 + w[W3 + 2 * i + 1] * z1);
  };
  const logit = (w, p) => {
    let a = w[b4 + p], b = 0, c = 0, d = 0; // four sums, so that none waits for the last
    for (let i = 0, row = W4 + p * H; i < H; i += 4) {
      a += w[row + i] * u[i];
      b += w[row + i + 1] * u[i + 1];
      c += w[row + i + 2] * u[i + 2];
      d += w[row + i + 3] * u[i + 3];
    }
    return a + b + (c + d);
  };
  return {
    size: at,
    encode: (w, images, row) => { encode(w, images, row * PIXELS); return q; },
    decode(w, z0, z1, out) { // Bernoulli probabilities
      hiddenOf(w, z0, z1);
      for (let p = 0; p < PIXELS; p++) out[p] = 1 / (1 + Math.exp(-logit(w, p)));
      return out;
    },
    // Averages over the batch of log p(x|z) and of the KL; with g, the gradient of −rec + β KL.
    terms(w, images, rows, noise, beta, g) {
      const B = rows.length;
      let reconstruction = 0, kl = 0;
      if (g) g.fill(0);
      for (let r = 0; r < B; r++) {
        const x = rows[r] * PIXELS, n = encode(w, images, x), e0 = noise[2 * r], e1 = noise[2 * r + 1];
        const m0 = q[0], m1 = q[1], s0 = Math.exp(q[2] / 2), s1 = Math.exp(q[3] / 2);
        kl += 0.5 * (m0 * m0 + s0 * s0 - 1 - q[2] + m1 * m1 + s1 * s1 - 1 - q[3]);
        const z0 = m0 + s0 * e0, z1 = m1 + s1 * e1;
        hiddenOf(w, z0, z1);
        for (let p = 0; p < PIXELS; p++) {
          const l = logit(w, p), v = images[x + p], e = Math.exp(-Math.abs(l));
          reconstruction += v * l - Math.max(l, 0) - Math.log(1 + e);
          dl[p] = ((l >= 0 ? 1 : e) / (1 + e) - v) / B; // (sigmoid − x) / B
        }
        if (!g) continue;
        du.fill(0);
        for (let p = 0, r0 = W4; p < PIXELS; p += 4, r0 += 4 * H) { // four pixels at once: fewer loads and stores
          const p0 = dl[p], p1 = dl[p + 1], p2 = dl[p + 2], p3 = dl[p + 3], r1 = r0 + H, r2 = r1 + H, r3 = r2 + H;
          g[b4 + p] += p0; g[b4 + p + 1] += p1; g[b4 + p + 2] += p2; g[b4 + p + 3] += p3;
          for (let i = 0; i < H; i++) {
            const a = u[i];
            g[r0 + i] += p0 * a; g[r1 + i] += p1 * a; g[r2 + i] += p2 * a; g[r3 + i] += p3 * a;
            du[i] += p0 * w[r0 + i] + p1 * w[r1 + i] + (p2 * w[r2 + i] + p3 * w[r3 + i]);
          }
        }
        let d0 = 0, d1 = 0; // with respect to z
        for (let i = 0; i < H; i++) {
          const a = du[i] * (1 - u[i] * u[i]);
          g[b3 + i] += a;
          g[W3 + 2 * i] += a * z0;
          g[W3 + 2 * i + 1] += a * z1;
          d0 += a * w[W3 + 2 * i];
          d1 += a * w[W3 + 2 * i + 1];
        }
        // Through z = μ + σ ε, plus β times the KL's own slope.
        const c0 = d0 + (beta * m0) / B, c1 = d1 + (beta * m1) / B;
        const c2 = 0.5 * (d0 * s0 * e0 + (beta * (s0 * s0 - 1)) / B), c3 = 0.5 * (d1 * s1 * e1 + (beta * (s1 * s1 - 1)) / B);
        g[b2] += c0; g[b2 + 1] += c1; g[b2 + 2] += c2; g[b2 + 3] += c3;
        for (let i = 0, row = W1; i < H; i++, row += PIXELS) {
          const v = h[i];
          g[W2 + i] += c0 * v; g[W2 + H + i] += c1 * v; g[W2 + 2 * H + i] += c2 * v; g[W2 + 3 * H + i] += c3 * v;
          const a = (c0 * w[W2 + i] + c1 * w[W2 + H + i] + c2 * w[W2 + 2 * H + i] + c3 * w[W2 + 3 * H + i]) * (1 - v * v);
          g[b1 + i] += a;
          for (let k = 0; k < n; k++) g[row + on[k]] += a * ink[k];
        }
      }
      return { reconstruction: reconstruction / B, kl: kl / B };
    },
  };
};

// Adam as in PyTorch; noise and order of the images depend on the step alone, so a reset repeats.
const bubbleTrainer = ({ hidden, start, images, batch, rate }) => {
  const net = bubbleNet(hidden), count = images.length / PIXELS, perEpoch = Math.floor(count / batch);
  const w = Float64Array.from(start), g = new Float64Array(net.size), m = new Float64Array(net.size), v = new Float64Array(net.size);
  let order = null, orderOf = -1;
  const plan = (step) => {
    const epoch = Math.floor(step / perEpoch), first = (step % perEpoch) * batch;
    if (epoch !== orderOf) {
      const key = normalNoise(2 ** 30 + epoch, count);
      order = Array.from(key.keys()).sort((a, b) => key[a] - key[b]);
      orderOf = epoch;
    }
    return { rows: order.slice(first, first + batch), noise: normalNoise(step + 1, 2 * batch) };
  };
  const me = {
    net, w, g, plan, steps: 0,
    reset() { w.set(start); m.fill(0); v.fill(0); me.steps = 0; },
    look: () => { const { rows, noise } = plan(me.steps); return net.terms(w, images, rows, noise, 0, null); },
    step(beta, given) {
      const { rows, noise } = given || plan(me.steps), found = net.terms(w, images, rows, noise, beta, g), t = ++me.steps;
      const size = rate / (1 - 0.9 ** t), root = Math.sqrt(1 - 0.999 ** t);
      for (let k = 0; k < w.length; k++) {
        m[k] += 0.1 * (g[k] - m[k]);
        v[k] += 0.001 * (g[k] * g[k] - v[k]);
        w[k] -= (size * m[k]) / (Math.sqrt(v[k]) / root + 1e-8);
      }
      return found;
    },
  };
  return me;
};

function render({ model, el }) {
  const bytes = (k) => { const d = model.get(k); return new Uint8Array(d.buffer, d.byteOffset, d.byteLength); };
  const images = Float64Array.from(bytes("pixels"), (v) => v / 16), labels = bytes("labels"), shown = model.get("shown");
  const fresh = () => bubbleTrainer({ hidden: model.get("hidden"), start: fromHalf(model.get("weights")), images, batch: model.get("batch"), rate: model.get("rate") });
  const trainer = fresh(), { net, w } = trainer;
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const box = scaffold(el, "It trains while you watch: move β, and the bubbles answer");
  const panels = htmlNode("div", { class: "vf-panels" }, box);

  // Left: the latent plane.
  const left = htmlNode("div", {}, panels);
  const plane = htmlNode("canvas", {
    tabindex: 0, role: "application", "aria-roledescription": "latent plane",
    style: "display:block;width:100%;aspect-ratio:1;touch-action:pan-y;cursor:crosshair",
    "aria-label": "Latent plane with the bubbles q of z given x. Arrow keys move the point that is decoded, Shift makes the steps larger.",
  }, left);
  const pen = plane.getContext("2d");
  htmlNode("div", { class: "vf-note", text: "Each bubble: 1σ of q(z | x), with its numeral. Dashed: 1σ and 2σ of the prior. Axes z₁, z₂ in prior standard deviations." }, left);

  // Right: controls, numbers, curves.
  const right = htmlNode("div", {}, panels);
  const controls = htmlNode("div", { class: "vf-control" }, right);
  const row = htmlNode("div", { class: "vf-buttons" }, controls);
  const play = button(row, "Play", () => { setPlaying(!model.get("playing")); tell(); });
  button(row, "1 step", () => advance(1));
  button(row, "100 steps", () => advance(100));
  button(row, "Reset", () => { reset(); tell(); });
  const slide = htmlNode("label", { class: "vf-row" }, controls);
  htmlNode("span", { text: "weight β" }, slide);
  const slider = htmlNode("input", { type: "range", min: 0, max: BETAS.length - 1, step: 1, "aria-label": "beta, the weight of the KL" }, slide);
  const sliderValue = htmlNode("span", { class: "vf-num", "aria-hidden": "true" }, slide);
  slider.addEventListener("input", () => setBeta(BETAS[Number(slider.value)]));
  const stops = htmlNode("div", { class: "vf-buttons" }, controls);
  htmlNode("span", { text: "Set β to" }, stops);
  const presets = [0, 1, 4].map((b) => [b, button(stops, String(b), () => setBeta(b), { "aria-label": `Set beta to ${b}`, "aria-pressed": "false" })]);

  const cells = {};
  const ledger = htmlNode("table", { class: "vf-ledger" }, right);
  const caption = htmlNode("caption", {}, ledger), body = htmlNode("tbody", {}, ledger);
  for (const [key, colour, text, sum] of [
    ["reconstruction", "reconstruction", "− reconstruction"], ["kl", "kl", "+ KL(q ‖ prior)"], ["elbo", "elbo", "= − ELBO", true],
    ["objective", "", "minimized: − rec + β KL"], ["width", "", "average σ of a bubble"], ["spread", "", "spread of their means"], ["active", "", "active units"],
  ]) {
    const tr = htmlNode("tr", sum ? { class: "vf-sum" } : {}, body), th = htmlNode("th", { scope: "row" }, tr);
    htmlNode("span", { class: "vf-key", style: colour ? `background:var(--vf-${colour})` : "" }, th);
    th.append(text);
    cells[key] = htmlNode("td", { "data-term": key }, tr);
  }
  const CW = 330, CH = 132, TOP = 10, FLOOR = 112, X0 = 26, X1 = 262;
  const chart = svgNode("svg", { viewBox: `0 0 ${CW} ${CH}`, role: "img" }, right);
  const chartTitle = svgNode("title", {}, chart);
  const grid = [0, 1, 2].map(() => [
    svgNode("line", { x1: X0, x2: X1, stroke: "var(--vf-faint)" }, chart),
    svgNode("text", { x: X0 - 4, "text-anchor": "end", class: "vf-tick vf-num" }, chart),
  ]);
  const turns = svgNode("g", {}, chart);
  const lines = [["reconstruction", "− reconstr.", "6 3"], ["kl", "KL", "2 2"], ["elbo", "− ELBO", ""]].map(([key, text, dash]) => ({
    key,
    path: svgNode("path", { fill: "none", stroke: `var(--vf-${key})`, "stroke-width": 2, "stroke-dasharray": dash, "stroke-linejoin": "round" }, chart),
    label: svgNode("text", { x: X1 + 4, class: "vf-tick", text }, chart),
  }));
  svgNode("text", { x: X0, y: CH - 2, "text-anchor": "middle", class: "vf-tick vf-num", text: "0" }, chart);
  const lastStep = svgNode("text", { x: X1, y: CH - 2, "text-anchor": "end", class: "vf-tick vf-num" }, chart);

  const message = htmlNode("p", { class: "vf-message", style: "min-height:4.4em" }, box);
  const lower = htmlNode("div", { style: "display:flex;flex-wrap:wrap;gap:.4rem 1rem;align-items:flex-start" }, box);
  const strip = htmlNode("div", { style: "flex:1 1 18rem;min-width:0" }, lower);
  const probe = htmlNode("div", { style: "flex:0 0 6.2rem" }, lower);
  const pixels = (parent, text, width, height, more) => {
    const label = htmlNode("div", { class: "vf-caption", style: "font-variant-numeric:tabular-nums", text }, parent);
    const canvas = htmlNode("canvas", { width, height, role: "img", class: "vf-paper", ...more }, parent);
    const context = canvas.getContext("2d");
    return { canvas, context, label, image: context.createImageData(width, height) };
  };
  const ten = pixels(strip, "ten digits x; below each, what the decoder makes of z = μ", 89, 17, { "aria-label": "Ten digits above their reconstructions", style: "aspect-ratio:89/17;background:none;border:0;border-radius:0" });
  const here = pixels(probe, "", 8, 8, { style: "width:5rem" });
  const put = (target, values, from, left, top) => {
    for (let i = 0; i < PIXELS; i++) {
      const at = 4 * ((top + (i >> 3)) * target.image.width + left + (i & 7)), grey = 255 - Math.round(255 * values[from + i]);
      target.image.data[at] = target.image.data[at + 1] = target.image.data[at + 2] = grey;
      target.image.data[at + 3] = 255;
    }
  };
  for (let k = 0; k < 10; k++) put(ten, images, k * PIXELS, 9 * k, 0);
  htmlNode("p", { class: "vf-note", text: `The page trains it: 64–${model.get("hidden")}–2 encoder, 2–${model.get("hidden")}–64 decoder, tanh, ${labels.length} images, batches of ${model.get("batch")}, one z per image, Adam at ${model.get("rate")}. Numbers: average of the last ${RECENT} batches; a unit is active if its μ has a variance above 0.01. Images: Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI, CC BY 4.0.` }, box);
  const say = announcer(box);

  // ---------------------------------------------------------------- state
  const Q = new Float64Array(4 * shown), mean = new Float64Array(PIXELS), z = [1, 1];
  let recent = [], history = [], every = 1, pending = null, view = { x: 0, y: 0, r: 3 }, interactionAt = 0, look = {};
  const beta = () => model.get("beta");
  const remember = (found) => {
    recent.push(found);
    if (recent.length > RECENT) recent.shift();
    pending ||= { n: 0, reconstruction: 0, kl: 0 };
    pending.n++; pending.reconstruction += found.reconstruction; pending.kl += found.kl;
    if (pending.n < every) return;
    history.push({ step: trainer.steps, beta: beta(), reconstruction: pending.reconstruction / pending.n, kl: pending.kl / pending.n });
    pending = null;
    if (history.length >= 240) { // halve the curve, keep the numbers
      const half = [];
      for (let k = 0; k + 1 < history.length; k += 2) half.push({ ...history[k + 1], reconstruction: (history[k].reconstruction + history[k + 1].reconstruction) / 2, kl: (history[k].kl + history[k + 1].kl) / 2 });
      history = half;
      every *= 2;
    }
  };
  const train = (n) => { for (let k = 0; k < n; k++) remember(trainer.step(beta())); };
  const clear = () => { trainer.reset(); recent = []; history = []; pending = null; every = 1; };
  const summary = () => {
    let width = 0, within = 0;
    const sum = [0, 0], square = [0, 0];
    for (let k = 0; k < shown; k++) {
      const q = net.encode(w, images, k);
      for (let i = 0; i < 2; i++) {
        Q[4 * k + i] = q[i];
        width += Q[4 * k + 2 + i] = Math.exp(q[2 + i] / 2);
        within += Q[4 * k + 2 + i] ** 2;
        sum[i] += q[i]; square[i] += q[i] * q[i];
      }
    }
    const variance = [0, 1].map((i) => (square[i] - sum[i] * sum[i] / shown) / (shown - 1));
    const found = recent.length ? recent : [trainer.look()];
    const average = (key) => found.reduce((s, f) => s + f[key], 0) / found.length;
    const reconstruction = average("reconstruction"), kl = average("kl");
    return {
      steps: trainer.steps, beta: beta(), reconstruction, kl, elbo: reconstruction - kl, objective: reconstruction - beta() * kl,
      width: width / (2 * shown), spread: Math.sqrt((variance[0] + variance[1]) / 2), together: Math.sqrt(within / (2 * shown) + (variance[0] + variance[1]) / 2), active: variance.filter((v) => v > 0.01).length, variance,
    };
  };

  // ---------------------------------------------------------------- drawing
  const S = 330; // the plane in its own units
  let hues = [], fg = "#000", ground = "#fff", numerals = null, scale = 1, lean = false;
  const dress = () => {
    const style = getComputedStyle(el), value = (k, other) => style.getPropertyValue(k).trim() || other;
    hues = Array.from({ length: 10 }, (_, k) => value(`--vf-d${k}`, "currentColor"));
    fg = value("--vf-fg", "currentColor");
    ground = value("--vf-bg", "#fff");
    // Numerals as small pictures: text is slow to set 120 times in a frame.
    const size = Math.ceil(16 * scale);
    numerals = hues.map((hue, k) => {
      const tile = document.createElement("canvas"), t = tile.getContext("2d");
      tile.width = tile.height = size;
      t.font = `600 ${11 * scale}px system-ui, sans-serif`;
      t.textAlign = "center"; t.textBaseline = "middle"; t.fillStyle = hue === "currentColor" ? style.color : hue;
      t.fillText(String(k), size / 2, size / 2);
      return tile;
    });
  };
  const fit = () => {
    const wide = Math.round((plane.clientWidth || S) * (lean ? 1 : clamp(devicePixelRatio || 1, 1, 2)));
    if (plane.width !== wide || !numerals) { plane.width = plane.height = wide; scale = wide / S; dress(); }
  };
  const places = () => {
    const unit = (S / 2 - 8) / view.r;
    return { unit, X: (a) => S / 2 + (a - view.x) * unit, Y: (b) => S / 2 - (b - view.y) * unit };
  };
  const inView = (a, k) => clamp(a, view[k] - view.r, view[k] + view.r);
  const drawPlane = (settle) => {
    // The window holds all bubbles and the prior's circles, and follows them smoothly.
    const low = [-2.6, -2.6], high = [2.6, 2.6];
    for (let k = 0; k < shown; k++) for (let i = 0; i < 2; i++) {
      low[i] = Math.min(low[i], Q[4 * k + i] - Q[4 * k + 2 + i]);
      high[i] = Math.max(high[i], Q[4 * k + i] + Q[4 * k + 2 + i]);
    }
    const goal = { x: (low[0] + high[0]) / 2, y: (low[1] + high[1]) / 2, r: 1.12 * Math.max(high[0] - low[0], high[1] - low[1]) / 2 };
    for (const k in goal) view[k] += (settle ? 1 : 0.15) * (goal[k] - view[k]);
    const { unit, X, Y } = places(), R = view.r;
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, S, S);
    pen.globalAlpha = 0.35; pen.strokeStyle = fg; pen.lineWidth = 1;
    pen.strokeRect(0.5, 0.5, S - 1, S - 1);
    const gap = [1, 2, 5, 10, 20, 50, 100, 200, 500].find((t) => R / t < 5) || 1000;
    const ticks = (centre) => {
      const found = [];
      for (let v = Math.ceil((centre - R) / gap) * gap; v < centre + R; v += gap) found.push(v);
      return found;
    };
    pen.fillStyle = fg; pen.font = "11px system-ui, sans-serif"; pen.textAlign = "center"; pen.textBaseline = "alphabetic";
    const mark = (x0, y0, x1, y1) => { pen.globalAlpha = 0.5; pen.beginPath(); pen.moveTo(x0, y0); pen.lineTo(x1, y1); pen.stroke(); pen.globalAlpha = 0.75; };
    for (const v of ticks(view.x)) {
      mark(X(v), S - 1, X(v), S - 5);
      if (X(v) > 30) pen.fillText(fixed(v, 0), X(v), S - 8);
    }
    pen.textAlign = "start";
    for (const v of ticks(view.y)) {
      mark(1, Y(v), 5, Y(v));
      if (Y(v) > 14 && Y(v) < S - 22) pen.fillText(fixed(v, 0), 8, Y(v) + 4);
    }
    pen.lineWidth = lean ? 0.99 / scale : 1.4; // a line of one device pixel is drawn much faster
    const fill = lean ? 0 : 0.07 * Math.min(1, (0.7 * look.spread) / look.width); // none where all lie on each other
    for (let k = 0; k < shown; k++) {
      pen.beginPath();
      pen.ellipse(X(Q[4 * k]), Y(Q[4 * k + 1]), Math.max(Q[4 * k + 2] * unit, 0.7), Math.max(Q[4 * k + 3] * unit, 0.7), 0, 0, 2 * Math.PI);
      pen.strokeStyle = pen.fillStyle = hues[labels[k]];
      if (fill > 0.005) { pen.globalAlpha = fill; pen.fill(); }
      pen.globalAlpha = lean ? 0.8 : 0.55; pen.stroke();
    }
    pen.globalAlpha = 1;
    // On whole pixels, so that nothing has to be resampled.
    const tile = numerals[0].width / scale, snap = (v) => Math.round((v - tile / 2) * scale) / scale;
    for (let k = 0; k < shown; k++) pen.drawImage(numerals[labels[k]], snap(X(Q[4 * k])), snap(Y(Q[4 * k + 1])), tile, tile);
    // The prior on top, so that a collapse is seen for what it is.
    pen.setLineDash([6, 4]); pen.strokeStyle = fg;
    for (const ring of [1, 2]) { pen.lineWidth = ring === 1 ? 2.2 : 1.4; pen.beginPath(); pen.arc(X(0), Y(0), ring * unit, 0, 2 * Math.PI); pen.stroke(); }
    pen.setLineDash([]);
    pen.font = "600 12px system-ui, sans-serif"; pen.fillStyle = fg; pen.textAlign = "center";
    if (unit > 22) {
      pen.strokeStyle = ground; pen.lineWidth = 4; pen.lineJoin = "round";
      pen.strokeText("prior", X(0), Y(2) - 5);
      pen.fillText("prior", X(0), Y(2) - 5);
    }
    // The point that is decoded.
    const a = X(inView(z[0], "x")), b = Y(inView(z[1], "y"));
    pen.lineWidth = 2; pen.strokeStyle = fg;
    pen.beginPath();
    pen.arc(a, b, 6, 0, 2 * Math.PI);
    for (const [p, q] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) { pen.moveTo(a + 6 * p, b + 6 * q); pen.lineTo(a + 11 * p, b + 11 * q); }
    pen.stroke();
  };
  const drawProbe = () => {
    put(here, net.decode(w, z[0], z[1], mean), 0, 0, 0);
    here.context.putImageData(here.image, 0, 0);
    const at = `(${fixed(z[0], 1)}, ${fixed(z[1], 1)})`;
    here.label.textContent = `z = ${at}`;
    here.canvas.setAttribute("aria-label", `The decoder's mean at z = ${at}`);
  };
  const drawStrip = () => {
    for (let k = 0; k < 10; k++) put(ten, net.decode(w, Q[4 * k], Q[4 * k + 1], mean), 0, 9 * k, 9);
    ten.context.putImageData(ten.image, 0, 0);
  };
  const drawChart = () => {
    const last = history.length ? history[history.length - 1].step : 1, shownCurve = history.filter((p) => p.step > 2);
    const highest = Math.max(0, ...shownCurve.map((p) => p.kl - p.reconstruction)), top = [50, 100, 200, 400, 1000].find((t) => highest <= t) || 1e4;
    const X = (step) => (X0 + (step / last) * (X1 - X0)).toFixed(1), Y = (v) => FLOOR - (clamp(v, 0, top) / top) * (FLOOR - TOP);
    grid.forEach(([line, text], i) => {
      const v = (top * i) / 2;
      setAll(line, { y1: Y(v), y2: Y(v) });
      setAll(text, { y: Y(v) + 4, text: i === 2 ? `${v} nats` : String(v), x: i === 2 ? X0 + 4 : X0 - 4, "text-anchor": i === 2 ? "start" : "end" });
    });
    const at = (key, p) => (key === "kl" ? p.kl : key === "elbo" ? p.kl - p.reconstruction : -p.reconstruction);
    const ends = lines.map(({ key, path, label }) => {
      path.setAttribute("d", history.length ? "M" + history.map((p) => `${X(p.step)} ${Y(at(key, p)).toFixed(1)}`).join("L") : "M0 0");
      return { label, y: history.length ? Y(at(key, history[history.length - 1])) : 0 };
    });
    // Labels keep a line's height between them.
    ends.sort((a, b) => b.y - a.y);
    let limit = FLOOR + 4;
    for (const { label, y } of ends) {
      const place = Math.min(y + 4, limit);
      setAll(label, { y: place.toFixed(1), visibility: history.length ? "visible" : "hidden" });
      limit = place - 13;
    }
    const changes = history.filter((p, k) => k > 0 && p.beta !== history[k - 1].beta).slice(-8);
    turns.replaceChildren(...changes.flatMap((p) => [
      svgNode("line", { x1: X(p.step), x2: X(p.step), y1: TOP, y2: FLOOR, stroke: "var(--vf-soft)", "stroke-dasharray": "1 3" }),
      svgNode("text", { x: Number(X(p.step)) + 2, y: TOP + 22, class: "vf-tick", text: `β ${p.beta}` }),
    ]));
    setAll(lastStep, { text: history.length ? `${last} steps` : "" });
    chartTitle.textContent = `Curves over ${trainer.steps} steps, nats per image: minus reconstruction, KL and minus ELBO.`;
  };
  const drawNumbers = () => {
    const s = look;
    for (const [key, v, digits] of [["reconstruction", -s.reconstruction, 2], ["kl", s.kl, 2], ["elbo", -s.elbo, 2], ["objective", -s.objective, 2], ["width", s.width, s.width < 0.1 ? 3 : 2], ["spread", s.spread, 2]])
      cells[key].textContent = fixed(v, digits);
    cells.active.textContent = `${s.active} of 2`;
    caption.textContent = `After ${s.steps} steps, now at β = ${s.beta}; nats per image`;
  };
  const story = () => {
    const s = look;
    if (!s.steps) return "Untrained: every bubble is nearly the prior's circle. Predict what training will do to them at this β, then press Play.";
    if (s.beta > 1.5 && s.kl < 0.03) return "Collapse: every bubble is the prior's own circle, whatever its numeral. z says nothing about x, and the decoder draws one picture for all: the mean image.";
    if (s.beta <= 1.5 && s.kl < 0.1) return "The bubbles lie on each other: the decoder knows only the mean image so far.";
    if (s.width < 0.1 && s.beta < 0.05) return `No price on z: the bubbles have shrunk to an average σ of ${fixed(s.width, 3)}, and their means have spread to a standard deviation of ${fixed(s.spread, 1)}. Only the ratio counts for the reconstruction; nobody pays the KL.`;
    return s.beta === 0 ? "No price on z: the bubbles shrink, and their means move apart."
      : `The bubbles divide the plane: average σ ${fixed(s.width, 2)}, means spread by ${fixed(s.spread, 2)}. Overlap costs reconstruction, leaving the prior costs ${s.beta === 1 ? "" : `${s.beta} × `}KL. All together they have a standard deviation of ${fixed(s.together, 2)}; the prior's is 1.`;
  };
  let frame = 0;
  const draw = (settle) => {
    if (settle) lean = false; // a picture at rest is drawn sharply
    fit();
    look = summary();
    drawPlane(settle);
    frame++;
    // Small things in turn, so that no frame has to do them all.
    if (settle || frame % 3 === 0) { drawStrip(); drawProbe(); }
    if (settle || frame % 6 === 1) drawNumbers();
    if (settle || frame % 12 === 4) drawChart();
    if (settle || frame % 30 === 7) message.textContent = story();
  };
  const drawControls = () => {
    const b = beta(), playing = model.get("playing");
    const nearest = BETAS.reduce((best, v, k) => (Math.abs(v - b) < Math.abs(BETAS[best] - b) ? k : best), 0);
    slider.value = nearest;
    slider.setAttribute("aria-valuetext", `beta ${b}`);
    sliderValue.textContent = String(b);
    for (const [v, node] of presets) node.setAttribute("aria-pressed", String(v === b));
    play.textContent = playing ? "Pause" : "Play";
  };
  const tell = () => say(`${model.get("playing") ? "Training." : `Paused after ${look.steps} steps.`} beta ${look.beta}. ${story()} Minus reconstruction ${fixed(-look.reconstruction, 1)}, KL ${fixed(look.kl, 1)}, minus ELBO ${fixed(-look.elbo, 1)} nats.`);

  // ---------------------------------------------------------------- time
  let request = 0, seen = false, stepCost = 1, drawCost = 4, interval = 16;
  const clock = { frames: 0, steps: 0, busy: 0, last: 0 };
  const tick = (now) => {
    request = 0;
    const t0 = performance.now(), n = clamp(Math.floor((11 - drawCost) / stepCost), 1, MAX_STEPS_A_FRAME);
    train(n);
    const t1 = performance.now();
    draw(false);
    const t2 = performance.now();
    stepCost += 0.1 * ((t1 - t0) / n - stepCost);
    drawCost += 0.1 * (t2 - t1 - drawCost);
    if (clock.last && now - clock.last < 500) interval += 0.1 * (now - clock.last - interval);
    if (interval > 22) lean = true;
    clock.frames++; clock.steps += n; clock.busy += t2 - t0; clock.last = now;
    if (trainer.steps - interactionAt >= REST_AFTER) { setPlaying(false); message.textContent = `Paused after ${trainer.steps} steps, to spare your battery. ` + story(); }
    else run();
  };
  const run = () => {
    const go = model.get("playing") && seen && !document.hidden;
    if (go && !request) request = requestAnimationFrame(tick);
    if (!go && request) { cancelAnimationFrame(request); request = 0; }
  };
  const setPlaying = (on) => {
    interactionAt = trainer.steps;
    if (!on) { model.set("steps", trainer.steps); }
    model.set("playing", on);
    model.save_changes();
  };
  const setBeta = (b) => { interactionAt = trainer.steps; model.set("beta", b); model.save_changes(); tell(); };
  const advance = (n) => { model.set("playing", false); train(n); draw(true); model.set("steps", trainer.steps); model.save_changes(); tell(); };
  const reset = () => { interactionAt = 0; clear(); draw(true); model.set("steps", 0); model.save_changes(); };

  // ---------------------------------------------------------------- the point that is decoded
  const moveTo = (event) => {
    const r = plane.getBoundingClientRect(), { unit } = places();
    z[0] = inView(view.x + (((event.clientX - r.left) / r.width) * S - S / 2) / unit, "x");
    z[1] = inView(view.y + (S / 2 - ((event.clientY - r.top) / r.height) * S) / unit, "y");
    drawProbe();
    if (!request) drawPlane(true);
  };
  plane.addEventListener("pointerdown", (e) => { plane.setPointerCapture(e.pointerId); moveTo(e); });
  plane.addEventListener("pointermove", (e) => { if (e.pointerType === "mouse" || plane.hasPointerCapture(e.pointerId)) moveTo(e); });
  plane.addEventListener("keydown", (e) => {
    const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[e.key];
    if (!by) return;
    e.preventDefault();
    e.stopPropagation(); // the page's theme turns pages with arrow keys
    by.forEach((d, k) => { z[k] = inView(z[k] + d * view.r * (e.shiftKey ? 0.15 : 0.03), k ? "y" : "x"); });
    drawProbe();
    if (!request) drawPlane(true);
  });

  // ---------------------------------------------------------------- life
  const repaint = () => { dress(); draw(true); };
  const theme = new MutationObserver(repaint);
  for (const node of [document.documentElement, document.body]) theme.observe(node, { attributes: true, attributeFilter: ["data-theme", "data-mode", "theme", "class", "data-jp-theme-light"] });
  const sight = new IntersectionObserver((entries) => { seen = entries[entries.length - 1].isIntersecting; run(); }, { threshold: 0.15 });
  sight.observe(box);
  const size = new ResizeObserver(() => draw(!request));
  size.observe(plane);
  // On paper: what the reader has trained, or a trained picture in place of an untrained one.
  let forPaper = false;
  const beforePrint = () => { if (!trainer.steps) { forPaper = true; train(STILL); } draw(true); };
  const afterPrint = () => { if (forPaper) { forPaper = false; clear(); draw(true); } };
  const lessMotion = () => { if (calm.matches) setPlaying(false); };
  document.addEventListener("visibilitychange", run);
  window.addEventListener("beforeprint", beforePrint);
  window.addEventListener("afterprint", afterPrint);
  calm.addEventListener("change", lessMotion);
  const quiet = listen(model, ["beta", "playing"], () => {
    drawControls();
    if (!model.get("playing")) { look = summary(); drawNumbers(); message.textContent = story(); }
    run();
  });
  if (!calm.matches) model.set("playing", true); // starts when it comes into view
  if (matchMedia("print").matches) beforePrint();
  drawControls();
  draw(true);
  tell();
  el.__vf = { name: "bubbles", fresh, normalNoise, betas: BETAS, clock, state: () => ({ ...look, ...summary() }), point: () => [...z], running: () => request !== 0 };
  return () => {
    quiet(); say.stop(); theme.disconnect(); sight.disconnect(); size.disconnect();
    cancelAnimationFrame(request);
    document.removeEventListener("visibilitychange", run);
    window.removeEventListener("beforeprint", beforePrint);
    window.removeEventListener("afterprint", afterPrint);
    calm.removeEventListener("change", lessMotion);
  };
}
export default { render };
