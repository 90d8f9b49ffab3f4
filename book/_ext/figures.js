// What is far from the screen is not laid out, and nobody has to measure it: a block that scrolls can
// be reached by keyboard from when it comes near.
{
  const scrolls = (e) => { e.tabIndex = e.scrollWidth > e.clientWidth || e.scrollHeight > e.clientHeight ? 0 : -1; };
  const near = new IntersectionObserver((entries) => entries.forEach((entry) => {
    if (entry.isIntersecting) scrolls(entry.target);
  }), { rootMargin: "600px" });
  const blocks = new Set();
  globalThis.whenNear = (e) => {
    blocks.add(e);
    near.unobserve(e);
    near.observe(e);
  };
  document.addEventListener("vaefig:all", () => blocks.forEach(scrolls)); // a test cannot scroll to all
}

// Interactive figures of a page start when they come near the screen, or when somebody tabs to them:
// until then the poster stands in their place, and their data have not been asked for.
{
  const waiting = new Map(); // id → places that wait for the figure's script
  const here = document.currentScript.src.replace(/[^/]*$/, "figures/");

  globalThis.vaefig = (id, state, render) => {
    for (const el of waiting.get(id) || []) {
      el.removeAttribute("tabindex");
      mountFigure(el, state, render);
    }
    waiting.delete(id);
  };

  const start = (el) => {
    const id = el.dataset.vaefig;
    if (el.dataset.asked) return;
    el.dataset.asked = "1";
    if (waiting.has(id)) return void waiting.get(id).push(el);
    waiting.set(id, [el]);
    const script = document.createElement("script");
    script.src = `${here}${id}.js`;
    document.head.append(script);
  };

  document.addEventListener("DOMContentLoaded", () => {
    const places = [...document.querySelectorAll("div.vf[data-vaefig]")];
    const near = new IntersectionObserver((entries) => entries.forEach((entry) => {
      if (!entry.isIntersecting) return;
      near.unobserve(entry.target);
      start(entry.target);
    }), { rootMargin: "200px" });
    for (const el of places) {
      el.tabIndex = 0; // so that the Tab key, too, comes by
      el.addEventListener("focus", () => start(el), { once: true });
      near.observe(el);
    }
    document.addEventListener("vaefig:all", () => places.forEach(start)); // a test cannot scroll to all
  });
}
