// The page: give videos, watch them wait and be read, look at one result. The server's REST interface does the work.

import { openCamera } from "./camera.js";
import { showTimeline } from "./timeline.js";

const $ = id => document.getElementById(id);
const OVER = ["done", "failed", "cancelled"];
const DOWNLOADS = {
  "frames.csv": "Frames (CSV)", "frames.parquet": "Frames (Parquet)", "windows.csv": "Windows (CSV)",
  "windows.parquet": "Windows (Parquet)", "overlay.mp4": "Overlay video", "report.html": "Report (one page, opens offline)",
  "timeline.png": "Timeline (PNG)", "mosaic.png": "Face mosaic (PNG)", "analysis.json": "Settings (JSON)",
};
const jobs = new Map();  // key -> {key, id, name, model, state, ...}: the server's status, or that of an upload
let about, opened = null;
let sending = Promise.resolve();  // one upload after another, so that videos are read in the order given

const make = (tag, attributes = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), attributes);
  element.append(...children);
  return element;
};

export function complain(message) {
  $("trouble").textContent = message;
  $("trouble").hidden = !message;
}

async function start() {
  const answer = await fetch("api/about");
  about = await answer.json();
  const keep = minutes(about.keep_minutes);
  $("where").textContent = (about.local ? "Everything stays on this computer" : "Videos go to the computer that runs this server, and no further")
    + `; results are removed after ${keep}.`;
  $("limits").textContent = `up to ${minutes(about.max_minutes)}, ${size(about.max_megabytes)}`;
  $("version").textContent = `mien ${about.version}`;
  $("model").append(...about.models.map(model => make("option", { value: model.id, textContent: model.id })));
  $("model").addEventListener("change", describeModel);
  describeModel();
  const kept = JSON.parse(sessionStorage.getItem("jobs") ?? "[]");
  for (const id of kept) await ask({ key: id, id });
  draw();
  const wanted = [...jobs.values()].find(job => job.id === location.hash.slice(1));
  if (wanted?.state === "done") open(wanted);
  setInterval(poll, 500);
}

function describeModel() {
  const model = about.models.find(each => each.id === $("model").value);
  const what = model.bounds ? "Probabilities of" : "Values of";
  $("about-model").classList.toggle("warns", !model.calibrated);
  $("about-model").textContent = `${what} ${model.names.join(", ")}. `
    + (model.calibrated ? "Calibrated: says which answers to rely on." : "Not calibrated: does not say which answers to rely on.");
}

export function give(file, name = file.name) {
  complain("");
  const job = { key: crypto.randomUUID(), name, model: $("model").value, state: "uploading", fraction: 0 };
  jobs.set(job.key, job);
  const query = new URLSearchParams({ name, model: job.model });
  const request = job.request = new XMLHttpRequest();  // fetch does not tell how much is sent
  request.open("POST", `api/jobs?${query}`);
  request.responseType = "json";
  request.upload.onprogress = event => { job.fraction = event.loaded / Math.max(event.total, 1); draw(); };
  request.onload = () => {
    if (request.status < 300) Object.assign(job, request.response);
    else fail(job, reason(request.response));
    remember();
    draw();
  };
  request.onerror = () => { fail(job, "the server does not answer, or refused the rest of the upload (too large, or too many videos wait)"); draw(); };
  if (file.size > about.max_megabytes * 1e6) fail(job, `larger than the ${size(about.max_megabytes)} that this server takes`);
  else sending = sending.then(() => jobs.has(job.key) && new Promise(over => { request.onloadend = over; request.send(file); }));
  draw();
}

const reason = answer => typeof answer?.detail === "string" ? answer.detail : "the server refused it";
const fail = (job, message) => Object.assign(job, { state: "failed", message });

async function ask(job) {
  let answer;
  try { answer = await fetch(`api/jobs/${job.id}`); } catch { return; }  // a server that is away may come back
  if (answer.ok) jobs.set(job.key, Object.assign(job, await answer.json()));
  else if (answer.status === 404) { if (job.state) fail(job, "removed from the server"); }
}

async function poll() {
  const running = [...jobs.values()].filter(job => job.id && !OVER.includes(job.state));
  if (!running.length || document.hidden) return;
  await Promise.all(running.map(ask));
  const finished = running.filter(job => job.state === "done");
  draw();
  if (finished.length && !opened) open(finished[0]);
}

async function remove(job) {
  job.request?.abort();
  if (job.id) await fetch(`api/jobs/${job.id}`, { method: "DELETE" });
  jobs.delete(job.key);
  if (opened === job) { opened = null; $("result").hidden = true; $("video").removeAttribute("src"); $("video").load(); }
  remember();
  draw();
}

const remember = () => sessionStorage.setItem("jobs", JSON.stringify([...jobs.values()].filter(job => job.id).map(job => job.id)));

function draw() {
  $("jobs").hidden = jobs.size === 0;
  const items = new Map([...$("list").children].map(item => [item.dataset.key, item]));
  for (const [key, item] of items) if (!jobs.has(key)) item.remove();
  for (const job of jobs.values()) {
    const item = items.get(job.key) ?? $("list").appendChild(row(job));
    item.classList.toggle("open", job === opened);
    const [says, progress, buttons] = ["says", "progress", "buttons"].map(name => item.querySelector(`.${name}`));
    if (says.textContent !== words(job)) says.textContent = words(job);
    says.className = `says ${job.state}${job.result?.warns ? " warns" : ""}`;
    progress.hidden = !["uploading", "reading", "drawing"].includes(job.state);
    progress.value = job.fraction ?? 0;
    const [show, away] = buttons.children;
    show.hidden = job.state !== "done";
    show.setAttribute("aria-current", job === opened);
    away.textContent = OVER.includes(job.state) ? "Remove" : "Cancel";
    away.setAttribute("aria-label", `${away.textContent} ${job.name}`);
  }
}

