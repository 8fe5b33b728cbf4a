// From a decoded file to what the network reads, by the rules of earmark's Python: mono, 16 bits,
// quiet ends cut, peak at full scale; and from its probabilities to calibrated ones.

const FULL_SCALE = 32768;
const FRAME_BLOCKS = 4; // a frame of 2048 samples is four hops of 512
const HOP = 512;
const FLOOR = 1.1754943508222875e-38; // smaller probabilities are a rounding of float32
const CEILING = 1 - 2 ** -25;

// Round halves to even, as numpy does; Math.round goes up.
export function rint(x) {
  const nearest = Math.round(x);
  return Math.abs(x % 1) === 0.5 && nearest % 2 !== 0 ? nearest - 1 : nearest;
}

// The mean of the channels of an AudioBuffer, as 16-bit samples.
export function toInt16(buffer) {
  const mono = Float32Array.from(buffer.getChannelData(0));
  for (let channel = 1; channel < buffer.numberOfChannels; channel++) {
    const samples = buffer.getChannelData(channel);
    for (let i = 0; i < mono.length; i++) mono[i] += samples[i];
  }
  const scale = Math.fround(1 / buffer.numberOfChannels);
  const int16 = new Int16Array(mono.length);
  for (let i = 0; i < mono.length; i++) {
    const sample = rint(Math.max(-1, Math.min(1, Math.fround(mono[i] * scale))) * FULL_SCALE);
    int16[i] = Math.min(FULL_SCALE - 1, sample);
  }
  return int16;
}

// Where the frames within topDb of the loudest one are centred, in samples.
export function loudFrames(samples, topDb) {
  const frames = 1 + Math.floor(samples.length / HOP);
  const energies = new Float64Array(frames);
  for (let i = 0; i < samples.length; i++) energies[Math.floor(i / HOP)] += (samples[i] / FULL_SCALE) ** 2;
  const levels = new Float64Array(frames);
  for (let frame = 0; frame < frames; frame++) {
    let power = 0;
    for (let block = frame - FRAME_BLOCKS / 2; block < frame + FRAME_BLOCKS / 2; block++) {
      power += energies[block] ?? 0;
    }
    levels[frame] = 10 * Math.log10(Math.max(power / (HOP * FRAME_BLOCKS), 1e-10));
  }
  const loudest = levels.reduce((most, level) => Math.max(most, level), -Infinity);
  const loud = [];
  levels.forEach((level, frame) => level - loudest > -topDb && loud.push(frame * HOP));
  return loud;
}

// The part of a recording between the first and the last frame within topDb of the loudest.
export function trimmed(samples, { top_db: topDb, min_seconds: minSeconds }, rate) {
  const loud = loudFrames(samples, topDb);
  const part = samples.subarray(loud[0], Math.min(samples.length, loud.at(-1) + HOP));
  return part.length < Math.round(minSeconds * rate) ? samples : part;
}

// 16-bit samples as the graph's floats, the peak at full scale if that is wanted.
export function forNetwork(samples, normalise) {
  const peak = samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
  const scale = normalise && peak ? Math.fround(32767 / peak) : 1;
  return Float32Array.from(samples, (sample) => rint(Math.fround(sample * scale)) / FULL_SCALE);
}

// Where segments lie: one after each hop, the last one at the end; a short recording is one.
export function segmentStarts(length, window, hop) {
  const last = Math.max(0, length - window);
  const starts = [];
  for (let start = 0; start < last; start += hop) starts.push(start);
  return [...starts, last];
}

// Probabilities with their logits divided by the temperature.
export function tempered(probabilities, temperature, isMultiLabel) {
  const clipped = Array.from(probabilities, (p) => Math.max(p, FLOOR));
  if (isMultiLabel) {
    return clipped.map((p) => {
      const q = Math.min(p, CEILING);
      return 1 / (1 + Math.exp(-(Math.log(q) - Math.log1p(-q)) / temperature));
    });
  }
  const logits = clipped.map((p) => Math.log(p) / temperature);
  const most = Math.max(...logits);
  const powers = logits.map((logit) => Math.exp(logit - most));
  const total = powers.reduce((sum, power) => sum + power, 0);
  return powers.map((power) => power / total);
}

// The tags to act on: the most probable one, or all above their thresholds; none is "unknown".
// Rules are those of clips or of segments; a segment without sound has no probabilities.
export function answered(probabilities, { tags, is_multi_label: isMultiLabel }, rules) {
  if (!probabilities) return ["silence"];
  const best = probabilities.indexOf(Math.max(...probabilities));
  if (probabilities[best] < rules.rejection_threshold) return ["unknown"];
  if (!isMultiLabel) return [tags[best]];
  const above = tags.filter((tag, i) => probabilities[i] >= rules.thresholds[tag]);
  return above.length ? above : ["none"];
}

// A field of a csv file; what a spreadsheet would compute is written as text.
export function csvField(value) {
  const text = /^[=+\-@\t\r]/.test(value) && Number.isNaN(Number(value)) ? `'${value}` : String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
