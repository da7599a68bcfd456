// The box around the face, over the picture: moved and resized by mouse, touch and keys, or drawn anew.

import { make } from "../elements.js";

/** The smallest side of a box, pixels of the picture. */
const SMALLEST = 8;
/** How far an arrow key goes, as a share of the picture's smaller side; with Alt it goes a pixel. */
const STEP = 0.02;

/**
 * Keeps a box inside a picture, in whole pixels.
 * @param {{x: number, y: number, width: number, height: number}} box pixels
 * @param {{width: number, height: number}} size of the picture, pixels
 */
export function inside(box, size) {
  const width = Math.round(Math.min(Math.max(box.width, Math.min(SMALLEST, size.width)), size.width));
  const height = Math.round(Math.min(Math.max(box.height, Math.min(SMALLEST, size.height)), size.height));
  const x = Math.round(Math.min(Math.max(box.x, 0), size.width - width));
  const y = Math.round(Math.min(Math.max(box.y, 0), size.height - height));
  return { x, y, width, height };
}

/** The box over the picture; `changed` is called with the box when the reader has changed it. */
export class FaceBox {
  constructor(layer, changed) {
    this.layer = layer;
    this.changed = changed;
    this.size = null;
    this.box = null;
    this.faces = [];
    this.element = make("div", { className: "face", tabIndex: 0 });
    this.element.setAttribute("role", "application");
    this.element.setAttribute("aria-roledescription", "movable box");
    this.element.setAttribute("aria-describedby", "face-help");
    for (const y of ["top", "bottom"]) {
      for (const x of ["left", "right"]) {
        const corner = make("span", { className: "corner" });
        Object.assign(corner.dataset, { x, y });
        this.element.append(corner);
      }
    }
    this.element.addEventListener("keydown", (event) => this.#key(event));
    layer.addEventListener("pointerdown", (event) => this.#press(event));
  }

  /**
   * Shows a picture's faces.
   * @param {{width: number, height: number}} size of the picture, pixels
   * @param {object | null} box the box of the chosen face; null if the reader has to draw it
   * @param {object[]} faces boxes of all found faces
   */
  show(size, box, faces) {
    this.size = size;
    this.faces = faces;
    this.layer.classList.toggle("drawing", !box);
    this.box = inside(box ?? middle(size), size);
    this.#draw();
  }

  #draw() {
    const others = this.faces.length > 1 ? this.faces.map((face, index) => this.#other(face, index)) : [];
    const focused = document.activeElement === this.element;
    this.layer.replaceChildren(...others.filter(Boolean), this.element);
    this.#place(this.element, this.box);
    this.#name();
    if (focused) this.element.focus();
  }

  /** A button that chooses another face; null for the face that is chosen. */
  #other(face, index) {
    if (same(inside(face, this.size), this.box)) return null;
    const button = make("button", { type: "button", className: "other-face" });
    button.setAttribute("aria-label", `Choose face ${index + 1} of ${this.faces.length}, from the left`);
    button.addEventListener("click", () => {
      this.#set(face);
      this.#draw();
      this.element.focus();
      this.changed(this.box);
    });
    this.#place(button, face);
    return button;
  }

  #place(element, box) {
    const percent = (part, whole) => `${(100 * part) / whole}%`;
    Object.assign(element.style, {
      left: percent(box.x, this.size.width),
      top: percent(box.y, this.size.height),
      width: percent(box.width, this.size.width),
      height: percent(box.height, this.size.height),
    });
  }

  #name() {
    const { x, y, width, height } = this.box;
    this.element.setAttribute(
      "aria-label",
      `Face: ${x} pixels from the left, ${y} from the top, ${width} wide, ${height} high`,
    );
  }

  #set(box) {
    this.box = inside(box, this.size);
    this.#place(this.element, this.box);
  }

  #key(event) {
    const direction = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!direction || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const step = event.altKey ? 1 : Math.max(1, Math.round(STEP * Math.min(this.size.width, this.size.height)));
    const [right, down] = direction.map((sign) => sign * step);
    const { x, y, width, height } = this.box;
    if (event.shiftKey) {
      this.#set({ x, y, width: Math.min(width + right, this.size.width - x), height: Math.min(height + down, this.size.height - y) });
    } else {
      this.#set({ x: x + right, y: y + down, width, height });
    }
    this.#name();
    this.changed(this.box);
  }

  /** A press moves the box, resizes it at a corner, or, outside of it, draws a new one. */
  #press(event) {
    if (event.button !== 0 || !this.size || event.target.closest(".other-face")) return;
    const corner = event.target.closest(".corner");
    const held = event.target.closest(".face");
    if (!held && event.pointerType === "touch" && !this.layer.classList.contains("drawing")) return; // it scrolls
    event.preventDefault();
    this.element.focus({ focusVisible: false });
    const from = this.#point(event);
    const before = this.box;
    const change = corner ? resizing(before, corner.dataset) : held ? moving(before, from) : drawing(from);
    const follow = (move) => {
      if (move.pointerId !== event.pointerId) return;
      const box = change(this.#point(move));
      if (box) this.#set(box);
    };
    const ended = new AbortController();
    const end = (up) => {
      if (up.pointerId !== event.pointerId) return;
      ended.abort();
      if (same(this.box, before)) return;
      this.#draw();
      this.changed(this.box);
    };
    for (const [name, action] of [["pointermove", follow], ["pointerup", end], ["pointercancel", end]]) {
      window.addEventListener(name, action, { signal: ended.signal });
    }
  }

  /** Where a pointer is, in pixels of the picture and inside of it. */
  #point(event) {
    const area = this.layer.getBoundingClientRect();
    const part = (value, start, length) => Math.min(Math.max((value - start) / length, 0), 1);
    return {
      x: part(event.clientX, area.left, area.width) * this.size.width,
      y: part(event.clientY, area.top, area.height) * this.size.height,
    };
  }
}

function middle(size) {
  const side = 0.5 * Math.min(size.width, size.height);
  return { x: (size.width - side) / 2, y: (size.height - side) / 2, width: side, height: side };
}

function same(one, other) {
  return ["x", "y", "width", "height"].every((key) => one[key] === other[key]);
}

const moving = (box, from) => (to) => ({ ...box, x: box.x + to.x - from.x, y: box.y + to.y - from.y });

/** The opposite corner stays where it is. */
const resizing = (box, { x, y }) => {
  const fixed = { x: x === "left" ? box.x + box.width : box.x, y: y === "top" ? box.y + box.height : box.y };
  return (to) => spanned(fixed, to);
};

/** A small move is no drawing, but a slip. */
const drawing = (from) => (to) => {
  const box = spanned(from, to);
  return box.width > SMALLEST && box.height > SMALLEST ? box : null;
};

function spanned(one, other) {
  return {
    x: Math.min(one.x, other.x),
    y: Math.min(one.y, other.y),
    width: Math.abs(one.x - other.x),
    height: Math.abs(one.y - other.y),
  };
}
