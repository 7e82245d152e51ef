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
