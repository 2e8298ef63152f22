// The camera of the browser: record a clip that is then uploaded, or send pictures and show the values that come back.

import { complain, give } from "./page.js";
import { WHY } from "./words.js";

const $ = id => document.getElementById(id);
const RATE = 15;  // pictures a second at most
const WIDTH = 640;  // pixels
const BEHIND = 2;  // pictures that may be under way
const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E6A817", "#56B4E9"];

let stream = null, recorder = null, socket = null, about = null;

export async function openCamera(model, models) {
  complain("");
  if (!navigator.mediaDevices) return complain("This browser gives its camera only to pages from 127.0.0.1 or over HTTPS.");
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: WIDTH }, height: { ideal: 480 } } });
  } catch (error) {
    return complain(`The camera does not open: ${error.message}`);
  }
  $("preview").srcObject = stream;
  await $("preview").play();
  $("camera").hidden = false;
  $("record").onclick = record;
  $("live").onclick = () => socket ? socket.close() : live(model(), models());
  $("close-camera").onclick = close;
  $("record").focus();
}

function close() {
  socket?.close();
  if (recorder?.state === "recording") recorder.stop();
  stream?.getTracks().forEach(track => track.stop());
  $("preview").srcObject = null;
  $("camera").hidden = true;
  $("open-camera").focus();
}

function record() {
  if (recorder?.state === "recording") return recorder.stop();
  const chunks = [], began = new Date();
  recorder = new MediaRecorder(stream, { videoBitsPerSecond: 4e6 });
  const suffix = recorder.mimeType.includes("mp4") ? "mp4" : "webm";
  recorder.ondataavailable = event => chunks.push(event.data);
  const clock = setInterval(() => say(`Recording, ${Math.round((Date.now() - began) / 1000)} s`), 250);
  recorder.onstop = () => {
    clearInterval(clock);
    $("record").textContent = "Record";
    $("record").setAttribute("aria-pressed", "false");
    say("The clip is in the list below.");
    const stamp = began.toISOString().slice(0, 19).replace(/[-:]/g, "").replace("T", "-");
    give(new Blob(chunks, { type: recorder.mimeType }), `camera-${stamp}.${suffix}`);
  };
  recorder.start(1000);
  $("record").textContent = "Stop and analyze";
  $("record").setAttribute("aria-pressed", "true");
}

function live(model, models) {
  about = models.find(each => each.id === model);
  const place = new URL(`api/live?${new URLSearchParams({ model })}`, location.href);
  place.protocol = place.protocol.replace("http", "ws");
  const mine = socket = new WebSocket(place);
  const sent = { waiting: 0, skipped: 0 }, values = new Map();
  let error = "", timer = null;
  $("live").textContent = "Stop reading";
  $("live").setAttribute("aria-pressed", "true");
  say("Connecting …");
  mine.onopen = () => { say(`Reading live; nothing is kept.${about.calibrated ? "" : " The model is not calibrated: which values to rely on is not known."}`); timer = setInterval(() => send(mine, sent), 1000 / RATE); };
  mine.onmessage = event => {
    const said = JSON.parse(event.data);
    if (said.error) { error = said.error; return; }
    sent.last = said.time;
    boxes(said.faces);
    for (const face of said.faces) if (face.values) values.set(face.id, face);
    for (const id of values.keys()) if (!said.faces.some(face => face.id === id)) values.delete(id);
    bars(values);
    const asked = said.faces.some(face => face.values);
    if (asked) sent.late = performance.now() / 1000 - said.time;
    $("camera-counts").textContent = counts(said, sent);
  };
  mine.onclose = () => {
    clearInterval(timer);
    if (socket === mine) socket = null;
    boxes([]);
    $("values").replaceChildren();
    $("camera-counts").textContent = "";
    $("live").textContent = "Read live";
    $("live").setAttribute("aria-pressed", "false");
    say(error ? `Stopped: ${error}` : "Record a clip to analyze it, or read values live.");
  };
}

function counts(said, sent) {
  if (!said.faces.length) return `No face in the picture. ${said.read} pictures read, ${said.dropped + sent.skipped} dropped.`;
  const late = sent.late === undefined ? "The first values come when the face was seen long enough."
    : `Values ${Math.round(1000 * sent.late)} ms after the picture; they describe the moment ${said.lag.toFixed(1)} s before it.`;
  return `${late} ${said.read} pictures read, ${said.dropped + sent.skipped} dropped.`;
}

const sheet = document.createElement("canvas");

function send(mine, sent) {
  const video = $("preview");
  if (mine.readyState !== WebSocket.OPEN || !video.videoWidth) return;
  if (mine.bufferedAmount > 200_000 || sent.waiting >= BEHIND) { sent.skipped += 1; return; }
  sheet.width = Math.min(WIDTH, video.videoWidth);
  sheet.height = Math.round(sheet.width * video.videoHeight / video.videoWidth);
  sheet.getContext("2d").drawImage(video, 0, 0, sheet.width, sheet.height);
  const when = new DataView(new ArrayBuffer(8));
  when.setFloat64(0, performance.now() / 1000, true);
  sent.waiting += 1;
  sheet.toBlob(picture => {
    sent.waiting -= 1;
    if (picture && mine.readyState === WebSocket.OPEN) mine.send(new Blob([when.buffer, picture]));
  }, "image/jpeg", 0.85);
}

function boxes(faces) {
  const canvas = $("boxes");
  canvas.width = sheet.width;
  canvas.height = sheet.height;
  const pen = canvas.getContext("2d");
  pen.lineWidth = 3;
  pen.font = "16px system-ui, sans-serif";
  for (const face of faces) {
    const [x, y, width, height] = face.box;
    pen.strokeStyle = pen.fillStyle = COLOURS[face.id % COLOURS.length];
    pen.strokeRect(x, y, width, height);
    pen.fillText(`face ${face.id}`, x + 3, Math.max(y - 6, 16));
  }
}

function bars(values) {
  $("values").replaceChildren(...[...values].map(([id, { values: numbers, doubts }]) => {
    const block = document.createElement("div");
    block.className = "bars";
    const title = document.createElement("b");
    title.textContent = `face ${id}${doubts?.length ? `, not reliable: ${doubts.map(name => WHY[name] ?? name).join(", ")}` : ""}`;
    title.classList.toggle("failed", doubts?.length > 0);
    block.append(title);
    about.names.forEach((name, i) => {
      const [label, bar, inner, number] = ["span", "div", "i", "span"].map(tag => document.createElement(tag));
      label.textContent = name;
      number.textContent = numbers[i].toFixed(2);
      bar.className = "bar";
      inner.style.background = about.colours[name];
      inner.style.width = `${100 * Math.min(Math.max(about.bounds ? numbers[i] : (numbers[i] + 1) / 2, 0), 1)}%`;
      bar.append(inner);
      block.append(label, bar, number);
    });
    return block;
  }));
}

const say = text => { $("camera-says").textContent = text; };
