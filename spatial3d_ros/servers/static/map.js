// Draws the map from above: x to the right, y up, metres.

const SVG = "http://www.w3.org/2000/svg";
const MARGIN = 0.5; // m around everything
const [LETTER, LINE] = [0.09, 0.19]; // m, of a name on the map

function make(parent, name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
}

export function corners({ center, size, yaw }) {
  const [c, s] = [Math.cos(yaw), Math.sin(yaw)];
  return [[1, 1], [-1, 1], [-1, -1], [1, -1]].map(([a, b]) => {
    const [x, y] = [(a * size[0]) / 2, (b * size[1]) / 2];
    return [center[0] + c * x - s * y, center[1] + s * x + c * y];
  });
}

const points = (list) => list.map(([x, y]) => `${x},${-y}`).join(" ");

// The place nearest to (x, y), above or below it, where a name covers no other one.
function free(placed, x, y, width) {
  const taken = (at) => placed.some((p) => Math.abs(p.x - x) < (p.width + width) / 2 && Math.abs(p.y - at) < LINE);
  const steps = Array.from({ length: 9 }, (_, i) => (i % 2 ? 1 : -1) * Math.ceil(i / 2) * LINE * 0.75);
  const at = y + (steps.find((step) => !taken(y + step)) ?? 0);
  placed.push({ x, y: at, width });
  return [x, at];
}

export class MapView {
  // `choose(id)` is called when an object is clicked.
  constructor(svg, choose) {
    this.svg = svg;
    this.choose = choose;
    this.window = null; // x, y, width, height that the user chose
    svg.addEventListener("wheel", (event) => this.zoom(event), { passive: false });
    svg.addEventListener("pointerdown", (event) => this.grab(event));
    svg.addEventListener("dblclick", () => { this.window = null; this.fit(); });
  }

  // map: objects and regions; answer: Set of ids; selected: id or null; layout: a proposal or null.
  draw(map, answer, selected, layout) {
    this.svg.replaceChildren();
    const all = [...map.regions.flatMap((r) => r.corners), ...map.objects.flatMap(corners),
      ...(layout ? layout.after.flatMap(corners) : [])];
    this.extent = all.length ? [Math.min(...all.map((p) => p[0])) - MARGIN, Math.min(...all.map((p) => -p[1])) - MARGIN,
      Math.max(...all.map((p) => p[0])) + MARGIN, Math.max(...all.map((p) => -p[1])) + MARGIN] : [-2, -2, 2, 2];
    this.fit();
    for (const region of map.regions) {
      make(this.svg, "polygon", { points: points(region.corners), class: "region" });
      const top = region.corners.reduce((a, b) => (b[1] - b[0] > a[1] - a[0] ? b : a));
      make(this.svg, "text", { x: top[0] + 0.05, y: -top[1] - 0.08, class: "room" }, region.name);
    }
    // Large ones first, so that the small ones on them can be clicked.
    const area = (o) => o.size[0] * o.size[1];
    for (const object of [...map.objects].sort((a, b) => area(b) - area(a))) {
      const classes = ["object", object.state, answer.has(object.id) && "answer", object.id === selected && "selected"];
      const group = make(this.svg, "g", { class: classes.filter(Boolean).join(" "), "data-id": object.id });
      make(group, "polygon", { points: points(corners(object)) });
      make(group, "title", {}, `${object.color} ${object.label || "unknown"} (#${object.id}), ${object.state}`);
      group.addEventListener("click", () => this.choose(object.id));
    }
    const placed = [];
    const strong = (o) => answer.has(o.id) || o.id === selected;
    for (const object of [...map.objects].sort((a, b) => strong(b) - strong(a))) { // above all boxes
      const text = object.label || `#${object.id}`;
      const [x, y] = free(placed, object.center[0], -object.center[1], text.length * LETTER);
      make(this.svg, "text", { x, y, class: `name ${strong(object) ? "strong" : ""} ${object.state}` }, text);
    }
    for (const [index, after] of (layout?.after ?? []).entries()) {
      make(this.svg, "polygon", { points: points(corners(after)), class: "proposal" });
      const before = layout.before[index];
      if (before) make(this.svg, "line", { x1: before.center[0], y1: -before.center[1], x2: after.center[0], y2: -after.center[1], class: "proposal" });
    }
  }

  fit() {
    const [x0, y0, x1, y1] = this.extent;
    this.svg.setAttribute("viewBox", (this.window ?? [x0, y0, x1 - x0, y1 - y0]).join(" "));
  }

  zoom(event) {
    event.preventDefault();
    const [x, y, w, h] = this.svg.getAttribute("viewBox").split(" ").map(Number);
    const factor = event.deltaY > 0 ? 1.2 : 1 / 1.2;
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(this.svg.getScreenCTM().inverse());
    this.window = [at.x + (x - at.x) * factor, at.y + (y - at.y) * factor, w * factor, h * factor];
    this.fit();
  }

  grab(start) {
    const [x, y, w, h] = this.svg.getAttribute("viewBox").split(" ").map(Number);
    const scale = 1 / this.svg.getScreenCTM().a;
    const move = (event) => {
      const [dx, dy] = [event.clientX - start.clientX, event.clientY - start.clientY];
      if (Math.hypot(dx, dy) < 4) return; // a click
      this.window = [x - dx * scale, y - dy * scale, w, h];
      this.fit();
    };
    addEventListener("pointermove", move);
    addEventListener("pointerup", () => removeEventListener("pointermove", move), { once: true });
  }
}
