// The gallery: cards of images, filters, and the details of one image. Every text is set as text, never as HTML.
"use strict";

const { about, cards } = globalThis.GALLERY;
const STEP = 60; // cards added to the page at once
// Okabe and Ito's colours, which remain distinct with common kinds of colour blindness, then lighter ones
const COLOURS = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#b5e61d", "#ffaec9",
  "#00ffff"];
const STATES = { accepted: "accepted", partly: "accepted in part", quarantined: "quarantined", unreadable: "unreadable" };
const HAS = {
  captions: ["captions of the image", (card) => card.captions?.length],
  tags: ["tags of the image", (card) => card.tags?.length],
  regions: ["regions", (card) => card.regions?.length],
  labelled: ["tags of regions", (card) => card.regions?.some((region) => region.tags?.length)],
  unlabelled: ["regions without a label", (card) => card.regions?.some((region) => !label(region))],
  captioned: ["captions of regions", (card) => card.regions?.some((region) => region.captions?.length)],
  masks: ["masks", (card) => card.regions?.some((region) => region.outline)],
  stuff: ["stuff", (card) => card.regions?.some((region) => region.stuff)],
  negatives: ["hard negatives", (card) => card.regions?.some((region) => region.negatives?.length)],
  nothing: ["no region", (card) => !card.regions?.length],
};
const FIELDS = ["state", "reason", "verdict", "tag", "text", "has", "by", "of", "low", "high", "order"];
const LAYERS = ["boxes", "masks", "labels", "stuff", "rejected"];
const OFF = ["rejected"]; // layers that are hidden by default

const at = (id) => document.getElementById(id);
let matching = [], drawn = 0, open = -1;

function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

// texts of the data keep their own writing direction and do not change that of the page
const words = (tag, text, className = "") => make(tag, { className, dir: "auto", textContent: text });

