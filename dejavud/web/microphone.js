// In the audio thread: what the microphone gives, as 16-bit samples, a tenth of a second at a time, with its level.

const PIECE = Math.round(sampleRate / 10);

class Microphone extends AudioWorkletProcessor {
  #samples = new Int16Array(PIECE);
  #n = 0;
  #power = 0;

  process([[samples]]) {
    for (const sample of samples ?? []) {
      this.#samples[this.#n] = Math.max(-32768, Math.min(32767, Math.round(sample * 32767)));
      this.#power += sample * sample;
      this.#n += 1;
      if (this.#n === this.#samples.length) this.#give();
    }
    return true;
  }

  #give() {
    const level_db = 10 * Math.log10(this.#power / this.#n + 1e-12);
    this.port.postMessage({ samples: this.#samples, level_db }, [this.#samples.buffer]);
    this.#samples = new Int16Array(PIECE);
    this.#n = this.#power = 0;
  }
}

registerProcessor("microphone", Microphone);
