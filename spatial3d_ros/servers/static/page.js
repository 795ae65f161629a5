// The page: asks, shows the answer on the map, the history of an object and events as they come.

import { MapView } from "/static/map.js";

const $ = (id) => document.getElementById(id);
const CALENDAR_S = 978307200; // smaller stamps are the clock of a simulation
const MAX_EVENTS = 100;
const conversation = `page-${crypto.getRandomValues(new Uint32Array(2)).join("-")}`;
const view = new MapView($("map"), (id) => select(id));
let map = { objects: [], regions: [], frame_id: "", live: false, edits: false };
let answer = new Set();
let selected = null;
let layout = null;

async function request(path, body) {
  const options = body && { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  const response = await fetch(path, options);
  const reply = await response.json();
  if (!response.ok) throw new Error(reply.error);
  return reply;
}

function element(name, text, className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = className;
  return made;
}

function time(seconds) {
  if (!seconds) return "";
  return seconds < CALENDAR_S ? `${seconds.toFixed(1)} s` : new Date(seconds * 1000).toLocaleString("en-GB");
}

const place = (point) => `(${point.map((v) => v.toFixed(2)).join(", ")})`;
const name = (object) => `${object.color} ${object.label || "object"}`.trim();

function status(text, bad = false) {
  $("status").textContent = text;
  $("status").className = bad ? "bad" : "";
}

function draw() {
  view.draw(map, answer, selected, layout);
  const wanted = $("filter").value.toLowerCase();
  const shown = map.objects.filter((o) => `${o.color} ${o.label} ${o.region} ${o.state}`.toLowerCase().includes(wanted));
  $("list").replaceChildren(...shown.map((object) => {
    const item = element("li", "", answer.has(object.id) ? "answer" : "");
    const button = element("button", `${name(object)} #${object.id}`, object.state);
    button.addEventListener("click", () => select(object.id));
    item.append(button, ` ${object.region}${object.state === "present" ? "" : ` ${object.state}`}`);
    return item;
  }));
}

async function load() {
  try {
    map = await request("/api/map");
    const present = map.objects.filter((o) => o.state === "present").length;
    status(`${present} objects in frame ${map.frame_id || "?"}${map.stamp_s ? `, newest view ${time(map.stamp_s)}` : ""}`);
    draw();
  } catch (error) {
    status(error.message, true);
  }
}

async function select(id) {
  selected = id;
  draw();
  try {
    const { object, events, pictures } = await request(`/api/objects/${id}`);
    $("object").hidden = false;
    $("name").textContent = `${name(object)} #${object.id}`;
    const facts = {
      state: object.state, region: object.region, center: `${place(object.center)} m`,
      size: `${object.size.map((v) => v.toFixed(2)).join(" x ")} m`,
      "first seen": time(object.first_seen_s), "last seen": time(object.last_seen_s),
    };
    $("facts").replaceChildren(...Object.entries(facts).filter(([, v]) => v).flatMap(([k, v]) => [element("dt", k), element("dd", v)]));
    $("pictures").replaceChildren(...pictures.map((stamp, n) => {
      const image = element("img", "");
      image.src = `/objects/${id}/crops/${n}`;
      image.alt = image.title = `${name(object)}, ${time(stamp)}`;
      return image;
    }));
    $("history").replaceChildren(...events.map(change));
    $("edit").hidden = !map.edits;
    $("label").value = object.label;
  } catch (error) {
    $("object").hidden = true;
    status(error.message, true);
  }
}

function change(event) {
  const item = element("li", "", event.kind);
  item.append(element("time", time(event.stamp_s)), ` ${event.text}`);
  if (event.object_id >= 0) {
    item.tabIndex = 0;
    item.addEventListener("click", () => select(event.object_id));
    item.addEventListener("keydown", (key) => key.key === "Enter" && select(event.object_id));
  }
  return item;
}

$("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("answer").textContent = "...";
  $("answer").className = "";
  layout = null;
  try {
    const reply = await request("/api/ask", { question: $("question").value, conversation_id: conversation });
    answer = new Set(reply.objects.map((o) => o.id));
    layout = reply.layout;
    $("answer").textContent = reply.text + (reply.question_back ? `\n${reply.question_back}` : "");
  } catch (error) {
    answer = new Set();
    $("answer").textContent = error.message;
    $("answer").className = "bad";
  }
  draw();
});

$("edit").addEventListener("submit", async (event) => {
  event.preventDefault();
  const action = event.submitter.value;
  if (action === "delete" && !confirm("Delete this object from the memory?")) return;
  try {
    await request("/api/edit", { action, objects: [selected], label: action === "rename" ? $("label").value : "", author: "person" });
    await load();
    if (action === "delete") $("object").hidden = true;
    else await select(selected);
  } catch (error) {
    status(error.message, true);
  }
});

$("filter").addEventListener("input", draw);

const source = new EventSource("/api/events");
source.addEventListener("change", (message) => {
  $("events").prepend(change(JSON.parse(message.data)));
  while ($("events").children.length > MAX_EVENTS) $("events").lastChild.remove();
});
let waiting = null; // a robot that drives changes the map often
source.addEventListener("map", () => { waiting ??= setTimeout(() => { waiting = null; load(); }, 500); });
source.addEventListener("problem", (message) => status(message.data, true));
source.addEventListener("error", () => status("not connected; trying again", true));
source.addEventListener("open", load);

setInterval(() => {
  if (!map.live || document.hidden) return;
  const image = new Image();
  image.onload = () => { $("view").src = image.src; $("camera").hidden = false; };
  image.src = `/api/view.jpg?${Date.now()}`;
}, 1000);
