// Finds and makes elements. Text only ever becomes text, never markup.

/** The element with an id; an error if there is none. */
export function find(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no element ${id}`);
  return element;
}

/** A new element with properties and children; a string becomes text. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Shows a failure in words in its place; with a button that calls `again`, if the same may work later. */
export function show(place, failure, again) {
  place.replaceChildren(failure.message ?? String(failure));
  if (again && failure.passing) {
    const button = make("button", { type: "button", textContent: "Try again" });
    button.addEventListener("click", () => {
      hide(place);
      again();
    });
    place.append(button);
  }
  place.hidden = false;
}

/** Takes a failure away. */
export function hide(place) {
  place.hidden = true;
  place.replaceChildren();
}

/** Gives a part of the page the focus, and scrolls there if not all of it is seen. */
export function bringIntoView(part) {
  part.focus({ preventScroll: true });
  const { top, bottom } = part.getBoundingClientRect();
  if (top < 0 || bottom > innerHeight) part.scrollIntoView({ block: "start" });
}

/** Waits; an abort ends it with the reason. */
export function wait(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", stop, { once: true });
  });
}

/** Waits for an event; an abort or the event `error` ends it with an error. */
export function happens(target, name, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const ended = new AbortController();
    const end = (action) => (event) => {
      ended.abort();
      action(event);
    };
    target.addEventListener(name, end(resolve), { signal: ended.signal });
    target.addEventListener("error", end(() => reject(new Error(`${name} did not happen`))), { signal: ended.signal });
    signal?.addEventListener("abort", end(() => reject(signal.reason)), { signal: ended.signal });
  });
}
