// The page at /: it sends an image, labels and boxes, and shows scores and overlays. It loads nothing from other servers.

const LONGEST_PX = 1600; // larger images are scaled down before they are sent
const GRID_PX = 192; // longer side of an overlay
const PNG_PX = 256 * 256; // images of up to this many pixels are sent without loss, as PNG
// the colours of Okabe and Ito, which people with common kinds of colour blindness can distinguish, then lighter ones
const COLOURS = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#999999",
  "#b5e61d", "#ffaec9", "#7f6000", "#00ffff"];

const at = (id) => document.getElementById(id);
const canvas = at("canvas"), paint = canvas.getContext("2d");
const state = { image: null, boxes: [], answer: null, labels: [], drag: null, asking: null };

const colour = (index) => COLOURS[index % COLOURS.length];
const make = (tag, properties = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
};

function complain(message) {
  at("problem").hidden = !message;
  at("problem").textContent = message || "";
}

// ---------------------------------------------------------------- the image

async function take(file) {
  complain("");
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    complain(`${file.name || "The file"} is not an image that this browser can read.`);
    return;
  }
  const scale = Math.min(1, LONGEST_PX / Math.max(bitmap.width, bitmap.height));
  const image = document.createElement("canvas");
  image.width = Math.max(1, Math.round(bitmap.width * scale));
  image.height = Math.max(1, Math.round(bitmap.height * scale));
  image.getContext("2d").drawImage(bitmap, 0, 0, image.width, image.height);
  Object.assign(state, { image, boxes: [], answer: null });
  // small images get a larger canvas, so that boxes and overlays look smooth on them
  const zoom = Math.max(1, 640 / Math.max(image.width, image.height));
  canvas.width = Math.round(image.width * zoom);
  canvas.height = Math.round(image.height * zoom);
  canvas.setAttribute("aria-label", `${file.name || "Image"}, ${image.width} by ${image.height} pixels`);
  for (const id of ["canvas", "tools"]) at(id).hidden = false;
  for (const id of ["hint", "looks", "answer"]) at(id).hidden = true;
  at("drop").classList.add("filled");
  at("status").textContent = "";
  listBoxes();
  draw();
  if (labels().length) ask();
}

function picked(list) {
  const file = [...list].find((one) => one.type.startsWith("image/"));
  if (file) take(file);
  else if (list.length) complain(`Expected an image, got ${list[0].type || "a file of an unknown kind"}.`);
}

at("file").addEventListener("change", (event) => {
  picked(event.target.files);
  event.target.value = ""; // so that the same file can be chosen again
});
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) picked(event.clipboardData.files);
});
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    at("drop").classList.toggle("over", name === "dragover");
    if (name === "drop") picked(event.dataTransfer.files);
  });
}

// ---------------------------------------------------------------- boxes

/** The position of a pointer event in pixels of the image. */
function position(event) {
  const frame = canvas.getBoundingClientRect();
  // the canvas may be letterboxed inside its element
  const scale = Math.min(frame.width / canvas.width, frame.height / canvas.height);
  const left = frame.left + (frame.width - canvas.width * scale) / 2;
  const top = frame.top + (frame.height - canvas.height * scale) / 2;
  const clip = (value, most) => Math.min(most, Math.max(0, value));
  return [
    clip(((event.clientX - left) / scale / canvas.width) * state.image.width, state.image.width),
    clip(((event.clientY - top) / scale / canvas.height) * state.image.height, state.image.height),
  ];
}

const ordered = ([x0, y0, x1, y1]) =>
  [Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)].map((side) => Math.round(side));

canvas.addEventListener("pointerdown", (event) => {
  const drawing = at("draw").getAttribute("aria-pressed") === "true";
  if (event.button || (event.pointerType === "touch" && !drawing)) return; // without "Draw a box", a finger scrolls
  canvas.setPointerCapture(event.pointerId);
  const start = position(event);
  state.drag = [...start, ...start];
});
canvas.addEventListener("pointermove", (event) => {
  if (!state.drag) return;
  state.drag.splice(2, 2, ...position(event));
  draw();
});
canvas.addEventListener("pointerup", () => {
  const box = state.drag && ordered(state.drag);
  state.drag = null;
  setDrawing(false);
  if (box && box[2] - box[0] >= 2 && box[3] - box[1] >= 2) addBox(box);
  else draw();
});
canvas.addEventListener("pointercancel", () => {
  state.drag = null;
  draw();
});

function setDrawing(on) {
  at("draw").setAttribute("aria-pressed", on);
  canvas.classList.toggle("drawing", on);
}
at("draw").addEventListener("click", () => setDrawing(at("draw").getAttribute("aria-pressed") !== "true"));
at("add").addEventListener("click", () => {
  const { width, height } = state.image;
  addBox([width / 4, height / 4, (3 * width) / 4, (3 * height) / 4].map(Math.round));
  at("boxes").querySelector("li:last-child input").focus();
});

