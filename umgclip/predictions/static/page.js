"use strict";
const SVG = "http://www.w3.org/2000/svg", PAGE_SIZE = 60;
const data = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const names = data.labels.map(([name]) => name);
let chosen = [], shown = 0;

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function svg(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function option(value, text) {
  const made = element("option", text);
  made.value = value;
  at("label").append(made);
}

function filtered() {
  const label = at("label").value, least = Number(at("score").value) || 0, word = at("name").value.toLowerCase();
  const cards = [];
  for (const image of data.images) {
    if (word && !image.name.toLowerCase().includes(word)) continue;
    if (image.error !== undefined) {
      if (label === "all" || label === "failed") cards.push({image, found: []});
      continue;
    }
    const high = image.found.filter(([, score]) => score >= least);
    const found = high.filter(([id]) => label === "all" || label === "none" || names[id] === names[label]);
    if (label === "failed" || (label === "none" ? high.length : label !== "all" && !found.length)) continue;
    cards.push({image, found: label === "none" ? [] : found});
  }
  const best = (card) => Math.max(0, ...card.found.map(([, score]) => score));
  const order = at("order").value;
  if (order === "best") cards.sort((a, b) => best(b) - best(a));
  if (order === "least") cards.sort((a, b) => best(a) - best(b));
  if (order === "many") cards.sort((a, b) => b.found.length - a.found.length);
  return cards;
}

function card({image, found}) {
  const item = element("li", undefined, image.error === undefined ? "card" : "card failed");
  const words = element("div");
  words.append(element("h2", image.name));
  if (image.error !== undefined) {
    words.append(element("p", image.error, "error"));
    item.append(words);
    return item;
  }
  const [width, height] = image.wh;
  const listed = found.map(([id, score]) => `${names[id]} ${score.toFixed(2)}`).join(", ") || "nothing";
  const picture = svg("svg", {viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${image.name}: ${listed}`});
  picture.append(svg("image", {href: image.thumb, width, height, preserveAspectRatio: "none"}));
  const list = element("ul");
  for (const [id, score, [x0, y0, x1, y1]] of found) {
    const colour = data.labels[id][1];
    const box = svg("rect", {x: x0, y: y0, width: x1 - x0, height: y1 - y0});
    box.style.stroke = colour;
    picture.append(box);
    const line = element("li"), swatch = element("span", undefined, "swatch");
    swatch.style.background = colour;
    line.append(swatch, `${names[id]} `, element("span", score.toFixed(2), "score"));
    list.append(line);
  }
  if (!found.length) list.append(element("li", "nothing", "score"));
  words.append(list);
  if (image.picture) {
    const link = element("a", "picture with masks");
    link.href = image.picture;
    link.setAttribute("aria-label", `picture with masks of ${image.name}`);
    words.append(link);
  }
  item.append(picture, words);
  return item;
}

function more() {
  const first = shown;
  shown = Math.min(chosen.length, shown + PAGE_SIZE);
  at("cards").append(...chosen.slice(first, shown).map(card));
  at("more").hidden = shown === chosen.length;
}

function update() {
  chosen = filtered();
  shown = 0;
  at("cards").replaceChildren();
  more();
  const regions = chosen.reduce((sum, {found}) => sum + found.length, 0);
  const cut = data.count > data.images.length ? `; the first ${data.images.length} of ${data.count} images are here` : "";
  at("count").textContent = `${chosen.length} of ${data.images.length} images, ${regions} detections${cut}`;
}

option("all", "all");
names.forEach((name, id) => option(id, name));
option("none", "images without a detection");
if (data.images.some((image) => image.error !== undefined)) option("failed", "images that could not be read");
at("score").value = data.threshold;
at("filters").addEventListener("input", update);
at("filters").addEventListener("submit", (event) => event.preventDefault());
at("more").addEventListener("click", more);
update();
