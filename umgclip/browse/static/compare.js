// Predictions of models beside the truth: where they differ, pictures side by side, and a table. Every text is set as
// text, never as HTML.
"use strict";

const models = about.models || [];
const KINDS = { worst: "least sure of the truth", lost: "lost most by tuning", gained: "gained most by tuning",
  best: "surest of the truth" };
const MARKS = { true: "✓", false: "✗" };

const answersOf = (card) => card.guesses || [];
const rightBy = (guess, model) => guess.by[model]?.[2] === true;
const wrongBy = (guess, model) => guess.by[model]?.[2] === false;
const isDisputed = (guess) => new Set(guess.by.filter(Boolean).map((answer) => answer[0])).size > 1;
const last = models.length - 1;
const some = (test) => (card) => answersOf(card).some(test);

// what the filter of predictions offers: words, and which images it selects
const VERDICTS = {
  differ: ["where the models differ", some(isDisputed), 2],
  gained: [`${models[last]} right, ${models[0]} wrong`, some((guess) => rightBy(guess, last) && wrongBy(guess, 0)), 2],
  lost: [`${models[0]} right, ${models[last]} wrong`, some((guess) => rightBy(guess, 0) && wrongBy(guess, last)), 2],
  wrong: [`${models[last]} wrong`, some((guess) => wrongBy(guess, last)), 1],
  allwrong: ["all wrong", some((guess) => guess.by.every((answer) => answer?.[2] === false)), 2],
  allright: ["all right everywhere", (card) => answersOf(card).length > 0 &&
    answersOf(card).every((guess) => guess.by.every((answer) => answer?.[2] === true)), 1],
  any: ["with predictions", (card) => answersOf(card).length > 0, 1],
  report: ["in the report", (card) => card.cases?.length > 0, 1],
};

const isOffered = ([name, [, test, least]]) =>
  models.length >= least && cards.some(test) && (name !== "report" || about.report);

function offerVerdicts() {
  at("compared").hidden = !models.length;
  if (!models.length) return;
  const entries = Object.entries(VERDICTS).filter(isOffered);
  choices("verdict", "any", entries.map(([name, [text, test]]) => [name, `${text} (${cards.filter(test).length})`]));
}

// one line of a card: how many each model names right, and in how many they differ
function tally(card) {
  const guesses = answersOf(card);
  if (!guesses.length) return [];
  const known = guesses.filter((guess) => guess.by.some((answer) => answer && answer[2] !== null));
  const shares = known.length ? models.map((model, index) =>
    `${model} ${known.filter((guess) => rightBy(guess, index)).length} of ${known.length}`).join(", ") : "";
  const disputed = guesses.filter(isDisputed).length;
  const line = make("span", { className: "small" }, words("bdi", shares && `Right: ${shares}`));
  if (disputed) {
    line.append(shares ? "; " : "", make("b", { className: "differs", textContent: `≠ differ on ${disputed}` }));
  }
  return [line];
}

// the truth and each model, side by side; regions are highlighted in all of them
function pictures(card) {
  at("detail").classList.toggle("compared", answersOf(card).length > 0);
  if (!answersOf(card).length) return [picture(card, true)];
  const panel = (name, note, svg) => {
    svg.setAttribute("aria-label", `${name}: ${svg.getAttribute("aria-label")}`);
    return make("figure", {}, svg, make("figcaption", {}, words("b", name), note ? words("span", ` ${note}`, "faint") : ""));
  };
  const truth = answersOf(card).some((guess) => guess.truth) ? "truth" : "dataset";
  return [make("div", { className: "panels" }, panel(truth, wholeImage(card, null), picture(card, false)),
    ...models.map((model, index) => panel(model, wholeImage(card, index), predicted(card, index))))];
}

function wholeImage(card, model) {
  const guess = answersOf(card).find((one) => one.region === null);
  if (!guess) return "";
  return model === null ? guess.truth || "" : said(guess.by[model]);
}

const said = (answer) => (answer ? `${MARKS[answer[2]] ?? ""} ${answer[0]} ${answer[1].toFixed(2)}`.trim() : "–");

function predicted(card, model) {
  const [width, height] = card.grid || [512, 384];
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
  if (card.file) svg.append(shape("image", { href: card.file, width, height, preserveAspectRatio: "none" }));
  const names = [];
  for (const guess of answersOf(card)) {
    const answer = guess.by[model];
    if (guess.region === null || !answer) continue;
    const region = card.regions[guess.region], box = scaled(card, region.box);
    const verdict = answer[2] === null ? "guessed" : answer[2] ? "right" : "wrong";
    const group = shape("g", { "data-region": guess.region, class: `${verdict}${isDisputed(guess) ? " disputed" : ""}` });
    if (region.outline) group.append(shape("path", { d: region.outline }));
    group.append(shape("rect", box), shape("text", { x: box.x + 5, y: Math.min(box.y + 26, card.grid[1] - 6) },
      `${MARKS[answer[2]] ?? ""} ${answer[0].length > 24 ? `${answer[0].slice(0, 23)}…` : answer[0]}${isDisputed(guess) ? " ≠" : ""}`.trim()));
    svg.append(group);
    names.push(said(answer));
  }
  svg.setAttribute("aria-label", names.join(", ") || wholeImage(card, model) || "nothing");
  return svg;
}

// the same as a table
function verdicts(card) {
  const guesses = answersOf(card), parts = [];
  if (guesses.length) {
    const head = make("tr", {}, make("th", { scope: "col", textContent: "truth" }),
      ...models.map((model) => Object.assign(words("th", model), { scope: "col" })));
    const rows = guesses.map((guess) => {
      const name = guess.region === null ? "whole image" : guess.truth || "no label";
      const first = Object.assign(words("th", guess.region === null && guess.truth ? `${guess.truth} (image)` : name),
        { scope: "row" });
      if (isDisputed(guess)) first.append(make("b", { className: "differs", textContent: " ≠" }));
      return make("tr", {}, first, ...guess.by.map((answer) => words("td", said(answer))));
    });
    const table = make("table", { className: "verdicts" }, make("thead", {}, head), make("tbody", {}, ...rows));
    table.setAttribute("aria-label", "predictions");
    const hint = models.length > 1 ? "✓ right, ✗ wrong, ≠ the models differ" : "✓ right, ✗ wrong";
    parts.push(make("h3", { textContent: "Predictions" }), table, make("p", { className: "note", textContent: hint }));
  }
  if (about.report && card.cases?.length) {
    const kinds = [...new Set(card.cases)].map((kind) => KINDS[kind] || kind).join(", ");
    parts.push(make("p", {}, make("a", { href: `report.html#image-${encodeURIComponent(card.key)}`,
      textContent: `In the report: ${kinds}` })));
  }
  return parts;
}
