// Small repairs to the theme's markup; each line names the axe rule it is for.
document.addEventListener("DOMContentLoaded", () => {
  const each = (selector, repair) => document.querySelectorAll(selector).forEach(repair);
  each(".search-button-field, details.hide > summary", (e) => { if (e.textContent.trim()) e.removeAttribute("aria-label"); }); // label-content-name-mismatch
  each(".theme-switch-button", (e) => e.setAttribute("aria-label", "Color mode: Light, Dark or System")); // label-content-name-mismatch
  each("#pst-primary-sidebar", (e) => { e.setAttribute("role", "complementary"); e.setAttribute("aria-label", "Book contents"); }); // region
  each(".citation-list", (e) => e.removeAttribute("role")); // aria-required-children
  each(".citation[role]", (e) => e.removeAttribute("role")); // aria-deprecated-role
});
