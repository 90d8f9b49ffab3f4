// A Bernoulli VAE with two latent dimensions runs in the page: draw x, see q(z|x) and the ELBO.
const SIZE = 28, BOX = 20, PEN = 2.6, SOFT = 1.5, CENTRE = 14.5;

// Cover each pixel by how near its centre lies to a stroke.
const ink = (strokes, scale, sx, sy) => {
  const near = new Float64Array(SIZE * SIZE).fill(Infinity), reach = PEN / 2 + SOFT;
  for (const stroke of strokes) for (let k = 0; k < stroke.length; k++) {
    const a = stroke[Math.max(k - 1, 0)], b = stroke[k];
    const x0 = scale * a[0] + sx, y0 = scale * a[1] + sy, dx = scale * b[0] + sx - x0, dy = scale * b[1] + sy - y0;
    const n = Math.max(dx * dx + dy * dy, 1e-12);
    const i0 = Math.max(0, Math.floor(Math.min(y0, y0 + dy) - reach)), i1 = Math.min(SIZE - 1, Math.ceil(Math.max(y0, y0 + dy) + reach));
    const j0 = Math.max(0, Math.floor(Math.min(x0, x0 + dx) - reach)), j1 = Math.min(SIZE - 1, Math.ceil(Math.max(x0, x0 + dx) + reach));
    for (let i = i0; i <= i1; i++) for (let j = j0; j <= j1; j++) {
      const u = j + 0.5 - x0, v = i + 0.5 - y0, t = clamp((u * dx + v * dy) / n, 0, 1);
      const d = Math.hypot(u - t * dx, v - t * dy);
      if (d < near[i * SIZE + j]) near[i * SIZE + j] = d;
    }
  }
  return near.map((d) => clamp((PEN / 2 - d) / SOFT + 0.5, 0, 1));
};
// Strokes to a grey image as MNIST's are; the same steps as `rasterize` in draw_digit.py.
const rasterize = (strokes) => {
  const points = strokes.flat();
  if (!points.length) return new Float64Array(SIZE * SIZE);
  const range = [0, 1].map((k) => [Math.min(...points.map((p) => p[k])), Math.max(...points.map((p) => p[k]))]);
  const scale = (BOX - PEN) / Math.max(range[0][1] - range[0][0], range[1][1] - range[1][0], 0.15);
  const [mx, my] = range.map(([low, high]) => (low + high) / 2);
  const first = ink(strokes, scale, CENTRE - scale * mx, CENTRE - scale * my);
  let mass = 0, ax = 0, ay = 0;
  first.forEach((v, n) => { mass += v; ax += v * ((n % SIZE) + 0.5); ay += v * (Math.floor(n / SIZE) + 0.5); });
  const image = ink(strokes, scale, 2 * CENTRE - ax / mass - scale * mx, 2 * CENTRE - ay / mass - scale * my);
  return image.map((v) => Math.floor(255 * v + 0.5) / 255);
};

