"use strict";

// What all scripts of the page share.

const DATA = JSON.parse(document.getElementById("data").textContent);
const images = new Map(DATA.images.map((image) => [image.name, image]));
const byId = (id) => document.getElementById(id);

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {}))
    made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Fills a menu with pairs of a value and its text, and chooses a value. */
function fillMenu(id, pairs, chosen) {
  byId(id).replaceChildren(
    ...pairs.map(([value, text]) => element("option", { value }, text)),
  );
  byId(id).value = chosen;
}

/** The rates of an image in words, by the files of ours. */
function rateTexts(image) {
  return image.rates.map((rate) => {
    const { bytes } = rate.bytes[DATA.viewed[0]];
    const bpp = (8 * bytes) / (image.width * image.height);
    return `${bpp.toFixed(2)} bpp, ${(bytes / 1000).toFixed(1)} kB`;
  });
}
