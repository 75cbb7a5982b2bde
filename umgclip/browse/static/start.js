// Start of the page, when its other scripts are there.
"use strict";

introduce();
offer();
visit();
at("filters").addEventListener("input", (event) => {
  if (LAYERS.includes(event.target.id)) layers();
  else look();
  remember();
});
at("filters").addEventListener("submit", (event) => event.preventDefault());
at("filters").addEventListener("reset", () => setTimeout(() => { if (!at("detail").open) { layers(); look(); } }));
at("more").addEventListener("click", () => {
  const first = drawn;
  more();
  document.querySelector(`.card[data-index="${first}"]`)?.focus();
});
at("previous").addEventListener("click", () => step(-1));
at("next").addEventListener("click", () => step(1));
at("close").addEventListener("click", () => at("detail").close());
at("detail").addEventListener("close", () => {
  remember();
  document.querySelector(`.card[data-index="${open}"]`)?.focus();
});
document.addEventListener("keydown", keys);
addEventListener("hashchange", visit);