// Linear layers with ReLU between them; weights lie layer by layer, one row per output.
const network = (view, encoderSizes, decoderSizes) => {
  const flat = fromHalf(view);
  let at = 0;
  const take = (n) => flat.subarray(at, (at += n));
  const layers = (sizes) => sizes.slice(1).map((n, k) => ({ W: take(n * sizes[k]), b: take(n), n, m: sizes[k] }));
  const encoder = layers(encoderSizes), decoder = layers(decoderSizes);
  const most = Math.max(...encoderSizes, ...decoderSizes), index = new Int32Array(most), value = new Float64Array(most);
  const run = (stack, input) => {
    let h = input;
    stack.forEach(({ W, b, n, m }, k) => {
      const out = new Float64Array(n), last = k === stack.length - 1;
      // An image is mostly paper and half of the hidden units are silent: skip what is zero.
      let on = 0;
      for (let j = 0; j < m; j++) if (h[j] !== 0) { index[on] = j; value[on++] = h[j]; }
      for (let i = 0, row = 0; i < n; i++, row += m) {
        let a = b[i];
        for (let j = 0; j < on; j++) a += W[row + index[j]] * value[j];
        out[i] = last || a > 0 ? a : 0;
      }
      h = out;
    });
    return h;
  };
  return {
    encode(x) {
      const out = run(encoder, x), d = out.length / 2;
      return { mu: Array.from(out.slice(0, d)), sigma: Array.from(out.slice(d), (v) => Math.exp(v / 2)) };
    },
    decode: (z) => run(decoder, z), // logits
  };
};
// log p(x|z) of grey pixels: minus the cross-entropy, on logits, in nats.
const bernoulliLogProb = (x, logits) => {
  let s = 0;
  for (let i = 0; i < x.length; i++) {
    const l = logits[i];
    s += x[i] * l - Math.max(l, 0) - Math.log1p(Math.exp(-Math.abs(l)));
  }
  return s;
};
const elboOf = (net, x, noise) => {
  const { mu, sigma } = net.encode(x);
  const kl = mu.reduce((s, m, k) => s + klNormal(m, sigma[k], 0, 1), 0);
  const samples = noise.map((eps) => mu.map((m, k) => m + sigma[k] * eps[k]));
  const logLikelihood = samples.map((z) => bernoulliLogProb(x, net.decode(z)));
  const reconstruction = logLikelihood.reduce((s, v) => s + v, 0) / noise.length;
  const logWeight = samples.map((z, l) => logLikelihood[l] + z.reduce((s, v, k) => s + normalLogDensity(v, 0, 1) - normalLogDensity(v, mu[k], sigma[k]), 0));
  return { mu, sigma, samples, kl, reconstruction, elbo: reconstruction - kl, logP: logSumExp(logWeight) - Math.log(noise.length) };
};

// The posterior on a grid over a square window around q: cell centres, row by row from the top.
const GRID = 33;
const gridPoint = (mu, half, i, j) => [mu[0] + ((2 * j + 1) / GRID - 1) * half, mu[1] - ((2 * i + 1) / GRID - 1) * half];
const logJoint = (net, x, z) => bernoulliLogProb(x, net.decode(z)) + normalLogDensity(z[0], 0, 1) + normalLogDensity(z[1], 0, 1);
const gridSummary = (values, mu, sigma, half) => {
  const logCell = 2 * Math.log((2 * half) / GRID), logP = logSumExp(Array.from(values)) + logCell;
  let gap = 0, edge = 0; // the mass of the posterior on the window's border
  values.forEach((v, k) => {
    const i = Math.floor(k / GRID), j = k % GRID, z = gridPoint(mu, half, i, j);
    if (i % (GRID - 1) === 0 || j % (GRID - 1) === 0) edge += Math.exp(v + logCell - logP);
    const logQ = normalLogDensity(z[0], mu[0], sigma[0]) + normalLogDensity(z[1], mu[1], sigma[1]);
    gap += Math.exp(logQ + logCell) * (logQ - (v - logP));
  });
  return { logP, gap, edge };
};
const onGrid = (net, x, mu, sigma, half) => {
  const values = Float64Array.from({ length: GRID * GRID }, (_, k) => logJoint(net, x, gridPoint(mu, half, Math.floor(k / GRID), k % GRID)));
  return gridSummary(values, mu, sigma, half);
};

