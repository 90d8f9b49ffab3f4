// Small repairs to the theme's markup, each with the axe rule it is for; then what a page needs to
// be read on a phone and on paper.
document.addEventListener("DOMContentLoaded", () => {
  const each = (selector, repair) => document.querySelectorAll(selector).forEach(repair);
  each(".search-button-field", (e) => e.removeAttribute("aria-label")); // label-content-name-mismatch
  each(".theme-switch-button", (e) => e.setAttribute("aria-label", "Color mode: Light, Dark or System")); // label-content-name-mismatch
  each("#pst-primary-sidebar", (e) => { e.setAttribute("role", "complementary"); e.setAttribute("aria-label", "Book contents"); }); // region
  each(".citation-list", (e) => e.removeAttribute("role")); // aria-required-children
  each(".citation[role]", (e) => e.removeAttribute("role")); // aria-deprecated-role

  // A heading that is only a formula: its glyphs are drawn, so its words come from the MathML.
  each("th:has(mjx-container math)", (th) => { // empty-table-header
    const formula = th.querySelector("mjx-container"), words = document.createElement("span");
    const copy = th.cloneNode(true);
    copy.querySelectorAll("mjx-container").forEach((e) => e.remove());
    if (copy.textContent.trim()) return;
    words.className = "visually-hidden";
    words.textContent = th.querySelector("math").textContent;
    formula.setAttribute("aria-hidden", "true");
    th.append(words);
  });

  // A formula within a line that is wider than its paragraph scrolls by itself. Only long ones can be
  // (the build knows their width), and they are looked at when they come near the screen.
  const fit = (formula) => {
    formula.classList.remove("wide");
    const block = formula.closest("p, td, th, li, dd, figcaption, summary, h1, h2, h3, h4");
    if (block && formula.offsetWidth > block.clientWidth + 1) formula.classList.add("wide");
  };
  const near = new IntersectionObserver((entries) => entries.forEach((entry) => {
    if (entry.isIntersecting) fit(entry.target);
  }), { rootMargin: "300px" });
  each("mjx-container.long", (e) => near.observe(e));
  window.addEventListener("resize", () => each("mjx-container.long", (e) => { near.unobserve(e); near.observe(e); }));
});

// Who copies a formula gets its TeX: the glyphs are drawn by the style sheet and are no text.
document.addEventListener("copy", (event) => {
  const selection = document.getSelection();
  if (!selection.rangeCount || !event.clipboardData) return;
  const copied = selection.getRangeAt(0).cloneContents();
  const formulas = copied.querySelectorAll("mjx-container[data-tex]");
  if (!formulas.length) return;
  formulas.forEach((e) => {
    const mark = e.hasAttribute("display") ? "$$" : "$";
    e.replaceWith(`${mark}${e.dataset.tex}${mark}`);
  });
  event.clipboardData.setData("text/plain", copied.textContent);
  event.preventDefault();
});

// On paper each fold is open: answers and solutions are part of the book. And paper is white: a page
// that is read in dark colours prints in light ones.
let folded = [], theme = "light";
window.addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("main details:not([open])")];
  folded.forEach((e) => { e.open = true; });
  theme = document.documentElement.dataset.theme;
  document.documentElement.dataset.theme = "light";
});
window.addEventListener("afterprint", () => {
  folded.forEach((e) => { e.open = false; });
  document.documentElement.dataset.theme = theme;
});
