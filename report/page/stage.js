"use strict";

const ZOOMS = [0.05, 64]; // the least and the largest scale

function within(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

/** A pane with images on top of each other: { source, alt } of each. */
function paneOf(pictures, kind = "") {
  const layers = pictures.map(({ source, alt }) =>
    element("img", { src: source, alt, draggable: "false" }),
  );
  const picture = element("div", { class: "picture" }, ...layers);
  return element("div", { class: `pane ${kind}` }, picture);
}

/** Adds a divider to a pane, which has two images or a third one that may cover them. */
function addDivider(pane, names) {
  const divider = element("div", {
    class: "divider",
    role: "slider",
    tabindex: "0",
    "aria-label": "Divider",
    "aria-valuemin": "0",
    "aria-valuemax": "100",
    "aria-valuenow": "50",
  });
  const tags = names.map((name, index) =>
    element("span", { class: `tag ${["left", "right"][index]}` }, name),
  );
  pane.append(...tags, divider);
}

/**
 * Panes that show one place of an image at one scale; mouse, wheel and keys move all
 * of them alike.
 */
class Stage {
  /**
   * The host has
   *   state(): x and y, the place in the middle in px of the image; zoom, the scale; both
   *     may be "" for the whole image; split, where the divider is, 0..1; all are texts;
   *   size(): width and height of the image in px;
   *   change(values): stores new values of the state and calls `place`;
   *   onPlace(stage), if anything else depends on what is seen.
   */
  constructor(root, host) {
    this.root = root;
    this.host = host;
    this.alone = null; // number of the image that covers a divided pane, if one does
    this.keys = {
      " ": () => this.toggle(),
      ArrowLeft: () => this.moveBy(-40, 0),
      ArrowRight: () => this.moveBy(40, 0),
      ArrowUp: () => this.moveBy(0, -40),
      ArrowDown: () => this.moveBy(0, 40),
      "+": () => this.zoomBy(1.25),
      "=": () => this.zoomBy(1.25),
      "-": () => this.zoomBy(0.8),
      0: () => this.look("", "", ""),
      "[": () => this.moveDivider(-0.05),
      "]": () => this.moveDivider(0.05),
    };
    root.addEventListener("wheel", (event) => this.turnWheel(event), {
      passive: false,
    });
    root.addEventListener("pointerdown", (event) => this.startDrag(event));
    new ResizeObserver(() => this.place()).observe(root);
  }

  get panes() {
    return [...this.root.querySelectorAll(".pane")];
  }

  /** Middle, scale and size of a pane; those of the whole image unless chosen. */
  view() {
    const { x, y, zoom } = this.host.state();
    const { width, height } = this.host.size();
    const pane = this.panes[0].getBoundingClientRect();
    const whole = Math.min(pane.width / width, pane.height / height);
    const number = (text, other) =>
      text === "" || !isFinite(text) ? other : Number(text);
    return {
      x: number(x, width / 2),
      y: number(y, height / 2),
      zoom: within(number(zoom, whole), ...ZOOMS),
      whole,
      width: pane.width,
      height: pane.height,
    };
  }

  /** Moves the images and the divider to where the state says, all panes alike. */
  place() {
    if (!this.panes.length) return;
    const { x, y, zoom, width, height } = this.view();
    const [left, top] = [width / 2 - x * zoom, height / 2 - y * zoom].map(Math.round);
    const split = within(Number(this.host.state().split) || 0, 0, 1);
    for (const pane of this.panes) {
      const picture = pane.querySelector(".picture");
      picture.style.transform = `translate(${left}px, ${top}px) scale(${zoom})`;
      // Below a scale of 2 whole pixels would be of unequal widths, or missing.
      picture.classList.toggle("smooth", zoom < 2 && zoom !== 1);
      const divider = pane.querySelector(".divider");
      if (!divider) continue;
      divider.style.left = `${100 * split}%`;
      divider.setAttribute("aria-valuenow", String(Math.round(100 * split)));
      this.divide(pane, Math.max(0, (split * width - left) / zoom));
    }
    this.host.onPlace?.(this);
  }

  /** Shows the first image up to the divider and the second from there, or one alone. */
  divide(pane, cut) {
    pane.querySelector(".divider").hidden = this.alone !== null;
    const [, second, third] = pane.querySelectorAll("img");
    const start = ["100%", "0"][this.alone] ?? `${cut}px`;
    second.style.clipPath = `inset(0 0 0 ${start})`;
    if (third) third.style.clipPath = this.alone === 2 ? "none" : "inset(100%)";
    for (const [index, tag] of pane.querySelectorAll(".tag").entries())
      tag.hidden = this.alone !== null && this.alone !== index;
  }

  /** Covers a divided pane with one of its images; null for the divider. */
  show(index) {
    this.alone = index;
    this.place();
  }

  toggle() {
    this.show(this.alone === 0 ? 1 : 0);
  }

  look(x, y, zoom) {
    const digits = (value) =>
      value === "" ? "" : String(Math.round(1000 * value) / 1000);
    this.host.change({ x: digits(x), y: digits(y), zoom: digits(zoom) });
  }

  moveBy(dx, dy) {
    const { x, y, zoom } = this.view();
    this.look(x + dx / zoom, y + dy / zoom, zoom);
  }

  zoomBy(factor, at) {
    const { x, y, zoom, width, height } = this.view();
    const next = within(zoom * factor, ...ZOOMS);
    const offset = at ? [at.x - width / 2, at.y - height / 2] : [0, 0];
    this.look(
      x + offset[0] / zoom - offset[0] / next,
      y + offset[1] / zoom - offset[1] / next,
      next,
    );
  }

  /** Looks at a square, [left, top, side] in px of the image. */
  lookAt([left, top, side]) {
    const { width, height } = this.view();
    this.look(left + side / 2, top + side / 2, Math.min(width, height) / side);
  }

  moveDivider(step) {
    this.show(null);
    this.host.change({ split: String(within(+this.host.state().split + step, 0, 1)) });
  }

  /** Does what a key stands for; returns whether it stands for anything. */
  press(event) {
    const isDivider = event.target.classList.contains("divider");
    const steps = { ArrowLeft: "[", ArrowRight: "]" };
    const action = this.keys[(isDivider && steps[event.key]) || event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return false;
    event.preventDefault();
    action(event);
    if (isDivider) this.root.querySelector(".divider")?.focus();
    return true;
  }

  turnWheel(event) {
    const pane = event.target.closest(".pane");
    if (!pane) return;
    event.preventDefault();
    const box = pane.getBoundingClientRect();
    this.zoomBy(2 ** (-event.deltaY / 300), {
      x: event.clientX - box.left,
      y: event.clientY - box.top,
    });
  }

  /** Drags the divider, or all images; the state is stored at the end. */
  startDrag(event) {
    const pane = event.target.closest(".pane");
    if (!pane || event.button) return;
    event.preventDefault();
    this.root.focus({ preventScroll: true });
    const box = pane.getBoundingClientRect();
    const isDivider = event.target.classList.contains("divider");
    const [start, state] = [this.view(), this.host.state()];
    const move = (moved) => {
      if (isDivider) {
        state.split = String(within((moved.clientX - box.left) / box.width, 0, 1));
      } else {
        state.x = String(start.x - (moved.clientX - event.clientX) / start.zoom);
        state.y = String(start.y - (moved.clientY - event.clientY) / start.zoom);
        state.zoom = String(start.zoom);
      }
      this.place();
    };
    const stop = () => {
      window.removeEventListener("pointermove", move);
      window.removeEventListener("pointerup", stop);
      window.removeEventListener("pointercancel", stop);
      this.host.change({});
    };
    window.addEventListener("pointermove", move);
    window.addEventListener("pointerup", stop);
    window.addEventListener("pointercancel", stop);
  }
}
