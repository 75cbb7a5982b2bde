// Names of files: cut in the middle where they are long, whole where they are copied. Every text is set as text.
"use strict";

const LONGEST_NAME = 34; // room of a name on a card, in letters
// signs that turn the direction of writing or end a line would show another name than the file has
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

const visible = (name) => name.replace(UNSEEN, "\ufffd");

// what a reader takes for one character: a letter with its accents, an emoji of several code points
function characters(text) {
  if (!Intl.Segmenter) return [...text];
  return [...new Intl.Segmenter(undefined, { granularity: "grapheme" }).segment(text)].map((part) => part.segment);
}

// letters of East Asia and pictures take the room of two
const room = (sign) => (sign.codePointAt(0) >= 0x1100 ? 2 : 1);

// as many characters as fit into some room, from the first one on
function fitting(signs, most) {
  let taken = 0;
  const end = signs.findIndex((sign) => (taken += room(sign)) > most);
  return end < 0 ? signs : signs.slice(0, end);
}

// the end says more than the middle: a number and the kind of file
function shortened(name, longest = LONGEST_NAME) {
  const all = characters(name.length > 4096 ? `${name.slice(0, 2048)}${name.slice(-2048)}` : name);
  if (fitting(all, longest).length === all.length) return all.join("");
  const end = fitting([...all].reverse(), Math.floor((longest - 1) * 0.6)).reverse();
  return [...fitting(all, Math.ceil((longest - 1) * 0.4)), "…", ...end].join("");
}

// the button of a card is named by the whole name; what is cut is for the eye alone
function nameOnCard(name) {
  const whole = visible(name), cut = shortened(whole);
  const line = make("span", { className: "name" });
  if (cut === whole) {
    line.append(words("bdi", whole));
    return [line];
  }
  const short = words("bdi", cut);
  short.setAttribute("aria-hidden", "true");
  line.append(short);
  const full = words("span", whole, "full");
  return [line, full];
}

// a name in full, and a button that copies it exactly, also what cannot be seen
function nameToCopy(name) {
  const whole = words("bdi", visible(name));
  const button = make("button", { type: "button", className: "copy", textContent: "Copy" });
  button.setAttribute("aria-label", "Copy the name");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(name);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(whole); // the browser does not let the page copy: Ctrl+C does
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  return [whole, button];
}
