// The page: takes a recording, lets the worker tag it, and shows what is heard and when.
import { clock, draw } from "./drawing.js";
import { answered, csvField, forNetwork, loudFrames, segmentStarts, tempered, toInt16, trimmed } from "./sound.js";
import { readWav } from "./wav.js";

const BATCH = 8; // segments at a time
const SHOWN = 5; // tags of the whole recording
const $ = (id) => document.getElementById(id);

const about = await (await fetch("tagger.json")).json();
const worker = new Worker("worker.js", { type: "module" });
const waiting = new Map();
let asked = 0;
let shown = null; // the recording that is on the page
let job = 0; // so that a second file replaces the first

worker.onmessage = ({ data: { id, probabilities, error } }) => {
  const { resolve, reject } = waiting.get(id);
  waiting.delete(id);
  if (error) reject(new Error(error));
  else resolve(probabilities);
};
worker.onerror = () => say("The tagger cannot be loaded: is the folder whole?", true);

function infer(waveforms) {
  return new Promise((resolve, reject) => {
    waiting.set(++asked, { resolve, reject });
    worker.postMessage({ id: asked, waveforms });
  });
}

function say(text, isWrong = false) {
  $("status").textContent = text;
  $("status").classList.toggle("wrong", isWrong);
}

// By the rules of clips, which are `about` itself, or of segments.
function calibrated(probabilities, rules) {
  return tempered(probabilities, rules.temperature, about.is_multi_label);
}

async function decoded(blob) {
  const content = await blob.arrayBuffer();
  const wav = readWav(content, about.sample_rate);
  if (wav) return toInt16(wav);
  const context = new OfflineAudioContext(1, 1, about.sample_rate); // which resamples
  try {
    return toInt16(await context.decodeAudioData(content));
  } catch {
    throw new Error("this browser cannot decode the file; try a wav");
  }
}

// The answer of a whole recording by itself; of a longer one the mean of its segments.
async function whole(samples, segments) {
  if (samples.length <= about.whole_seconds * about.sample_rate) {
    const waveform = forNetwork(trimmed(samples, about.trim, about.sample_rate), about.trim.normalise);
    return calibrated((await infer([waveform]))[0], about);
  }
  const heard = segments.filter((one) => one.probabilities);
  return about.tags.map((_, tag) => heard.reduce((sum, one) => sum + one.probabilities[tag], 0) / heard.length);
}

async function timeline(samples, report) {
  const rate = about.sample_rate;
  const { window_seconds: window, hop_seconds: hop } = about.segment;
  const length = Math.round(window * rate);
  const starts = segmentStarts(samples.length, length, Math.round(hop * rate));
  const loud = loudFrames(samples, about.trim.top_db);
  const segments = [];
  for (let i = 0; i < starts.length; i += BATCH) {
    const batch = starts.slice(i, i + BATCH);
    const heard = batch.filter((start) => loud.some((sample) => sample >= start && sample < start + length));
    const waveforms = heard.map((start) => forNetwork(samples.subarray(start, start + length), about.trim.normalise));
    const probabilities = heard.length ? await infer(waveforms) : [];
    batch.forEach((start) => {
      const end = Math.min(samples.length, start + length) / rate;
      const found = probabilities[heard.indexOf(start)];
      segments.push({ start: start / rate, end, probabilities: found ? calibrated(found, about.segment) : null });
    });
    if (!report(segments.length, starts.length)) return segments;
  }
  // Segments overlap; each is shown for the time that it is the nearest one.
  segments.forEach((one, i) => {
    const [before, after] = [segments[i - 1], segments[i + 1]];
    one.shownFrom = before ? (one.start + before.end) / 2 : 0;
    one.shownTo = after ? (after.start + one.end) / 2 : samples.length / rate;
  });
  return segments;
}

async function tag(blob, name) {
  const mine = ++job;
  $("result").hidden = true;
  say(`Reading ${name} ...`);
  try {
    const samples = await decoded(blob);
    if (samples.length < about.shortest_samples) throw new Error("it is too short");
    if (samples.every((sample) => sample === samples[0])) throw new Error("it is silent");
    const segments = await timeline(samples, (done, all) => {
      if (mine === job) say(`Tagging ${name}: ${done} of ${all} segments`);
      return mine === job;
    });
    if (mine !== job) return;
    const probabilities = await whole(samples, segments);
    if (mine !== job) return;
    if (shown) URL.revokeObjectURL(shown.url);
    shown = { name, samples, segments, probabilities, url: URL.createObjectURL(blob) };
    say("");
    show();
  } catch (error) {
    if (mine === job) say(`${name}: ${error.message}`, true);
  }
}

function show() {
  const { name, samples, segments, probabilities, url } = shown;
  const seconds = samples.length / about.sample_rate;
  $("answer").textContent = answered(probabilities, about, about).join(", ");
  const rule = seconds > about.whole_seconds ? "on the mean of its segments" : "on the whole";
  $("about").textContent = `${rule}: ${name}, ${clock(seconds)}`;
  const order = about.tags.map((_, i) => i).sort((a, b) => probabilities[b] - probabilities[a]);
  $("likeliest").replaceChildren(...order.slice(0, SHOWN).map((i) => likely(about.tags[i], probabilities[i])));
  $("player").src = url;
  $("table").tBodies[0].replaceChildren(...segments.map(row));
  $("result").hidden = false;
  redraw();
}