function render({ model, el }) {
  const net = network(model.get("weights"), model.get("encoder"), model.get("decoder"));
  const points = model.get("points"), R = 3.5;
  const box = scaffold(el, "Draw a digit: encoder, decoder and ELBO answer");
  let strokes = structuredClone(model.get("strokes")), pen = [0.5, 0.5], down = false, dragging = false;

  // The three pictures.
  const tiles = htmlNode("div", { class: "vf-tiles" }, box);
  const tile = (caption) => {
    const f = htmlNode("div", { class: "vf-tile" }, tiles);
    htmlNode("div", { class: "vf-caption", text: caption }, f);
    return f;
  };
  const pad = svgNode("svg", {
    viewBox: "0 0 280 280", class: "vf-pad vf-paper", tabindex: 0, role: "application", "aria-roledescription": "drawing pad",
    "aria-label": "Draw a digit here. Arrow keys move the pen, Shift makes the steps larger, Space puts the pen down or lifts it, Backspace takes the last stroke back, Delete clears.",
  }, tile("your drawing"));
  svgNode("rect", { width: 280, height: 280, fill: "#fff" }, pad);
  const trace = svgNode("path", { fill: "none", stroke: "#222", "stroke-width": 20, "stroke-linecap": "round", "stroke-linejoin": "round" }, pad);
  const cross = svgNode("g", { class: "vf-pen", "aria-hidden": "true" }, pad);
  const nib = svgNode("circle", { r: 10, fill: "none", stroke: "#8f2f66", "stroke-width": 2.5 }, cross);
  svgNode("path", { d: "M-17 0H-5M5 0H17M0 -17V-5M0 5V17", stroke: "#8f2f66", "stroke-width": 2.5 }, cross);
  const picture = (caption) => {
    const canvas = htmlNode("canvas", { width: SIZE, height: SIZE, class: "vf-paper", role: "img" }, tile(caption));
    const context = canvas.getContext("2d"), image = context.createImageData(SIZE, SIZE);
    return (values, words) => {
      for (let i = 0; i < values.length; i++) {
        const grey = 255 - Math.round(255 * values[i]);
        image.data.set([grey, grey, grey, 255], 4 * i);
      }
      context.putImageData(image, 0, 0);
      canvas.setAttribute("aria-label", words);
    };
  };
  const showX = picture("x, 28 × 28 pixels"), showMean = picture("reconstruction");

  // Buttons.
  const tools = htmlNode("div", { class: "vf-control" }, box);
  const row = htmlNode("div", { class: "vf-buttons" }, tools);
  button(row, "Clear", () => replace([]));
  button(row, "Undo", () => replace(strokes.slice(0, -1)));
  htmlNode("span", { text: "or take a" }, row);
  model.get("examples").forEach((digit, k) => button(row, String(k), () => replace(structuredClone(digit)), { "aria-label": `Load a hand-drawn ${k}`, class: "vf-small" }));

  // The latent plane and the window around q.
  const panels = htmlNode("div", { class: "vf-panels" }, box);
  const plane = svgNode("svg", { viewBox: "0 0 330 330", role: "img" }, htmlNode("div", {}, panels));
  const planeTitle = svgNode("title", {}, plane);
  const X = (z) => 165 + (z / R) * 150, Y = (z) => 155 - (z / R) * 150;
  svgNode("rect", { x: 15, y: 5, width: 300, height: 300, fill: "none", stroke: "var(--vf-faint)" }, plane);
  for (let v = -3; v <= 3; v++) {
    svgNode("line", { x1: X(v), x2: X(v), y1: 305, y2: 309, stroke: "var(--vf-soft)" }, plane);
    svgNode("line", { x1: 11, x2: 15, y1: Y(v), y2: Y(v), stroke: "var(--vf-soft)" }, plane);
    svgNode("text", { x: X(v), y: 321, "text-anchor": "middle", class: "vf-tick vf-num", text: fixed(v, 0) }, plane);
    svgNode("text", { x: 9, y: Y(v) + 4, "text-anchor": "end", class: "vf-tick vf-num", text: fixed(v, 0) }, plane);
  }
  svgNode("text", { x: 315, y: 321, "text-anchor": "end", class: "vf-tick", text: "z₁" }, plane);
  svgNode("text", { x: 9, y: 16, "text-anchor": "end", class: "vf-tick", text: "z₂" }, plane);
  const cloud = svgNode("g", { "aria-hidden": "true" }, plane);
  for (const [a, b, digit] of points) if (Math.abs(a) < R && Math.abs(b) < R)
    svgNode("text", { x: X(a).toFixed(1), y: (Y(b) + 4).toFixed(1), "text-anchor": "middle", class: `vf-digit vf-d${digit}`, text: digit }, cloud);
  const window_ = svgNode("rect", { fill: "none", stroke: "var(--vf-fg)", "stroke-width": 1.5 }, plane);
  const thread = svgNode("path", { fill: "none", stroke: "var(--vf-fg)", "stroke-width": 0.75, "stroke-dasharray": "3 3", class: "vf-thread" }, plane);
  const spot = svgNode("ellipse", { fill: "var(--vf-q)", stroke: "var(--vf-q)", "stroke-width": 1.5 }, plane);
  const here = svgNode("text", { class: "vf-halo vf-strong vf-name", "text-anchor": "middle", text: "q(z | x)" }, plane);

  const lens = svgNode("svg", { viewBox: "0 0 330 330", role: "img" }, htmlNode("div", {}, panels));
  const lensTitle = svgNode("title", {}, lens);
  const haze = svgNode("image", { x: 15, y: 5, width: 300, height: 300, preserveAspectRatio: "none", visibility: "hidden" }, lens);
  svgNode("rect", { x: 15, y: 5, width: 300, height: 300, fill: "none", stroke: "var(--vf-fg)", "stroke-width": 1.5 }, lens);
  const rings = [1, 2].map((k) => ({ k, node: svgNode("ellipse", { cx: 165, cy: 155, fill: "none", stroke: "var(--vf-q)", "stroke-width": k === 1 ? 2.5 : 1.5 }, lens) }));
  const dots = svgNode("g", {}, lens);
  svgNode("text", { x: 25, y: 24, class: "vf-halo vf-strong", text: "q(z | x): rings at 1σ and 2σ" }, lens);
  const key = svgNode("text", { x: 25, y: 42, class: "vf-halo" }, lens);
  svgNode("tspan", { style: "fill:var(--vf-q)", text: "● " }, key);
  svgNode("tspan", { text: "its samples" }, key);
  const hazeLabel = svgNode("text", { x: 25, y: 297, class: "vf-halo", text: "shaded: the true posterior p(z | x)" }, lens);
  const lensScale = svgNode("text", { x: 165, y: 321, "text-anchor": "middle", class: "vf-tick vf-num" }, lens);

  const message = htmlNode("p", { class: "vf-message" }, box);
  message.append("");
  const first = message.firstChild, verdict = htmlNode("span", {}, message);
  const lower = htmlNode("div", { class: "vf-panels" }, box);
  const cells = {};
  const table = (caption, rows) => {
    const t = htmlNode("table", { class: "vf-ledger" }, lower);
    htmlNode("caption", { text: caption }, t);
    const body = htmlNode("tbody", {}, t);
    for (const [key, colour, text, sum] of rows) {
      const tr = htmlNode("tr", sum ? { class: "vf-sum" } : {}, body), th = htmlNode("th", { scope: "row" }, tr);
      htmlNode("span", { class: "vf-key", style: `background:var(--vf-${colour})` }, th);
      th.append(text);
      cells[key] = htmlNode("td", { "data-term": key }, tr);
    }
  };
  const L = model.get("noise").length;
  table(`From the ${L} samples (they fluctuate), in nats`, [
    ["reconstruction", "reconstruction", "reconstruction"], ["kl", "kl", "− KL(q ‖ prior)"], ["elbo", "elbo", "= ELBO", true],
    ["logP", "fg", "log p(x), estimate"],
  ]);
  table("From a grid over the window, in nats", [
    ["grid", "fg", "log p(x)"], ["gap", "gap", "gap KL(q ‖ posterior)"],
  ]);
  const more = htmlNode("div", { class: "vf-control vf-buttons" }, box);
  let seed = 0;
  button(more, "New samples", () => {
    const e = normalNoise(++seed, 2 * L);
    model.set("noise", Array.from({ length: L }, (_, l) => [e[2 * l], e[2 * l + 1]]));
    model.save_changes();
  });
  htmlNode("p", { class: "vf-note", text: `x is made as MNIST is: the strokes are scaled to ${BOX} pixels, drawn with a round pen of ${PEN} pixels, and moved until the centre of mass is where MNIST has it. The reconstruction is the mean of p(x | z) at z = μ. The estimate averages importance weights; the grid sees only the window.` }, box);
  const say = announcer(box);

  // Drawing: what is being drawn stays here, and goes to the model when a stroke is finished.
  const send = () => { model.set("strokes", structuredClone(strokes)); model.save_changes(); };
  const replace = (next) => { strokes = next; down = false; draw(); send(); };
  const unit = (x, y) => [clamp(x / 280, 0, 1), clamp(y / 280, 0, 1)].map((v) => Math.round(v * 1000) / 1000);
  const begin = (p) => { strokes = [...strokes, [p]]; };
  const extend = (p) => {
    const stroke = strokes[strokes.length - 1], last = stroke[stroke.length - 1];
    if (Math.hypot(p[0] - last[0], p[1] - last[1]) >= 0.008) stroke.push(p);
  };
  onDrag(pad, pad, (x, y) => { if (dragging) { pen = unit(x, y); extend(pen); draw(); } }, (x, y) => {
    pad.focus({ preventScroll: true });
    down = false; dragging = true; pen = unit(x, y); begin(pen); draw();
  });
  const finish = () => { if (dragging) { dragging = false; draw(); send(); } };
  pad.addEventListener("pointerup", finish);
  pad.addEventListener("pointercancel", finish);
  pad.addEventListener("keydown", (e) => {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[e.key];
    if (!move && ![" ", "Backspace", "Delete"].includes(e.key)) return;
    e.preventDefault();
    e.stopPropagation(); // the page's theme turns pages with arrow keys
    if (e.key === "Backspace") return replace(strokes.slice(0, -1));
    if (e.key === "Delete") return replace([]);
    if (e.key === " ") {
      down = !down;
      if (down) { begin([...pen]); draw(); } else { draw(); send(); }
      return;
    }
    const by = e.shiftKey ? 0.08 : 0.02;
    pen = pen.map((v, k) => Math.round(clamp(v + by * move[k], 0.02, 0.98) * 1000) / 1000);
    if (down) extend([...pen]);
    draw();
  });
  pad.addEventListener("blur", () => { if (down) { down = false; draw(); send(); } });

  // The true posterior in the window, on a grid, when the hand has come to rest.
  let timer = 0;
  const posterior = (x, mu, sigma, half) => {
    clearTimeout(timer);
    haze.setAttribute("visibility", "hidden");
    hazeLabel.setAttribute("visibility", "hidden");
    const values = new Float64Array(GRID * GRID);
    let i = 0;
    const work = () => {
      const until = performance.now() + 8; // a slice of a frame, so that drawing stays smooth
      while (i < GRID && performance.now() < until) {
        for (let j = 0; j < GRID; j++) values[i * GRID + j] = logJoint(net, x, gridPoint(mu, half, i, j));
        i++;
      }
      if (i < GRID) { timer = setTimeout(work, 0); return; }
      const canvas = document.createElement("canvas");
      canvas.width = canvas.height = GRID;
      const context = canvas.getContext("2d"), image = context.createImageData(GRID, GRID), top = Math.max(...values);
      values.forEach((v, k) => image.data.set([204, 121, 167, Math.round(190 * Math.exp(v - top))], 4 * k));
      context.putImageData(image, 0, 0);
      haze.setAttribute("href", canvas.toDataURL());
      haze.setAttribute("visibility", "visible");
      hazeLabel.setAttribute("visibility", "visible");
      const grid = gridSummary(values, mu, sigma, half);
      const cut = grid.edge > 0.002; // what lies outside could only raise both numbers
      cells.grid.textContent = (cut ? "> " : "") + fixed(grid.logP, 2);
      cells.gap.textContent = (cut ? "> " : "") + fixed(grid.gap, 2);
      verdict.textContent = cut ? `The posterior reaches beyond the window, where q hardly looks: the gap is more than ${fixed(grid.gap, 1)} nats.`
        : `Here q misses the posterior by ${fixed(grid.gap, 1)} nats; for half of the test digits it is less than ${fixed(model.get("usual_gap"), 1)}.`;
    };
    timer = setTimeout(work, 120);
  };

  const draw = () => {
    trace.setAttribute("d", strokes.map((s) => "M" + [...s, s[s.length - 1]].map(([x, y]) => `${(280 * x).toFixed(1)} ${(280 * y).toFixed(1)}`).join("L")).join(""));
    cross.setAttribute("transform", `translate(${280 * pen[0]} ${280 * pen[1]})`);
    nib.setAttribute("fill", down ? "#8f2f66" : "none");
    const x = rasterize(strokes), empty = !strokes.length;
    showX(x, empty ? "An empty image" : "Your drawing as a grey image of 28 by 28 pixels");
    for (const node of [window_, thread, spot, here, dots, ...rings.map((r) => r.node)]) node.setAttribute("visibility", empty ? "hidden" : "visible");
    if (empty) {
      clearTimeout(timer);
      for (const node of [haze, hazeLabel]) node.setAttribute("visibility", "hidden");
      showMean(x, "Nothing to reconstruct yet");
      for (const k in cells) cells[k].textContent = "–";
      lensScale.textContent = "";
      verdict.textContent = "";
      first.data = "Draw a digit on the pad with the mouse, a finger, or the arrow keys and Space.";
      planeTitle.textContent = lensTitle.textContent = "Nothing drawn yet";
      say("The pad is empty.");
      return;
    }
    const t = elboOf(net, x, model.get("noise")), { mu, sigma } = t;
    const probs = Array.from(net.decode(mu), (l) => 1 / (1 + Math.exp(-l)));
    // What the backdrop says about the place: the digits encoded nearest to it.
    const near = points.map((p) => [Math.hypot(p[0] - mu[0], p[1] - mu[1]), p[2]]).sort((a, b) => a[0] - b[0]).slice(0, 15);
    const votes = Array(10).fill(0);
    near.forEach(([, digit]) => votes[digit]++);
    const best = votes.indexOf(Math.max(...votes));
    showMean(probs, `Reconstruction, the mean of p of x given z at z equal to the mean of q`);

    const half = 5.2 * Math.max(...sigma), cx = clamp(X(mu[0]), 15, 315), cy = clamp(Y(mu[1]), 5, 305);
    const wide = Math.max((half / R) * 150, 5);
    setAll(window_, { x: (cx - wide).toFixed(2), y: (cy - wide).toFixed(2), width: (2 * wide).toFixed(2), height: (2 * wide).toFixed(2) });
    setAll(thread, { d: `M${cx + wide} ${cy - wide}L330 5M${cx + wide} ${cy + wide}L330 305` });
    setAll(spot, { cx: cx.toFixed(2), cy: cy.toFixed(2), rx: ((2 * sigma[0]) / R * 150).toFixed(2), ry: ((2 * sigma[1]) / R * 150).toFixed(2) });
    setAll(here, { x: clamp(cx, 42, 288).toFixed(1), y: (cy - wide < 24 ? cy + wide + 15 : cy - wide - 5).toFixed(1) });
    rings.forEach(({ k, node }) => setAll(node, { rx: ((k * sigma[0]) / half * 150).toFixed(2), ry: ((k * sigma[1]) / half * 150).toFixed(2) }));
    dots.replaceChildren(...t.samples.map((z) => svgNode("circle", {
      cx: (165 + ((z[0] - mu[0]) / half) * 150).toFixed(2), cy: (155 - ((z[1] - mu[1]) / half) * 150).toFixed(2), r: 4,
      fill: "var(--vf-q)", stroke: "var(--vf-bg)", "stroke-width": 1.2, "data-sample": "",
    })));
    lensScale.textContent = `μ = (${fixed(mu[0], 2)}, ${fixed(mu[1], 2)})   σ = (${fixed(sigma[0], 3)}, ${fixed(sigma[1], 3)})`;
    posterior(x, mu, sigma, half);

    for (const k of ["reconstruction", "kl", "elbo", "logP"]) cells[k].textContent = fixed(k === "kl" ? -t.kl : t[k], 2);
    cells.grid.textContent = cells.gap.textContent = "…";
    verdict.textContent = "";
    const off = t.elbo - model.get("typical");
    const story = `Of the 15 test digits encoded nearest to yours, ${votes[best]} ${votes[best] === 1 ? "is a" : "are"} ${best}${votes[best] === 1 ? "" : "s"}. ` +
      (off < 0 ? `Your ELBO lies ${fixed(-off, 0)} nats below the test set's average of ${fixed(model.get("typical"), 0)}.`
        : `Your ELBO lies ${fixed(off, 0)} nats above the test set's average of ${fixed(model.get("typical"), 0)}: an easy image.`);
    first.data = story + " ";
    planeTitle.textContent = `Latent plane with encoded test digits; q has mean (${fixed(mu[0], 2)}, ${fixed(mu[1], 2)}), near the ${best}s.`;
    lensTitle.textContent = `Window around q: standard deviations ${fixed(sigma[0], 3)} and ${fixed(sigma[1], 3)}, ${t.samples.length} samples, the true posterior shaded.`;
    say(`${story} Reconstruction ${fixed(t.reconstruction, 1)}, KL ${fixed(t.kl, 1)}, ELBO ${fixed(t.elbo, 1)} nats.`);
  };
  const quiet = listen(model, ["strokes", "noise"], () => {
    if (!dragging && !down) strokes = structuredClone(model.get("strokes"));
    draw();
  });
  draw();
  el.__vf = { name: "draw_digit", rasterize, net, bernoulliLogProb, elboOf: (x, noise) => elboOf(net, x, noise), onGrid: (x, mu, sigma, half) => onGrid(net, x, mu, sigma, half) };
  return () => { quiet(); clearTimeout(timer); say.stop(); };
}
export default { render };