function row(job) {
  const item = make("li");
  item.dataset.key = job.key;
  item.append(
    make("div", { className: "name" }, job.name, make("small", { textContent: job.model })),
    make("div", {}, make("span", { className: "says" }), make("progress", { className: "progress", max: 1, ariaLabel: `Progress of ${job.name}` })),
    make("div", { className: "buttons" },
      make("button", { type: "button", textContent: "Show", ariaLabel: `Show ${job.name}`, onclick: () => open(job) }),
      make("button", { type: "button", onclick: () => remove(job) })),
  );
  return item;
}

function words(job) {
  const left = job.eta == null ? "" : `, about ${seconds(job.eta)} to go`;
  const done = percent(job.fraction ?? 0);
  switch (job.state) {
    case "uploading": return job.fraction < 1 ? `sending, ${done}` : "looking into the file";
    case "waiting": return job.position > 1 ? `waiting, number ${job.position} in the queue` : "waiting, next in the queue";
    case "reading": return `step 1 of 2, reading faces: ${done}${left}`;
    case "drawing": return `step 2 of 2, drawing the overlay: ${done}${left}`;
    case "done": return [job.result.reliability, job.result.sentence.slice(job.name.length + 2)].filter(Boolean).join("; ");
    case "failed": return `failed: ${job.message.replace(`${job.name}: `, "")}`;
    default: return job.state;
  }
}

async function open(job) {
  opened = job;
  location.hash = job.id;
  const files = file => `api/jobs/${job.id}/files/${file}`;
  const found = job.result;
  $("title").textContent = job.name;
  $("reliability").replaceChildren(make("strong", { textContent: `${found.reliability}.` }), ` ${found.meaning}`);
  $("reliability").className = found.warns ? "warning" : "";
  $("reliability").hidden = !found.reliability;
  $("sentence").textContent = `${found.sentence.slice(job.name.length + 2)}. Model: ${job.model}. Kept here until ${clock(job.expires_in)}.`;
  $("notices").replaceChildren(...notices(found).map(text => make("li", { textContent: text })));
  $("downloads").replaceChildren(...found.files.map(file => make("a", { href: files(file), download: `${stem(job.name)}_${file}`, textContent: DOWNLOADS[file] })));
  fill($("faces"), found.faces);
  $("who").hidden = !found.faces.length;
  $("video").src = files("overlay.mp4");
  $("result").hidden = false;
  draw();
  const answer = await fetch(`api/jobs/${job.id}/timeline`);
  if (!answer.ok) { complain(reason(await answer.json())); return; }
  await showTimeline($("timeline"), $("video"), await answer.json(), found.start);
  $("result").scrollIntoView({ block: "start" });
}

function notices(found) {
  const says = [];
  if (found.stopped) says.push(`The video breaks off, what came before was read: ${found.stopped}`);
  if (!found.faces.length) return [...says, "Faces are found when they are some 40 pixels wide or more, lit, and not turned away."];
  else if (found.frames_with_face < found.frames) says.push(`${found.frames - found.frames_with_face} of ${found.frames} frames show no face; they are gaps in the timeline and rows with success 0 in the table.`);
  if (found.unreliable > 0) says.push("What is not reliable is marked in red below the timeline, and in the columns reliable and reasons.");
  return says;
}

function fill(table, rows) {
  const columns = rows.length ? Object.keys(rows[0]).filter(name => !name.endsWith("_sd")) : [];
  const counts = ["face_id", "person", "frames"], heads = { face_id: "face", first: "first (s)", last: "last (s)", unreliable: "not reliable" };
  const text = (name, value) => name === "unreliable" ? (value === null ? "not known" : percent(value)) : typeof value === "number" && !counts.includes(name) ? value.toFixed(2) : String(value ?? "");
  table.replaceChildren(
    make("thead", {}, make("tr", {}, ...columns.map(name => make("th", { scope: "col", textContent: heads[name] ?? name })))),
    make("tbody", {}, ...rows.map(each => make("tr", {}, ...columns.map(name => make("td", { textContent: text(name, each[name]) }))))),
  );
}

const clock = left => new Date(Date.now() + 1000 * left).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
const percent = share => `${Math.round(100 * share)} %`;
const stem = name => name.replace(/\.[^.]*$/, "");
const minutes = count => count === 1 ? "1 minute" : `${count} minutes`;
const seconds = count => count < 90 ? `${Math.max(1, Math.round(count))} s` : `${Math.round(count / 60)} min`;
const size = megabytes => megabytes >= 1000 ? `${megabytes / 1000} GB` : `${megabytes} MB`;

$("file").addEventListener("change", event => { for (const file of event.target.files) give(file); event.target.value = ""; });
for (const name of ["focus", "blur"]) $("file").addEventListener(name, () => $("drop").classList.toggle("focus", name === "focus"));
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, event => {
    event.preventDefault();
    $("drop").classList.toggle("over", name === "dragover");
    if (name === "drop") for (const file of event.dataTransfer.files) give(file);
  });
}
$("open-camera").addEventListener("click", () => openCamera(() => $("model").value, () => about.models));
start().catch(error => complain(`The server does not answer as it should: ${error.message}`));