function addBox(box) {
  state.boxes.push(box);
  boxesChanged();
  listBoxes();
  if (labels().length) ask();
}

function boxesChanged() {
  if (state.answer) state.answer.box_label_scores = null; // they belong to the old boxes
  draw();
}

function listBoxes() {
  at("boxes").hidden = !state.boxes.length;
  const rows = state.boxes.map((box, index) => {
    const sides = ["left", "top", "right", "bottom"].map((side, part) => {
      const input = make("input", { type: "number", value: box[part], inputMode: "numeric" });
      input.setAttribute("aria-label", `box ${index + 1}, ${side}`);
      input.addEventListener("change", () => {
        box[part] = input.valueAsNumber; // the server refuses anything but numbers and says why
        boxesChanged();
      });
      return input;
    });
    const remove = make("button", { type: "button", textContent: "Remove" });
    remove.setAttribute("aria-label", `remove box ${index + 1}`);
    remove.addEventListener("click", () => {
      state.boxes.splice(index, 1);
      boxesChanged();
      listBoxes();
      if (state.answer) ask();
    });
    const row = make("li");
    for (const part of [...sides, remove]) row.append(part, " ");
    return row;
  });
  at("boxes").querySelector("ol").replaceChildren(...rows);
}

// ---------------------------------------------------------------- the request

const labels = () => [...new Set(at("labels").value.split(/[,\n]/).map((one) => one.trim()).filter(Boolean))];

function encoded(image) {
  const small = image.width * image.height <= PNG_PX;
  return image.toDataURL(small ? "image/png" : "image/jpeg", 0.92);
}

async function ask() {
  complain("");
  const texts = labels();
  if (!state.image) return complain("Expected an image, got none: drop or paste one, or choose a file.");
  if (!texts.length) {
    at("labels").focus();
    return complain("Expected at least one label, got none: enter labels above.");
  }
  state.asking?.abort();
  const asking = (state.asking = new AbortController());
  const headers = { "Content-Type": "application/json" };
  if (at("key").value) headers["X-API-Key"] = at("key").value;
  const question = { image: encoded(state.image), labels: texts, similarity_map: true };
  if (state.boxes.length) question.boxes = state.boxes;
  if (state.vocabulary) question.tags = 5;
  at("status").textContent = "waiting for the answer …";
  const began = performance.now();
  try {
    const response = await fetch("predict", {
      method: "POST", headers, body: JSON.stringify(question), signal: asking.signal,
    });
    const answer = await response.json().catch(() => ({}));
    if (response.status === 401) {
      at("api-key").hidden = false;
      at("key").focus();
    }
    if (!response.ok) throw new Error(answer.detail || `The server answered with status ${response.status}.`);
    Object.assign(state, { answer, labels: texts });
    const version = response.headers.get("X-Model-Version");
    at("status").textContent = `version ${version} answered in ${Math.round(performance.now() - began)} ms`;
    show();
  } catch (error) {
    if (error.name === "AbortError") return; // a newer request has replaced this one
    at("status").textContent = "";
    complain(error instanceof TypeError ? "The server cannot be reached." : error.message);
  }
}

at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
at("labels").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) ask();
});

// ---------------------------------------------------------------- the answer

function table(title, names, scores, swatches) {
  const order = scores.map((_, index) => index).sort((a, b) => scores[b] - scores[a]);
  const body = make("tbody");
  for (const [rank, index] of order.entries()) {
    const name = make("th", { scope: "row" });
    if (swatches) {
      const swatch = make("span", { className: "swatch" });
      swatch.style.background = colour(index);
      name.append(swatch);
    }
    name.append(names[index]);
    const fill = make("span", { className: "fill" });
    fill.style.width = `${100 * scores[index]}%`;
    if (swatches) fill.style.background = colour(index);
    const number = make("td", { className: "number", textContent: `${(100 * scores[index]).toFixed(1)} %` });
    body.append(make("tr", { className: rank ? "" : "best" }, name, make("td", { className: "bar" }, fill), number));
  }
  return [make("h3", { textContent: title }), make("table", {}, body)];
}

function show() {
  const { answer, labels: names } = state;
  const parts = table("Image", names, answer.label_scores, true);
  for (const [index, scores] of (answer.box_label_scores || []).entries()) {
    parts.push(...table(`Box ${index + 1}`, names, scores, true));
  }
  if (answer.tags) {
    const tags = answer.tags.map((tag) => tag.label);
    parts.push(...table("Tags from the model's vocabulary", tags, answer.tags.map((tag) => tag.score), false));
  }
  at("scores").replaceChildren(...parts);
  const chosen = at("overlay").value;
  const options = [["none", "the image only"], ["segments", "the best label at each point"],
    ...names.map((name, index) => [`label ${index}`, `similarity to ${name}`])];
  at("overlay").replaceChildren(...options.map(([value, textContent]) => make("option", { value, textContent })));
  const first = at("looks").hidden && names.length > 1 ? "segments" : "none";
  at("overlay").value = !at("looks").hidden && options.some(([value]) => value === chosen) ? chosen : first;
  for (const id of ["looks", "answer"]) at(id).hidden = false;
  draw();
}

