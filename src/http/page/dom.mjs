// Creates elements from text only: no part of the page parses markup.

/** The path that all URLs of the server begin with: empty, or like `/chat`. */
export const base = globalThis.document?.documentElement.dataset.base ?? "";

export const $ = (id) => document.getElementById(id);

/** Creates an element with attributes and children; a function listens to the event of its name. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** Shows or hides an element. */
export function show(element, shown) {
  element.hidden = !shown;
}
