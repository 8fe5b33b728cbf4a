// The network, in a thread of its own so that the page stays responsive.
import * as ort from "./runtime/ort.wasm.bundle.min.mjs";

// The program alone: a folder here would make the runtime import a module that is in its bundle.
ort.env.wasm.wasmPaths = { wasm: new URL("./runtime/ort-wasm-simd-threaded.wasm", import.meta.url).href };
ort.env.wasm.numThreads = 1; // more need headers that `python -m http.server` does not send

const session = (async () => {
  const response = await fetch("tagger.onnx");
  if (!response.ok) throw new Error(`tagger.onnx: ${response.status} ${response.statusText}`);
  return ort.InferenceSession.create(new Uint8Array(await response.arrayBuffer()));
})();

onmessage = async ({ data: { id, waveforms } }) => {
  try {
    const network = await session;
    if (!waveforms) return postMessage({ id, probabilities: [] });
    const samples = waveforms[0].length;
    const batch = new Float32Array(waveforms.length * samples);
    waveforms.forEach((waveform, i) => batch.set(waveform, i * samples));
    const waveform = new ort.Tensor("float32", batch, [waveforms.length, samples]);
    const { probabilities } = await network.run({ waveform });
    const tags = probabilities.dims[1];
    const rows = waveforms.map((_, i) => probabilities.data.slice(i * tags, (i + 1) * tags));
    postMessage({ id, probabilities: rows });
  } catch (error) {
    postMessage({ id, error: String(error.message ?? error) });
  }
};
