// The host of a figure where no kernel is: the part of anywidget's model that the figures use, and
// no more. `mountFigure` draws a figure into its place; on an error its poster stays.
const mountFigure = (el, stored, render) => {
  el.dataset.live = "1";
  el.__stored = stored; // for the tests: what the figure began with
  const state = { ...stored }, listeners = {};
  for (const k in state) if (state[k]?.b64 !== undefined)
    state[k] = new DataView(Uint8Array.from(atob(state[k].b64), (c) => c.charCodeAt(0)).buffer);
  const model = {
    get: (k) => state[k],
    set(k, v) {
      if (state[k] === v) return;
      state[k] = v;
      for (const e of ["change:" + k, "change"]) for (const f of [...(listeners[e] || [])]) f();
    },
    on(e, f) { (listeners[e] ||= new Set()).add(f); },
    off(e, f) { listeners[e]?.delete(f); },
    save_changes() {},
  };
  const poster = [...el.childNodes];
  try { el.replaceChildren(); render({ model, el }); }
  catch (error) { el.replaceChildren(...poster); console.error(error); }
};
