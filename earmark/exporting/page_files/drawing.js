// The spectrogram, and over it a lane for each of the tags that are probable somewhere.

const FRAME = 1024;
const LANE = 24; // pixels
const HEIGHT = 190; // of the spectrogram
const LANES = 5;
const RANGE_DB = 80;
const LEAST = 0.2; // of a tag that has a lane
// Colours that people with any colour vision tell apart (Okabe and Ito).
const COLOURS = ["#e69f00", "#56b4e9", "#f0e442", "#cc79a7", "#3fcf9f"];

// Draw into the canvas; returns the tags with a lane.
export function draw(canvas, samples, rate, segments, tags) {
  const width = canvas.clientWidth;
  const ratio = window.devicePixelRatio || 1;
  const shown = lanes(segments, tags);
  const height = HEIGHT + LANE * shown.length;
  canvas.style.height = `${height}px`;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.putImageData(spectrogram(samples, canvas.width, Math.round(HEIGHT * ratio)), 0, 0);
  context.scale(ratio, ratio);
  const seconds = samples.length / rate;
  shown.forEach((tag, lane) => drawLane(context, segments, tags, tag, lane, width / seconds));
  drawTimes(context, width, seconds);
  return shown.map((tag) => tags[tag]);
}

function lanes(segments, tags) {
  const most = tags.map((_, tag) => Math.max(...segments.map((one) => one.probabilities?.[tag] ?? 0)));
  const order = tags.map((_, tag) => tag).sort((a, b) => most[b] - most[a]);
  return order.filter((tag, rank) => rank === 0 || most[tag] >= LEAST).slice(0, LANES);
}

function drawLane(context, segments, tags, tag, lane, scale) {
  const top = HEIGHT + lane * LANE;
  context.fillStyle = "#0d1117";
  context.fillRect(0, top, context.canvas.width, LANE);
  context.fillStyle = COLOURS[lane];
  for (const { shownFrom, shownTo, probabilities } of segments) {
    context.globalAlpha = probabilities?.[tag] ?? 0;
    context.fillRect(shownFrom * scale, top + 1, (shownTo - shownFrom) * scale, LANE - 2);
  }
  context.globalAlpha = 1;
  context.font = "600 13px system-ui, sans-serif";
  context.lineWidth = 3;
  context.strokeStyle = "#000";
  context.fillStyle = "#fff";
  context.strokeText(tags[tag], 6, top + 17);
  context.fillText(tags[tag], 6, top + 17);
}

function drawTimes(context, width, seconds) {
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600];
  const step = steps.find((one) => (one / seconds) * width >= 60) ?? 7200;
  context.font = "11px system-ui, sans-serif";
  for (let time = step; time < seconds; time += step) {
    const x = (time / seconds) * width;
    context.fillStyle = "rgba(255, 255, 255, 0.35)";
    context.fillRect(x, HEIGHT - 16, 1, 16);
    context.fillStyle = "#fff";
    context.fillText(clock(time), x + 3, HEIGHT - 5);
  }
}

export function clock(seconds) {
  if (seconds < 60) return `${Number(seconds.toFixed(1))} s`;
  const rest = Math.floor(seconds % 60);
  return `${Math.floor(seconds / 60)}:${String(rest).padStart(2, "0")}`;
}

// One frame for each column of pixels, frequencies upwards, dB below the loudest.
function spectrogram(samples, width, height) {
  const bins = FRAME / 2;
  const levels = new Float32Array(width * bins);
  let loudest = -Infinity;
  for (let x = 0; x < width; x++) {
    const middle = Math.floor(((x + 0.5) / width) * samples.length);
    const powers = spectrum(samples, middle - FRAME / 2);
    for (let bin = 0; bin < bins; bin++) {
      const level = 10 * Math.log10(powers[bin] + 1e-3);
      levels[x * bins + bin] = level;
      loudest = Math.max(loudest, level);
    }
  }
  const image = new ImageData(width, height);
  for (let y = 0; y < height; y++) {
    // The lower half of the frequencies has more than half of the picture.
    const bin = Math.min(bins - 1, Math.floor(bins * ((height - 1 - y) / height) ** 1.6));
    for (let x = 0; x < width; x++) {
      const share = Math.max(0, 1 + (levels[x * bins + bin] - loudest) / RANGE_DB);
      image.data.set(colour(share), 4 * (y * width + x));
    }
  }
  return image;
}

// From black over violet and orange to pale yellow.
function colour(share) {
  const stops = [[3, 4, 18], [66, 15, 110], [148, 38, 103], [221, 81, 58], [252, 165, 10], [252, 255, 164]];
  const position = Math.min(0.9999, share) * (stops.length - 1);
  const [low, high] = [stops[Math.floor(position)], stops[Math.floor(position) + 1]];
  const part = position % 1;
  return [...low.map((value, i) => value + part * (high[i] - value)), 255];
}

const reversed = Uint16Array.from({ length: FRAME }, (_, i) => {
  let result = 0;
  for (let bit = 1; bit < FRAME; bit <<= 1) result = (result << 1) | (i & bit ? 1 : 0);
  return result;
});
const hann = Float32Array.from({ length: FRAME }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / FRAME));

// The powers of the bins of one frame, by the radix-2 FFT.
function spectrum(samples, start) {
  const real = new Float64Array(FRAME);
  const imaginary = new Float64Array(FRAME);
  for (let i = 0; i < FRAME; i++) real[reversed[i]] = (samples[start + i] ?? 0) * hann[i];
  for (let size = 2; size <= FRAME; size *= 2) {
    const half = size / 2;
    for (let k = 0; k < half; k++) {
      const [cos, sin] = [Math.cos((2 * Math.PI * k) / size), -Math.sin((2 * Math.PI * k) / size)];
      for (let i = k; i < FRAME; i += size) {
        const j = i + half;
        const re = real[j] * cos - imaginary[j] * sin;
        const im = real[j] * sin + imaginary[j] * cos;
        [real[j], imaginary[j]] = [real[i] - re, imaginary[i] - im];
        [real[i], imaginary[i]] = [real[i] + re, imaginary[i] + im];
      }
    }
  }
  return Float64Array.from({ length: FRAME / 2 }, (_, i) => real[i] ** 2 + imaginary[i] ** 2);
}