/** Enlarge a grid (h rows of w numbers) to width x height by bilinear interpolation between cell centres. */
function enlarge(grid, width, height) {
  const rows = grid.length, columns = grid[0].length, large = new Float32Array(width * height);
  for (let y = 0; y < height; y++) {
    const v = Math.min(rows - 1, Math.max(0, ((y + 0.5) / height) * rows - 0.5));
    const y0 = Math.floor(v), y1 = Math.min(rows - 1, y0 + 1), b = v - y0;
    for (let x = 0; x < width; x++) {
      const u = Math.min(columns - 1, Math.max(0, ((x + 0.5) / width) * columns - 0.5));
      const x0 = Math.floor(u), x1 = Math.min(columns - 1, x0 + 1), a = u - x0;
      large[y * width + x] = (1 - b) * ((1 - a) * grid[y0][x0] + a * grid[y0][x1])
        + b * ((1 - a) * grid[y1][x0] + a * grid[y1][x1]);
    }
  }
  return large;
}

const rgb = (hex) => [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));

function overlay() {
  const kind = at("overlay").value, strength = at("strength").value / 100;
  const scale = GRID_PX / Math.max(state.image.width, state.image.height);
  const width = Math.max(1, Math.round(state.image.width * scale));
  const height = Math.max(1, Math.round(state.image.height * scale));
  const layer = make("canvas", { width, height }), context = layer.getContext("2d");
  const pixels = context.createImageData(width, height);
  const set = (index, [red, green, blue], share) =>
    pixels.data.set([red, green, blue, Math.round(255 * strength * share)], 4 * index);
  if (kind === "segments") {
    const maps = state.answer.similarity_map.map((grid) => enlarge(grid, width, height));
    const colours = maps.map((_, label) => rgb(colour(label)));
    for (let index = 0; index < width * height; index++) {
      let best = 0;
      for (let label = 1; label < maps.length; label++) if (maps[label][index] > maps[best][index]) best = label;
      set(index, colours[best], 1);
    }
  } else {
    const label = Number(kind.split(" ")[1]), map = enlarge(state.answer.similarity_map[label], width, height);
    const low = map.reduce((a, b) => Math.min(a, b)), high = map.reduce((a, b) => Math.max(a, b));
    const strong = rgb(colour(label));
    map.forEach((value, index) => set(index, strong, (value - low) / (high - low || 1)));
  }
  context.putImageData(pixels, 0, 0);
  return layer;
}

function draw() {
  if (!state.image) return;
  paint.imageSmoothingQuality = "high";
  paint.drawImage(state.image, 0, 0, canvas.width, canvas.height);
  if (state.answer && at("overlay").value !== "none") paint.drawImage(overlay(), 0, 0, canvas.width, canvas.height);
  const zoom = canvas.width / state.image.width, line = canvas.width / 320;
  paint.font = `600 ${9 * line}px system-ui, sans-serif`;
  const boxes = state.drag ? [...state.boxes, ordered(state.drag)] : state.boxes;
  for (const [index, box] of boxes.entries()) {
    const [x0, y0, x1, y1] = box.map((side) => side * zoom);
    for (const [style, width] of [["#fff", 2 * line], ["#000", line]]) { // visible on light and on dark images
      Object.assign(paint, { strokeStyle: style, lineWidth: width });
      paint.strokeRect(x0, y0, x1 - x0, y1 - y0);
    }
    const scores = state.answer?.box_label_scores?.[index];
    const best = scores ? ` ${state.labels[scores.indexOf(Math.max(...scores))]}` : "";
    const text = `${index + 1}${best}`, width = paint.measureText(text).width + 4 * line;
    const left = Math.min(Math.max(0, x0), canvas.width - width), top = Math.max(0, y0 - 12 * line);
    paint.fillStyle = "#000";
    paint.fillRect(left, top, width, 12 * line);
    paint.fillStyle = "#fff";
    paint.fillText(text, left + 2 * line, top + 9 * line);
  }
}

for (const id of ["overlay", "strength"]) at(id).addEventListener("input", draw);

// ---------------------------------------------------------------- the model

async function greet() {
  try {
    const health = await (await fetch("health")).json();
    const { name, version, alias, device } = health.model;
    state.vocabulary = health.model.vocabulary;
    at("model").textContent = `${name}, version ${version}${alias ? ` (${alias})` : ""}, on ${device}`;
    if (health.problem) at("model").textContent += `; a newer version could not be loaded`;
  } catch {
    at("model").textContent = "the server cannot be reached";
  }
}
greet();
