// Samples of a wav file as they are stored. Browsers' own decoders make a 16-bit 32767 a 1 and so
// change every positive sample a little; and they resample what is at another rate.

const [PCM, FLOAT, EXTENSIBLE] = [1, 3, 0xfffe];

// The channels of a wav file at this rate, like an AudioBuffer; null for any other file.
export function readWav(buffer, rate) {
  const view = new DataView(buffer);
  const chunks = chunksOf(view);
  if (!chunks.fmt || !chunks.data || chunks.fmt.size < 16) return null;
  const at = chunks.fmt.start;
  const tag = view.getUint16(at, true);
  const format = tag === EXTENSIBLE && chunks.fmt.size >= 26 ? view.getUint16(at + 24, true) : tag;
  const channels = view.getUint16(at + 2, true);
  const bits = view.getUint16(at + 14, true);
  const read = readers(view)[`${format} ${bits}`];
  if (view.getUint32(at + 4, true) !== rate || !read || !channels) return null;
  const bytes = bits / 8;
  const length = Math.floor(chunks.data.size / (bytes * channels));
  const samples = Array.from({ length: channels }, () => new Float32Array(length));
  for (let i = 0, offset = chunks.data.start; i < length; i++) {
    for (let channel = 0; channel < channels; channel++, offset += bytes) {
      samples[channel][i] = read(offset);
    }
  }
  return { numberOfChannels: channels, getChannelData: (channel) => samples[channel] };
}

function chunksOf(view) {
  const chunks = {};
  const name = (offset) => String.fromCharCode(...[0, 1, 2, 3].map((i) => view.getUint8(offset + i)));
  if (view.byteLength < 12 || name(0) !== "RIFF" || name(8) !== "WAVE") return chunks;
  for (let offset = 12; offset + 8 <= view.byteLength; ) {
    const size = Math.min(view.getUint32(offset + 4, true), view.byteLength - offset - 8);
    chunks[name(offset).trim()] ??= { start: offset + 8, size };
    offset += 8 + size + (size % 2);
  }
  return chunks;
}

function readers(view) {
  return {
    [`${PCM} 8`]: (at) => (view.getUint8(at) - 128) / 2 ** 7,
    [`${PCM} 16`]: (at) => view.getInt16(at, true) / 2 ** 15,
    [`${PCM} 24`]: (at) => (view.getInt16(at + 1, true) * 256 + view.getUint8(at)) / 2 ** 23,
    [`${PCM} 32`]: (at) => view.getInt32(at, true) / 2 ** 31,
    [`${FLOAT} 32`]: (at) => view.getFloat32(at, true),
    [`${FLOAT} 64`]: (at) => view.getFloat64(at, true),
  };
}