function shape(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// ---------------------------------------------------------------- what cards hold

const texts = (card, kind) => [card, ...(card.regions || [])].flatMap((part) => part[kind] || []);
// what an image is called: its file in the source it came from, else its key
const title = (card) => card.source?.name ?? card.key;
const label = (region) => region.tags?.[0]?.[0] ?? region.captions?.[0]?.[0] ?? "";
// classes by which a region is drawn; both stuff and what has no label are quiet
function looks(card, region) {
  const kinds = [region.stuff ? "stuff" : label(region) ? "thing" : "unlabelled"];
  if (region.stuff && !label(region)) kinds.push("unlabelled");
  if (kinds[0] !== "thing") kinds.push("quiet");
  return faultsOf(card, region).length ? [...kinds, "refused"] : kinds;
}
const RANK = { stuff: 0, unlabelled: 1, thing: 2 }; // what stands out is drawn last
const faultsOf = (card, region) => card.faults.filter((fault) => fault.region === region.id);
const reasonsOf = (card) => [...card.faults, ...card.rejected].map((one) => one.reason);
const scores = (card, kind) =>
  kind === "region" ? (card.regions || []).map((region) => region.score) : texts(card, `${kind}s`).map((text) => text[1]);

function colour(name) {
  let hash = 7;
  for (const character of name) hash = (hash * 31 + character.codePointAt(0)) % 99991;
  return COLOURS[hash % COLOURS.length];
}

function counted(values) {
  const counts = new Map();
  for (const list of values) for (const value of new Set(list)) counts.set(value, (counts.get(value) || 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
}

// ---------------------------------------------------------------- filters

function choices(id, first, entries) {
  at(id).replaceChildren(make("option", { value: "", textContent: first }),
    ...entries.map(([value, text]) => make("option", { value, textContent: text })));
}

function offer() {
  const states = new Map(counted(cards.map((card) => [card.state])));
  choices("state", `all (${cards.length})`,
    Object.entries(STATES).filter(([state]) => states.has(state)).map(([s, text]) => [s, `${text} (${states.get(s)})`]));
  const reasons = counted(cards.map(reasonsOf));
  choices("reason", "with or without", reasons.map(([reason, count]) => [reason, `${reason} (${count})`]));
  const kinds = new Set(cards.flatMap((card) => [...(card.regions || []).flatMap((region) => looks(card, region)),
    ...(card.rejected.length ? ["rejected"] : []), ...(card.guesses ? ["verdict"] : [])]));
  offerVerdicts();
  for (const entry of at("legend").children) entry.hidden = !kinds.has(entry.className);
  choices("has", "anything", Object.entries(HAS).map(([name, [text]]) => [name, text]));
  const said = cards.map((card) => [...texts(card, "captions"), ...texts(card, "tags")].map((text) => text[2]));
  choices("by", "any source", counted(said).map(([source, count]) => [source, `${source} (${count})`]));
  const tags = counted(cards.map((card) => texts(card, "tags").map((tag) => tag[0]))).slice(0, 500);
  at("tags").replaceChildren(...tags.map(([tag, count]) => make("option", { value: tag, textContent: `${count}` })));
}

function asked() {
  const values = Object.fromEntries(FIELDS.map((id) => [id, at(id).value.trim()]));
  return { ...values, tag: values.tag.toLowerCase(), text: values.text.toLowerCase() };
}

const within = (score, wanted) => (wanted.low === "" || score >= Number(wanted.low)) &&
  (wanted.high === "" || score <= Number(wanted.high));
const named = (list, wanted) => (list || []).some((text) => text[0].toLowerCase().includes(wanted));
const bySource = (part, source) => [...(part.tags || []), ...(part.captions || [])].some((text) => text[2] === source);

function fits(card, wanted) {
  if (wanted.state && card.state !== wanted.state) return false;
  if (wanted.reason && !reasonsOf(card).includes(wanted.reason)) return false;
  if (wanted.tag && !named(texts(card, "tags"), wanted.tag)) return false;
  if (wanted.verdict && !VERDICTS[wanted.verdict]?.[1](card)) return false;
  if (wanted.has && !HAS[wanted.has]?.[1](card)) return false;
  if (wanted.by && ![card, ...(card.regions || [])].some((part) => bySource(part, wanted.by))) return false;
  if ((wanted.low || wanted.high) && !scores(card, wanted.of).some((score) => within(score, wanted))) return false;
  return !wanted.text || named(texts(card, "captions"), wanted.text) || card.key.toLowerCase().includes(wanted.text) ||
    Object.values(card.source || {}).some((value) => value.toLowerCase().includes(wanted.text));
}

// regions that do not match the filters are drawn faintly
function isMeant(card, region, wanted) {
  if (wanted.tag && !named(region.tags, wanted.tag) && !named(card.tags, wanted.tag)) return false;
  if (wanted.reason && card.faults.some((fault) => fault.reason === wanted.reason && fault.region !== null) &&
    !faultsOf(card, region).some((fault) => fault.reason === wanted.reason)) return false;
  if (!wanted.low && !wanted.high) return true;
  if (wanted.of === "region") return within(region.score, wanted);
  return (region[`${wanted.of}s`] || []).some((text) => within(text[1], wanted));
}

function ordered(list, wanted) {
  const least = (card) => Math.min(...scores(card, wanted.of), Infinity);
  const most = (card) => Math.max(...scores(card, wanted.of), -Infinity);
  const by = { low: (a, b) => least(a) - least(b), high: (a, b) => most(b) - most(a),
    many: (a, b) => (b.regions?.length || 0) - (a.regions?.length || 0) }[wanted.order];
  return by ? [...list].sort((a, b) => by(a, b) || 0) : list;
}

function look() {
  const wanted = asked();
  matching = ordered(cards.filter((card) => fits(card, wanted)), wanted);
  drawn = 0;
  at("cards").replaceChildren();
  more();
  at("found").textContent = `${matching.length} of ${cards.length} images`;
  remember();
}

function remember() {
  const state = new URLSearchParams();
  for (const id of FIELDS) if (at(id).value && !(id === "of" && at(id).value === "region")) state.set(id, at(id).value);
  for (const id of LAYERS) if (at(id).checked === OFF.includes(id)) state.set(id, at(id).checked ? "yes" : "no");
  if (at("detail").open) state.set("image", matching[open].key);
  try {
    history.replaceState(null, "", `#${state}`);
  } catch {
    // some browsers keep no state for files on disk
  }
}

function recall() {
  const state = new URLSearchParams(location.hash.slice(1));
  for (const id of FIELDS) if (state.has(id)) at(id).value = state.get(id);
  for (const id of LAYERS) at(id).checked = (state.get(id) ?? (OFF.includes(id) ? "no" : "yes")) === "yes";
}

// the address of an image: index.html#image=KEY, with or without filters
function visit() {
  const key = new URLSearchParams(location.hash.slice(1)).get("image"); // before the address is written anew
  recall();
  layers();
  look();
  const card = key === null ? undefined : cards.find((one) => one.key === key);
  at("absent").hidden = key === null || card !== undefined;
  if (!at("absent").hidden) at("absent").textContent = `This gallery does not show the image ${visible(key)}.`;
  if (card === undefined) return at("detail").open && at("detail").close();
  if (!matching.includes(card)) {
    at("filters").reset(); // before the listener of its event looks again
    layers();
    look();
  }
  const index = matching.indexOf(card);
  while (index >= drawn) more();
  show(index);
}

function layers() {
  for (const id of LAYERS) document.body.classList.toggle(`no-${id}`, !at(id).checked);
}

// ---------------------------------------------------------------- pictures

function picture(card, large) {
  const [width, height] = card.grid || [512, 384];
  const first = card.captions?.[0]?.[0] || visible(title(card));
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": first });
  if (card.file) svg.append(shape("image", { href: card.file, width, height, preserveAspectRatio: "none" }));
  else svg.append(shape("text", { x: width / 2, y: height / 2, class: "none" }, "no picture"));
  const wanted = asked();
  const drawings = (card.regions || []).map((region, index) => drawing(card, region, index, wanted, large));
  svg.append(...drawings.sort((a, b) => RANK[a.classList[0]] - RANK[b.classList[0]]));
  for (const one of card.rejected) if (one.box && card.grid && card.wh) svg.append(refusal(card, one, wanted));
  return svg;
}

function scaled(card, box) {
  const [sx, sy] = [card.grid[0] / card.wh[0], card.grid[1] / card.wh[1]];
  const [x0, y0, x1, y1] = box.map((side, number) => side * (number % 2 ? sy : sx));
  return { x: x0, y: y0, width: Math.max(0, x1 - x0), height: Math.max(0, y1 - y0) };
}

// answers that rules refused: shown on request, and if a filter selects their reason
function refusal(card, one, wanted) {
  const group = shape("g", { class: `rejected${one.reason === wanted.reason ? " asked" : ""}` });
  group.append(shape("rect", scaled(card, one.box)));
  return group;
}

function drawing(card, region, index, wanted, large) {
  const box = scaled(card, region.box);
  const group = shape("g", { "data-region": index, class: looks(card, region).join(" ") });
  if (label(region)) group.setAttribute("color", colour(label(region)));
  if (!isMeant(card, region, wanted)) group.classList.add("other");
  if (region.outline) group.append(shape("path", { d: region.outline }));
  group.append(shape("rect", box));
  const [size, name] = [large ? 14 : 26, label(region)];
  const said = `${name.length > 28 ? `${name.slice(0, 27)}…` : name} ${score(region.score)}`.trim();
  if (name) group.append(shape("text", { x: box.x + size / 5, y: Math.min(box.y + size, card.grid[1] - size / 4) }, said));
  return group;
}

const score = (value) => (value === 1 ? "" : value.toFixed(2));

// ---------------------------------------------------------------- cards

function more() {
  const next = matching.slice(drawn, drawn + STEP);
  at("cards").append(...next.map((card, number) => make("li", {}, button(card, drawn + number))));
  drawn += next.length;
  at("more").hidden = drawn >= matching.length;
  at("more").textContent = `Show ${Math.min(STEP, matching.length - drawn)} more of ${matching.length - drawn}`;
}

function button(card, index) {
  const reasons = [...new Set(card.faults.map((fault) => fault.reason))].join(", ");
  const count = card.regions === undefined || card.regions === null ? "" : `${card.regions.length} regions`;
  const node = make("button", { type: "button", className: `card ${card.state}` });
  node.dataset.index = index;
  node.append(picture(card, false), ...nameOnCard(title(card)), words("span", card.captions?.[0]?.[0] || "", "line"),
    words("span", (card.tags || []).map((tag) => tag[0]).slice(0, 12).join(", "), "small"),
    make("span", { className: "small", textContent: count }), ...tally(card));
  if (card.state !== "accepted") {
    node.append(make("span", { className: "small" }, make("b", { className: "state", textContent: STATES[card.state] }),
      reasons ? `: ${reasons}` : card.notes.length ? `: ${card.notes[0]}` : ""));
  }
  node.addEventListener("click", () => show(index));
  return node;
}

// ---------------------------------------------------------------- one image

function show(index) {
  open = index;
  const card = matching[index];
  at("detail-title").textContent = shortened(visible(title(card)), 80);
  at("previous").disabled = index === 0;
  at("next").disabled = index === matching.length - 1;
  at("large").replaceChildren(...pictures(card));
  at("said").replaceChildren(...saying(card));
  if (!at("detail").open) at("detail").showModal();
  remember();
}

function step(by) {
  const index = open + by;
  if (index < 0 || index >= matching.length) return;
  if (index >= drawn) more();
  show(index);
}

function saying(card) {
  const parts = [];
  const reasons = card.faults.map((fault) => make("li", { className: "fault" },
    `${fault.stage}: ${fault.reason}${fault.region === null ? "" : ` (region ${fault.region})`} `,
    words("span", fault.detail, "faint")));
  parts.push(make("p", { className: card.state }, make("b", { className: "state", textContent: STATES[card.state] }),
    card.drawn ? "" : ` (shown because of ${card.cases ? "the report" : "a quarantine row"}, not drawn at random)`));
  if (reasons.length) parts.push(make("ul", {}, ...reasons));
  if (card.notes.length) parts.push(make("ul", {}, ...card.notes.map((note) => words("li", note, "fault"))));
  parts.push(...verdicts(card));
  if (card.captions !== undefined) {
    parts.push(...listed("Captions", card.captions), ...listed("Tags", card.tags), ...regions(card));
  }
  if (card.rejected.length) {
    parts.push(make("h3", { textContent: `Refused by rules (${card.rejected.length})` }),
      make("ul", { className: "refusals" }, ...card.rejected.map(refused)));
  }
  return [...parts, make("h3", { textContent: "Image" }), facts(card)];
}

function listed(title, list) {
  return [make("h3", { textContent: title }), list?.length ? make("ul", {}, ...list.map(text)) : nothing(list)];
}

const nothing = (list) => make("p", { className: "faint", textContent: list ? "requested, none found" : "not requested" });

function text([said, value, source, others]) {
  const node = words("li", said);
  node.append(make("span", { className: "score", textContent: ` ${value.toFixed(3)} ` }), words("span", source, "faint"));
  if (others) node.append(words("span", `; ${others}`, "faint"));
  return node;
}

function refused(one) {
  const node = make("li", {}, make("span", { className: "fault", textContent: `${one.role}: ${one.reason} ` }),
    words("bdi", one.text ?? "(the region itself)"));
  const value = one.score === null ? "" : ` ${one.score.toFixed(3)}`;
  const where = one.box ? ` [${one.box.join(", ")}]` : "";
  node.append(words("bdi", `${value} ${one.source || ""}${where} ${one.detail}`, "faint"));
  return node;
}

function regions(card) {
  const title = make("h3", { textContent: card.regions?.length ? `Regions (${card.regions.length})` : "Regions" });
  if (!card.regions?.length) return [title, nothing(card.regions)];
  return [title, make("ul", { className: "regions" }, ...card.regions.map((region, index) =>
    make("li", {}, regionButton(card, region, index))))];
}

function regionButton(card, region, index) {
  const node = make("button", { type: "button", className: `region ${looks(card, region).join(" ")}` });
  const swatch = make("span", { className: "swatch" });
  if (label(region)) swatch.style.color = colour(label(region));
  node.setAttribute("aria-pressed", "false");
  node.append(swatch, words("b", label(region) || "no label"), make("span", { className: "score",
    textContent: ` ${region.score.toFixed(3)} ${region.stuff ? "stuff" : "thing"} ${region.id}` }));
  const lines = [["tag", region.tags], ["caption", region.captions], ["hard negative", region.negatives]]
    .flatMap(([kind, list]) => (list || []).map(([said, value, source, others]) =>
      [`${kind}: `, said, ` ${value.toFixed(3)} ${source}${others ? `; ${others}` : ""}`]));
  for (const [kind, said, rest] of lines) {
    node.append(make("br"), make("span", { className: "faint", textContent: kind }), words("bdi", said),
      words("bdi", rest, "faint"));
  }
  const [x0, y0, x1, y1] = region.box;
  const size = `[${x0}, ${y0}, ${x1}, ${y1}]${region.area === undefined ? ", no mask" : `, mask of ${region.area} px`}`;
  node.append(make("br"), make("span", { className: "faint", textContent: size }));
  for (const [how, source] of Object.entries(region.by)) {
    node.append(make("br"), make("span", { className: "faint", textContent: `${how} ` }), words("bdi", source, "faint"));
  }
  for (const fault of faultsOf(card, region)) {
    node.append(make("br"), words("span", `${fault.stage}: ${fault.reason} ${fault.detail}`, "fault"));
  }
  node.addEventListener("click", () => choose(node, index, true));
  for (const name of ["pointerenter", "focus"]) node.addEventListener(name, () => choose(node, index, false));
  for (const name of ["pointerleave", "blur"]) node.addEventListener(name, () => choose(null, -1, false));
  return node;
}

function choose(node, index, pin) {
  const all = [...at("said").querySelectorAll(".region")];
  const pinned = all.findIndex((one) => one.getAttribute("aria-pressed") === "true");
  if (pin) all.forEach((one) => one.setAttribute("aria-pressed", String(one === node && pinned !== index)));
  const pressed = all.findIndex((one) => one.getAttribute("aria-pressed") === "true");
  const chosen = index >= 0 ? index : pressed;
  at("large").classList.toggle("choosing", chosen >= 0);
  for (const group of at("large").querySelectorAll("g")) {
    group.classList.toggle("chosen", Number(group.dataset.region) === chosen);
  }
}

function facts(card) {
  const list = make("dl");
  const add = (name, ...value) => list.append(make("dt", { textContent: name }), make("dd", { dir: "auto" }, ...value));
  if (card.source?.name) add("file", ...nameToCopy(card.source.name));
  if (card.wh) add("size", `${card.wh[0]} × ${card.wh[1]} px`);
  add("key", card.key);
  if (card.shard) add("shard", card.shard);
  for (const [name, value] of Object.entries(card.source || {})) {
    if (name !== "name") add(name, name === "url" ? link(value) : value);
  }
  return list;
}

// an address in the data becomes a link only if it is a web page
function link(url) {
  if (!/^https?:\/\//i.test(url)) return url;
  return make("a", { href: url, rel: "noopener noreferrer", target: "_blank", textContent: url });
}

// ---------------------------------------------------------------- keys

function keys(event) {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const typing = event.target.matches?.("input, select");
  const steps = { ArrowLeft: -1, ArrowRight: 1 };
  if (at("detail").open) {
    if (event.key in steps) step(steps[event.key]);
  } else if (event.key === "/" && !typing) {
    event.preventDefault();
    at("text").focus();
  } else if (event.target.classList?.contains("card")) {
    walk(event, steps);
  }
}

function walk(event, steps) {
  const all = [...document.querySelectorAll(".card")];
  const columns = getComputedStyle(at("cards")).gridTemplateColumns.split(" ").length;
  const by = { ...steps, ArrowUp: -columns, ArrowDown: columns, Home: -all.length, End: all.length }[event.key];
  if (by === undefined) return;
  event.preventDefault();
  all[Math.max(0, Math.min(all.length - 1, Number(event.target.dataset.index) + by))].focus();
}

// ---------------------------------------------------------------- start

function introduce() {
  const drawn = cards.filter((card) => card.drawn);
  const read = new Set(drawn.map((card) => card.shard)).size;
  at("title").textContent = about.dataset;
  document.title = `${about.dataset} – umgclip data browse`;
  at("about").textContent = `${drawn.length} of ${about.samples} images drawn ` +
    `(seed ${about.selection.seed}), from ${read} of ${about.shards} shards; made by ${about.made_by.stage}`;
  at("report").hidden = !about.report;
  const wrong = [...about.notes, ...about.problems];
  at("problems").hidden = !wrong.length;
  at("problems").append(...wrong.map((problem) => words("li", problem)));
}
