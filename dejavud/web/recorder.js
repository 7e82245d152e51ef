// The browser's microphone, as the daemon wants to hear it: raw, without what calls do to voices.

/** How much sound a piece is. */
export const PIECE_S = 0.1;
const RAW = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };

/** Why there is no microphone, in words that say what to do; null where there may be one. */
export function whyNot() {
  if (globalThis.isSecureContext && navigator.mediaDevices) return null;
  return "Browsers give their microphone to pages from https or from this machine (localhost) only.";
}

/** Open the microphone. `onPiece` gets Int16Array samples and their level in dB, ten times a second, until `close`. */
export async function openMicrophone(onPiece) {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: RAW }).catch((error) => {
    throw new TypeError(
      error.name === "NotAllowedError"
        ? "the microphone was not allowed; the browser's settings for this page can change that"
        : `there is no microphone (${error.message})`,
    );
  });
  const context = new AudioContext();
  const close = async () => {
    stream.getTracks().forEach((track) => track.stop());
    if (context.state !== "closed") await context.close();
  };
  try {
    await context.audioWorklet.addModule(new URL("./microphone.js", import.meta.url));
    const node = new AudioWorkletNode(context, "microphone", { numberOfOutputs: 0 });
    node.port.onmessage = ({ data }) => onPiece(data.samples, data.level_db);
    context.createMediaStreamSource(stream).connect(node);
    await context.resume();
  } catch (error) {
    await close();
    throw error;
  }
  return { pcm: `s16le:${context.sampleRate}:1`, close };
}

/** Pieces of samples as a wav file. */
export function wav(pieces, pcm) {
  const [rate_hz, n_bytes] = [Number(pcm.split(":")[1]), pieces.reduce((sum, piece) => sum + piece.byteLength, 0)];
  const head = new DataView(new ArrayBuffer(44));
  const name = (at, letters) => [...letters].forEach((letter, n) => head.setUint8(at + n, letter.charCodeAt(0)));
  name(0, "RIFF");
  name(8, "WAVEfmt ");
  name(36, "data");
  const numbers = { 4: 36 + n_bytes, 16: 16, 24: rate_hz, 28: 2 * rate_hz, 40: n_bytes };
  for (const [at, value] of Object.entries(numbers)) head.setUint32(Number(at), value, true);
  for (const [at, value] of Object.entries({ 20: 1, 22: 1, 32: 2, 34: 16 })) head.setUint16(Number(at), value, true); // PCM, mono
  return new Blob([head, ...pieces], { type: "audio/wav" });
}