function redraw() {
  draw($("spectrogram"), shown.samples, about.sample_rate, shown.segments, about.tags);
}

function likely(tag, probability) {
  const item = document.createElement("li");
  const percent = (100 * probability).toFixed(1);
  item.dataset.probability = probability;
  item.append(span(tag), span(probability.toFixed(2)));
  item.style.background = `linear-gradient(to right, var(--bar) ${percent}%, transparent ${percent}%)`;
  return item;
}

function span(text) {
  const element = document.createElement("span");
  element.textContent = text;
  return element;
}

function row(segment) {
  const line = document.createElement("tr");
  const listen = document.createElement("button");
  listen.type = "button";
  listen.textContent = `▶ ${clock(segment.start)}`;
  listen.addEventListener("click", () => play(segment.start));
  const most = segment.probabilities ? Math.max(...segment.probabilities).toFixed(2) : "";
  for (const content of [listen, answered(segment.probabilities, about, about.segment).join(", "), most]) {
    line.insertCell().append(content);
  }
  return line;
}

function play(seconds) {
  $("player").currentTime = seconds;
  $("player").play();
}

function csv() {
  const header = ["start_seconds", "end_seconds", "answer", ...about.tags];
  const lines = shown.segments.map((one) => [
    one.start.toFixed(3),
    one.end.toFixed(3),
    answered(one.probabilities, about, about.segment).join("; "),
    ...about.tags.map((_, tag) => one.probabilities?.[tag].toFixed(6) ?? ""),
  ]);
  return [header, ...lines].map((fields) => fields.map(csvField).join(",")).join("\r\n") + "\r\n";
}

function save() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  link.download = `${shown.name.replace(/\.[^.]*$/, "")}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

let recorder = null;
async function record() {
  if (recorder) return recorder.stop();
  try {
    const sound = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const stream = await navigator.mediaDevices.getUserMedia({ audio: sound });
    const parts = [];
    recorder = new MediaRecorder(stream);
    recorder.ondataavailable = ({ data }) => parts.push(data);
    recorder.onstop = () => {
      stream.getTracks().forEach((track) => track.stop());
      const { mimeType } = recorder;
      recorder = null;
      $("record").textContent = "Record";
      $("record").classList.remove("on");
      tag(new Blob(parts, { type: mimeType }), "recording");
    };
    recorder.start();
    $("record").textContent = "Stop";
    $("record").classList.add("on");
  } catch {
    recorder = null;
    say("There is no microphone, or the browser may not use it.", true);
  }
}

function dropped(event) {
  event.preventDefault();
  $("drop").classList.remove("over");
  const [file] = event.dataTransfer.files;
  if (file) tag(file, file.name);
}

$("file").addEventListener("change", () => {
  const [file] = $("file").files;
  if (file) tag(file, file.name);
  $("file").value = ""; // so that the same file may be chosen again
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  $("drop").classList.add("over");
});
document.addEventListener("dragleave", () => $("drop").classList.remove("over"));
document.addEventListener("drop", dropped);
$("record").addEventListener("click", record);
$("download").addEventListener("click", save);
$("spectrogram").addEventListener("click", (event) => {
  const { left, width } = $("spectrogram").getBoundingClientRect();
  play(((event.clientX - left) / width) * (shown.samples.length / about.sample_rate));
});
$("spectrogram").addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -about.segment.hop_seconds, ArrowRight: about.segment.hop_seconds }[event.key];
  if (step) play(Math.max(0, $("player").currentTime + step));
  if (event.key === " ") $("player").paused ? $("player").play() : $("player").pause();
  if (step || event.key === " ") event.preventDefault();
});
(function follow() {
  const isPlaying = shown && $("player").currentTime > 0;
  $("playhead").hidden = !isPlaying;
  if (isPlaying) {
    const share = $("player").currentTime / (shown.samples.length / about.sample_rate);
    $("playhead").style.left = `${100 * Math.min(1, share)}%`;
  }
  requestAnimationFrame(follow);
})();
let resizing = 0;
addEventListener("resize", () => {
  clearTimeout(resizing);
  resizing = setTimeout(() => $("result").hidden || redraw(), 150);
});

document.title = about.title;
$("title").textContent = about.title;
$("calibration").textContent =
  `Probabilities of whole recordings: ${about.calibration}. Over time: ${about.segment_calibration}.`;
$("rules").textContent =
  `${about.tags.length} tags, by ${about.network}. Over time: segments of ${about.segment.window_seconds} s, one ` +
  `every ${about.segment.hop_seconds} s, each tagged by itself. ` +
  `onnxruntime-web ${about.runtime} (MIT licence).`;
try {
  await infer(null);
  $("input").hidden = false;
  say("");
} catch (error) {
  say(`The tagger cannot be loaded (${error.message}).`, true);
}
