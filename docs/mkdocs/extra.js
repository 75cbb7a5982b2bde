// what the theme leaves without a name or out of reach of the keyboard
const repair = () => {
  document.querySelector(".md-search[role=dialog]")?.setAttribute("aria-label", "Search");
  document.querySelectorAll(".md-code__nav").forEach((each, n) => each.setAttribute("aria-label", `Code ${n + 1}`));
  document.querySelectorAll("pre > code, .md-typeset__table").forEach((each) => each.setAttribute("tabindex", "0"));
};
const watcher = new MutationObserver(() => {
  watcher.disconnect();
  repair();
  watcher.observe(document.body, { childList: true, subtree: true });
});
repair();
watcher.observe(document.body, { childList: true, subtree: true });
